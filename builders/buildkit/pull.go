//go:build !no_buildkit && linux && containers_image_openpgp

package buildkit

import (
	"context"
	"os"
	"path/filepath"

	"github.com/cfbuild/cfbuild/internal/assemble"
	"github.com/cfbuild/cfbuild/internal/imagepull"
	"github.com/cfbuild/cfbuild/pipelines"
)

// pull brings an image of a registry here: by the site's mirrors, authorities, proxies
// and logins, of which the daemon knows nothing. The daemon gets it from here.
func (x *build) pull(ctx context.Context, n pipelines.Node, o pipelines.Pull) (*assemble.Image, error) {
	meta := filepath.Join(x.b.dir, "pulls")
	if err := os.MkdirAll(meta, 0o700); err != nil {
		return nil, err
	}
	tmp, err := os.MkdirTemp(x.b.dir, "tmp-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(tmp)
	p := &imagepull.Puller{Site: x.r.Site, Blobs: x.blobs.shared, Meta: meta, Temp: tmp,
		Credentials: x.r.Credentials, AuthFile: x.r.AuthFile}
	found, err := p.Find(ctx, o.Ref, n.Platform)
	if err != nil {
		return nil, err
	}
	return found.Image, found.Fetch(ctx, func(current, total int64) {
		x.r.Events.Send(pipelines.Event{Kind: pipelines.EventProgress, Job: x.r.Job, Step: n.ID, Name: n.Name, Unit: "B", Current: current, Total: total})
	})
}
