//go:build linux && cgo && containers_image_openpgp && exclude_graphdriver_btrfs

package buildah

import (
	"context"
	"path/filepath"

	"github.com/cfbuild/cfbuild/builders"
	"github.com/cfbuild/cfbuild/internal/assemble"
	"github.com/cfbuild/cfbuild/internal/oci"
	"github.com/cfbuild/cfbuild/pipelines"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// output writes the image as an OCI layout that appears whole or not at all.
func (x *executor) output(ctx context.Context, s state, m made) (builders.Result, error) {
	return assemble.Output(ctx, x.r.Output, x.r.Graph.Platform, func(l *oci.Layout) (v1.Descriptor, error) {
		if len(s.steps) == 0 && s.src.image != nil {
			return assemble.PassOn(l, &s.src.image.Image)
		}
		return x.writeImage(l, s, m)
	})
}

func (x *executor) writeImage(l *oci.Layout, s state, m made) (v1.Descriptor, error) {
	blobs, err := x.st.blobs()
	if err != nil {
		return v1.Descriptor{}, err
	}
	x.press.Wait()
	var groups []assemble.Made
	for i, g := range s.groups() {
		layer, err := x.blobAt(g, m, i)
		if err != nil {
			return v1.Descriptor{}, err
		}
		made := assemble.Made{Layer: layer}
		for _, st := range g.steps {
			made.Nodes = append(made.Nodes, st.node)
		}
		groups = append(groups, made)
	}
	return assemble.Put(l, blobs, x.r.Graph.Platform, x.epoch, s.src.base(), groups)
}

// blobAt gives the blob of a state's group.
func (x *executor) blobAt(g group, m made, i int) (assemble.Layer, error) {
	switch {
	case g.bare:
		return assemble.Layer{Empty: true}, nil
	case m.blobs != nil:
		return m.blobs[i], nil
	}
	return x.st.blobOf(m.groups[i], x.epoch)
}

// base is what the image stands on; nil is nothing.
func (s source) base() *assemble.Image {
	if s.image == nil {
		return nil
	}
	return &s.image.Image
}

// configAt is what the configuration is before a step of a state.
func (s state) configAt(step int) (*assemble.Config, error) {
	c, err := assemble.ReadConfig(s.src.base())
	if err != nil {
		return nil, err
	}
	for _, st := range s.steps[:step] {
		if o, ok := st.node.Op.(pipelines.Configure); ok {
			c.Configure(o)
		}
	}
	return c, nil
}

// blobs is where compressed layers are kept, an OCI layout that all builds on a
// state directory share.
func (st *store) blobs() (assemble.Blobs, error) {
	return assemble.OpenBlobs(filepath.Join(st.dir, "blobs"), filepath.Join(st.dir, "meta"))
}
