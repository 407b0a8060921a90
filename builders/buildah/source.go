//go:build linux && cgo && containers_image_openpgp && exclude_graphdriver_btrfs

package buildah

import (
	"bufio"
	"compress/bzip2"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/cfbuild/cfbuild/internal/assemble"
	"github.com/cfbuild/cfbuild/internal/oci"
	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
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
	f, err := os.Open(l.BlobPath(d.Digest))
	if err != nil {
		return err
	}
	defer f.Close()
	in := readAhead(contextReader{ctx, f}, d.MediaType, d.Digest.Verifier(), diffID.Verifier())
	err = unpackTar(in, root(target), below, x.st.single)
	// What follows the archive's end belongs to the digests too.
	_, rerr := io.Copy(io.Discard, in)
	in.Close()
	// A digest that does not fit explains whatever else went wrong.
	if errors.Is(rerr, errDigest) {
		err = nil
	}
	if err = errors.Join(rerr, err); err != nil {
		return fmt.Errorf("layer %s: %w", d.Digest, err)
	}
	return nil
}

// farFuture: no time stamp of a base layer counts as made here.
const farFuture = 1 << 40

var errDigest = errors.New("its content does not match its digest")

// chunk is a piece of a layer, or its end.
type chunk struct {
	data []byte
	err  error
}

// aheadReader hands out what another goroutine has read, decompressed and hashed.
type aheadReader struct {
	chunks chan chunk
	stop   chan struct{}
	rest   chunk
}

// readAhead decompresses a layer in a goroutine of its own, and ends with an error
// if the digest of what it read or made is wrong.
func readAhead(r io.Reader, mediaType string, compressed, plain digest.Verifier) *aheadReader {
	a := &aheadReader{chunks: make(chan chunk, 16), stop: make(chan struct{})}
	go func() {
		defer close(a.chunks)
		err := a.fill(r, mediaType, compressed, plain)
		select {
		case a.chunks <- chunk{err: err}:
		case <-a.stop:
		}
	}()
	return a
}

func (a *aheadReader) fill(r io.Reader, mediaType string, compressed, plain digest.Verifier) error {
	all := io.TeeReader(r, compressed)
	in, err := decompress(all, mediaType)
	if err != nil {
		return errors.Join(errDigest, err)
	}
	for {
		buf := make([]byte, 256<<10)
		n, err := io.ReadFull(in, buf)
		if n > 0 {
			_, _ = plain.Write(buf[:n]) // a hash takes everything
			select {
			case a.chunks <- chunk{data: buf[:n]}:
			case <-a.stop:
				return nil
			}
		}
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			break
		}
		if err != nil {
			return errors.Join(errDigest, err)
		}
	}
	if _, err := io.Copy(io.Discard, all); err != nil {
		return err
	}
	if !compressed.Verified() || !plain.Verified() {
		return errDigest
	}
	return io.EOF
}

func (a *aheadReader) Read(p []byte) (int, error) {
	for len(a.rest.data) == 0 {
		if a.rest.err != nil {
			return 0, a.rest.err
		}
		next, ok := <-a.chunks
		if !ok {
			return 0, io.EOF
		}
		a.rest = next
	}
	n := copy(p, a.rest.data)
	a.rest.data = a.rest.data[n:]
	return n, nil
}

// Close ends the goroutine.
func (a *aheadReader) Close() { close(a.stop) }

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
