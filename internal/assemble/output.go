package assemble

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/cfbuild/cfbuild/builders"
	"github.com/cfbuild/cfbuild/internal/oci"
	"github.com/cfbuild/cfbuild/pipelines"
	specs "github.com/opencontainers/image-spec/specs-go"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// Output makes an OCI layout with the one image that fill puts there. The directory,
// which must not exist, appears whole and on disk, or not at all.
func Output(ctx context.Context, output string, p pipelines.Platform, fill func(l *oci.Layout) (v1.Descriptor, error)) (_ builders.Result, err error) {
	if ctx.Err() != nil {
		return builders.Result{}, context.Cause(ctx)
	}
	dir, base := filepath.Split(output)
	tmp, err := os.MkdirTemp(dir, "."+base+".partial-")
	if err != nil {
		return builders.Result{}, err
	}
	defer os.RemoveAll(tmp)
	if err := os.Chmod(tmp, 0o755); err != nil {
		return builders.Result{}, err
	}
	l, err := oci.Create(tmp)
	if err != nil {
		return builders.Result{}, err
	}
	d, err := fill(l)
	if err != nil {
		return builders.Result{}, err
	}
	plat := oci.ToPlatform(p)
	d.Platform = &plat
	if err := l.SetIndex(v1.Index{Manifests: []v1.Descriptor{d}}); err != nil {
		return builders.Result{}, err
	}
	if err := l.Sync(); err != nil {
		return builders.Result{}, err
	}
	if err := os.Rename(tmp, output); err != nil {
		return builders.Result{}, err
	}
	return builders.Result{Digest: d.Digest.String(), Size: d.Size}, nil
}

// PassOn gives out an image nothing was done to as it is.
func PassOn(l *oci.Layout, img *Image) (v1.Descriptor, error) {
	for _, d := range append(slices.Clone(img.Manifest.Layers), img.Manifest.Config, img.Stored) {
		if err := l.LinkBlob(img.Layout.BlobPath(d.Digest), d.Digest); err != nil {
			return v1.Descriptor{}, err
		}
	}
	d := img.Stored
	d.MediaType = v1.MediaTypeImageManifest
	return d, nil
}

// Made is a group of steps and the layer it became, in the blobs; Empty for a bare
// group.
type Made struct {
	Nodes []pipelines.Node
	Layer Layer
}

// Put writes an image: the base, nil for the empty one, with the layers of groups on
// top, configured as the groups say. epoch is its created time.
func Put(l *oci.Layout, blobs Blobs, p pipelines.Platform, epoch time.Time, base *Image, groups []Made) (v1.Descriptor, error) {
	c, err := ReadConfig(base)
	if err != nil {
		return v1.Descriptor{}, err
	}
	man := v1.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: v1.MediaTypeImageManifest, Layers: []v1.Descriptor{}}
	if base != nil {
		for i, d := range base.Manifest.Layers {
			if d, err = blobs.passLayer(l, base, d); err != nil {
				return v1.Descriptor{}, fmt.Errorf("base layer: %w", err)
			}
			man.Layers = append(man.Layers, d)
			c.diffIDs = append(c.diffIDs, base.DiffIDs[i])
		}
	}
	for _, g := range groups {
		if b := g.Layer; !b.Empty {
			if err := l.LinkBlob(blobs.BlobPath(b.Digest), b.Digest); err != nil {
				return v1.Descriptor{}, err
			}
			man.Layers = append(man.Layers, v1.Descriptor{MediaType: v1.MediaTypeImageLayerGzip, Digest: b.Digest, Size: b.Size})
			c.diffIDs = append(c.diffIDs, b.DiffID)
		}
		for _, n := range g.Nodes {
			if o, ok := n.Op.(pipelines.Configure); ok {
				c.Configure(o)
			}
		}
		c.history = append(c.history, v1.History{Created: &epoch, CreatedBy: names(g.Nodes), Comment: "cfbuild", EmptyLayer: g.Layer.Empty})
	}
	raw, err := c.marshal(epoch, p)
	if err != nil {
		return v1.Descriptor{}, err
	}
	if man.Config, err = l.PutJSON(v1.MediaTypeImageConfig, raw); err != nil {
		return v1.Descriptor{}, err
	}
	return l.PutJSON(v1.MediaTypeImageManifest, man)
}
