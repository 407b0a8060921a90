//go:build linux && cgo && containers_image_openpgp && exclude_graphdriver_btrfs

package buildah

import (
	"context"
	"path/filepath"

	"github.com/cfbuild/cfbuild/internal/imagepull"
	"github.com/cfbuild/cfbuild/pipelines"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// resolvePull asks the registry which image a reference means for a platform. The
// image is brought here when it is needed.
func (x *executor) resolvePull(ctx context.Context, n pipelines.Node, o pipelines.Pull) (*image, error) {
	kept, err := x.st.blobs()
	if err != nil {
		return nil, err
	}
	p := &imagepull.Puller{Site: x.r.Site, Blobs: kept.Layout, Meta: filepath.Join(x.st.dir, "meta"), Temp: x.st.run,
		Credentials: x.r.credentials(), AuthFile: x.r.AuthFile}
	found, err := p.Find(ctx, o.Ref, n.Platform)
	if err != nil {
		return nil, err
	}
	img := &image{Image: *found.Image, desc: v1.Descriptor{Digest: found.Digest}}
	if !found.Here() {
		img.fetch = func(ctx context.Context) error {
			err := found.Fetch(ctx, func(current, total int64) {
				x.c.send(answer{Event: &pipelines.Event{Kind: pipelines.EventProgress, Step: n.ID, Name: n.Name, Unit: "B", Current: current, Total: total}})
			})
			img.Image = *found.Image
			return err
		}
	}
	return img, nil
}

// load brings a pulled image here.
func (x *executor) load(ctx context.Context, src source) error {
	if src.image == nil || src.image.fetch == nil {
		return nil
	}
	x.c.event(src.node, pipelines.EventStart, "")
	if err := src.image.fetch(ctx); err != nil {
		return x.failed(src.node, err)
	}
	src.image.fetch = nil
	return nil
}
