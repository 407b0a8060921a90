//go:build linux && cgo && containers_image_openpgp && exclude_graphdriver_btrfs

package buildah

import (
	"bufio"
	"compress/bzip2"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/cfbuild/cfbuild/internal/oci"
	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"go.podman.io/storage"
)

// image is one image of an OCI layout.
type image struct {
	layout *oci.Layout
	desc   v1.Descriptor // of its manifest; for a Pull, as the registry has it
	// fetch brings a pulled image here; nil when it is.
	fetch func(ctx context.Context) error

	manifest v1.Manifest
	stored   v1.Descriptor // of the manifest in layout
	config   []byte
	diffIDs  []digest.Digest
}

// openImage finds the image of a Layout node.
func openImage(n pipelines.Node, o pipelines.Layout) (*image, error) {
	l, err := oci.Open(o.Path)
	if err != nil {
		return nil, err
	}
	img := &image{layout: l}
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
	return img, img.read(img.desc, n.Platform)
}

// read reads manifest and configuration and checks that they fit.
func (img *image) read(d v1.Descriptor, p pipelines.Platform) error {
	if err := img.layout.ReadJSON(d, &img.manifest); err != nil {
		return fmt.Errorf("manifest: %w", err)
	}
	img.stored = d
	var err error
	if img.config, err = img.layout.ReadBlob(img.manifest.Config); err != nil {
		return fmt.Errorf("config: %w", err)
	}
	var c v1.Image
	if err := json.Unmarshal(img.config, &c); err != nil {
		return fmt.Errorf("config: %w", err)
	}
	img.diffIDs = c.RootFS.DiffIDs
	if len(img.diffIDs) != len(img.manifest.Layers) {
		return fmt.Errorf("image %s: %d layers, its config lists %d", d.Digest, len(img.manifest.Layers), len(img.diffIDs))
	}
	if got := oci.FromPlatform(c.Platform); c.Architecture != "" && got.Architecture != p.Architecture {
		return fmt.Errorf("image %s: is for %s, not for %s", d.Digest, got, p)
	}
	for i, l := range img.manifest.Layers {
		t, err := layerType(l.MediaType)
		if err != nil {
			return err
		}
		img.manifest.Layers[i].MediaType = t
	}
	return nil
}

// layerType gives the OCI name of a layer's media type.
func layerType(t string) (string, error) {
	switch strings.Replace(t, "nondistributable.", "", 1) {
	case v1.MediaTypeImageLayerGzip, "application/vnd.docker.image.rootfs.diff.tar.gzip", "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip":
		return v1.MediaTypeImageLayerGzip, nil
	case v1.MediaTypeImageLayerZstd:
		return v1.MediaTypeImageLayerZstd, nil
	case v1.MediaTypeImageLayer, "application/vnd.docker.image.rootfs.diff.tar":
		return v1.MediaTypeImageLayer, nil
	}
	return "", fmt.Errorf("layer of type %q cannot be used", t)
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
	for i, l := range img.manifest.Layers {
		if i == 0 {
			chain = img.diffIDs[0]
		} else {
			chain = digest.FromString(chain.String() + " " + img.diffIDs[i].String())
		}
		key := keyOf("chain", chain)
		r, made, err := x.keyed(ctx, key, src.node, false, func() (record, error) {
			if !worked {
				worked = true
				x.c.event(src.node, pipelines.EventStart, "")
			}
			return x.unpackLayer(ctx, key, top, img.layout, l, img.diffIDs[i])
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

func (x *executor) unpackLayer(ctx context.Context, key, parent string, l *oci.Layout, d v1.Descriptor, diffID digest.Digest) (_ record, err error) {
	f, err := os.Open(l.BlobPath(d.Digest))
	if err != nil {
		return record{}, err
	}
	defer f.Close()
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
	compressed := d.Digest.Verifier()
	plain := diffID.Verifier()
	in, err := decompress(io.TeeReader(contextReader{ctx, f}, compressed), d.MediaType)
	if err != nil {
		return record{}, fmt.Errorf("layer %s: %w", d.Digest, err)
	}
	// The storage wants digests it can trust; these are checked here.
	opts := &storage.LayerOptions{OriginalDigest: diffID, UncompressedDigest: diffID}
	tee := io.TeeReader(in, plain)
	if _, _, err := layers.PutLayer(w.layer, parent, nil, "", false, opts, tee); err != nil {
		return record{}, fmt.Errorf("layer %s: %w", d.Digest, layerError(err))
	}
	// What follows the archive's end belongs to the digests too.
	if _, err := io.Copy(io.Discard, tee); err != nil {
		return record{}, fmt.Errorf("layer %s: %w", d.Digest, err)
	}
	if _, err := io.Copy(compressed, f); err != nil {
		return record{}, err
	}
	if !compressed.Verified() || !plain.Verified() {
		return record{}, fmt.Errorf("layer %s: its content does not match its digest", d.Digest)
	}
	if parent == "" {
		if err := x.st.openRoot(w.layer); err != nil {
			return record{}, err
		}
	}
	r := record{Layer: w.layer, Parent: parent, Started: farFuture}
	return r, w.done(key, r)
}

// farFuture: no time stamp of a base layer counts as made here.
const farFuture = 1 << 40

// layerError explains what a user namespace without enough ids says.
func layerError(err error) error {
	if s := err.Error(); strings.Contains(s, "lchown") || strings.Contains(s, "insufficient UIDs") {
		return &hinted{err, "more subordinate ids are needed; " + singleIDFix()}
	}
	return err
}

func decompress(r io.Reader, mediaType string) (io.Reader, error) {
	br := bufio.NewReaderSize(r, 1<<20)
	magic, err := br.Peek(4)
	if err != nil && err != io.EOF {
		return nil, err
	}
	switch {
	case mediaType == v1.MediaTypeImageLayer:
		return br, nil
	case len(magic) > 1 && magic[0] == 0x1f && magic[1] == 0x8b:
		return gzip.NewReader(br)
	case string(magic) == "\x28\xb5\x2f\xfd":
		z, err := zstd.NewReader(br)
		if err != nil {
			return nil, err
		}
		return z.IOReadCloser(), nil
	case strings.HasPrefix(string(magic), "BZh"):
		return bzip2.NewReader(br), nil
	}
	return br, nil
}

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

// openRoot lets everybody into the root directory of a bottom layer, which the
// storage makes with mode 0555 when the layer says nothing about it.
func (st *store) openRoot(layer string) error {
	r, done, err := st.view(layer, true)
	if err != nil {
		return err
	}
	fi, err := os.Stat(r)
	if err == nil && fi.Mode().Perm() == 0o555 {
		err = os.Chmod(r, 0o755)
	}
	return errors.Join(err, done())
}
