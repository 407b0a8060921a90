//go:build linux && cgo && containers_image_openpgp && exclude_graphdriver_btrfs

package buildah

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/cfbuild/cfbuild/internal/assemble"
	"github.com/cfbuild/cfbuild/internal/oci"
	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// image is one image of an OCI layout.
type image struct {
	assemble.Image
	desc v1.Descriptor // of its manifest; for a Pull, as the registry has it
	// fetch brings a pulled image here; nil when it is.
	fetch func(ctx context.Context) error
}

// openImage finds the image of a Layout node.
func openImage(n pipelines.Node, o pipelines.Layout) (*image, error) {
	l, err := oci.Open(o.Path)
	if err != nil {
		return nil, err
	}
	img := &image{Image: assemble.Image{Layout: l}}
	if o.Digest == "" {
		if img.desc, err = l.Manifest(n.Platform); err != nil {
			return nil, err
		}
	} else {
		d, err := digest.Parse(o.Digest)
		if err != nil {
			return nil, fmt.Errorf("digest %q: %w", o.Digest, err)
		}
		fi, err := os.Stat(l.BlobPath(d))
		if err != nil {
			return nil, fmt.Errorf("%s: has no image %s", o.Path, d)
		}
		img.desc = v1.Descriptor{MediaType: v1.MediaTypeImageManifest, Digest: d, Size: fi.Size()}
	}
	return img, img.Read(img.desc, n.Platform)
}

// unpack puts the layers of an image into the store, those that are not there, and
// gives the top one.
func (x *executor) unpack(ctx context.Context, src source) (top string, err error) {
	if src.image == nil {
		return "", nil
	}
	img := src.image
	if err := x.load(ctx, src); err != nil {
		return "", err
	}
	var chain digest.Digest
	worked := false
	for i, l := range img.Manifest.Layers {
		if i == 0 {
			chain = img.DiffIDs[0]
		} else {
			chain = digest.FromString(chain.String() + " " + img.DiffIDs[i].String())
		}
		key := keyOf("chain", chain)
		r, made, err := x.keyed(ctx, key, src.node, func(record) bool { return true }, func() (record, error) {
			if !worked {
				worked = true
				x.c.event(src.node, pipelines.EventStart, "")
			}
			return x.unpackLayer(ctx, key, top, img.Layout, l, img.DiffIDs[i])
		})
		if err != nil {
			return "", x.failed(src.node, err)
		}
		worked = worked || made
		top = r.Layer
	}
	if worked {
		x.c.event(src.node, pipelines.EventDone, "")
	} else {
		x.c.event(src.node, pipelines.EventCached, "")
	}
	return top, nil
}

func (x *executor) unpackLayer(ctx context.Context, key, parent string, l *oci.Layout, d v1.Descriptor, diffID digest.Digest) (record, error) {
	return x.fill(key, record{Parent: parent, Started: farFuture}, func(_, target string) error {
		return x.unpackBlob(ctx, target, parent != "", l, d, diffID)
	})
}

// fill makes a layer on r.Parent that put fills, and records it under a key.
func (x *executor) fill(key string, r record, put func(layer, target string) error) (_ record, err error) {
	layers, err := x.st.layers()
	if err != nil {
		return record{}, err
	}
	w, err := x.st.begin(key)
	if err != nil {
		return record{}, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, w.drop())
		}
	}()
	if _, err := layers.CreateLayer(w.layer, r.Parent, nil, "", true, nil); err != nil {
		return record{}, fmt.Errorf("storage: %w", err)
	}
	// A layer with none below needs no mount to be filled.
	target, done := layerPath(x.st.dir, x.st.driver, w.layer), func() error { return nil }
	if r.Parent != "" {
		if target, done, err = x.st.view(w.layer, true); err != nil {
			return record{}, err
		}
	} else if err := os.Chmod(target, 0o755); err != nil {
		return record{}, err
	}
	if err := errors.Join(put(w.layer, target), done()); err != nil {
		return record{}, err
	}
	r.Layer = w.layer
	return r, w.done(key, r)
}

// unpackBlob unpacks a layer and verifies both of its digests. below: the target
// shows layers below.
func (x *executor) unpackBlob(ctx context.Context, target string, below bool, l *oci.Layout, d v1.Descriptor, diffID digest.Digest) error {
	in, err := l.OpenLayer(d, diffID)
	if err == nil {
		defer in.Close()
		err = unpackTar(contextReader{ctx, in}, root(target), below, x.st.single)
		// A digest that does not fit explains whatever else went wrong, but for what
		// has nothing to do with the layer.
		if ctx.Err() == nil && !isFull(err) {
			if bad := in.Finish(); bad != nil {
				err = bad
			}
		}
	}
	if err != nil {
		return fmt.Errorf("layer %s: %w", d.Digest, err)
	}
	return nil
}

// farFuture: no time stamp of a base layer counts as made here.
const farFuture = 1 << 40

// contextReader ends with its context.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (c contextReader) Read(p []byte) (int, error) {
	if c.ctx.Err() != nil {
		return 0, context.Cause(c.ctx)
	}
	return c.r.Read(p)
}
