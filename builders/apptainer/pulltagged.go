//go:build containers_image_openpgp

package apptainer

import (
	"context"

	"github.com/cfbuild/cfbuild/builders"
	"github.com/cfbuild/cfbuild/internal/imagepull"
	"github.com/cfbuild/cfbuild/internal/oci"
	"github.com/cfbuild/cfbuild/pipelines"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

func pull(ctx context.Context, r builders.Request, n pipelines.Node, o pipelines.Pull, l *oci.Layout, tmp string) (v1.Descriptor, error) {
	p := &imagepull.Puller{Site: r.Site, Blobs: l, Meta: l.Dir(), Temp: tmp, Credentials: r.Credentials, AuthFile: r.AuthFile}
	about := pipelines.Event{Job: r.Job, Step: n.ID, Name: n.Name, Where: n.Where.String()}
	tell := func(kind pipelines.EventKind, text string) {
		e := about
		e.Kind, e.Text = kind, text
		r.Events.Send(e)
	}
	tell(pipelines.EventStart, "")
	found, err := p.Find(ctx, o.Ref, n.Platform)
	if err == nil {
		err = found.Fetch(ctx, func(current, total int64) {
			e := about
			e.Kind, e.Unit, e.Current, e.Total = pipelines.EventProgress, "B", current, total
			r.Events.Send(e)
		})
	}
	if err != nil {
		tell(pipelines.EventFailed, err.Error())
		return v1.Descriptor{}, err
	}
	tell(pipelines.EventDone, "")
	return found.Image.Stored, nil
}
