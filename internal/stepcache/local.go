package stepcache

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/cfbuild/cfbuild/internal/filelock"
	"github.com/cfbuild/cfbuild/internal/oci"
	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// local is a cache in a directory: an OCI layout with one image.
type local struct {
	dir      string
	builder  string
	platform pipelines.Platform
}

// Local is a cache in a directory, which is made when something is written. Of
// several writers one writes at a time, and readers see what was there or what is.
func Local(dir, builder string, p pipelines.Platform) Place { return &local{dir, builder, p} }

func (c *local) String() string { return c.dir }

func (c *local) Close() {}

// open gives the layout and the manifest of the cache's image.
func (c *local) open() (*oci.Layout, v1.Descriptor, v1.Manifest, error) {
	var m v1.Manifest
	fail := func(err error) (*oci.Layout, v1.Descriptor, v1.Manifest, error) { return nil, v1.Descriptor{}, m, err }
	if _, err := os.Stat(c.dir); errors.Is(err, fs.ErrNotExist) {
		return fail(ErrNone)
	}
	l, err := oci.Open(c.dir)
	switch {
	case errors.Is(err, oci.ErrNotLayout):
		return fail(fmt.Errorf("%w: %w", ErrForeign, err))
	case err != nil:
		return fail(err)
	}
	idx, err := l.Index()
	switch {
	case errors.Is(err, fs.ErrNotExist), err == nil && len(idx.Manifests) == 0:
		return fail(ErrNone) // its first writer was killed
	case err != nil:
		return fail(err)
	case len(idx.Manifests) != 1:
		return fail(fmt.Errorf("%w: it holds %d images", ErrForeign, len(idx.Manifests)))
	}
	raw, err := l.ReadBlob(idx.Manifests[0])
	if err != nil {
		return fail(err)
	}
	m, err = decodeManifest(raw)
	return l, idx.Manifests[0], m, err
}

func (c *local) Read(context.Context) (Index, error) {
	l, _, m, err := c.open()
	if err != nil {
		return Index{}, err
	}
	config, err := l.ReadBlob(m.Config)
	if err != nil {
		return Index{}, err
	}
	return decode(m, config, c.builder, c.platform)
}

func (c *local) Fetch(ctx context.Context, e Entry, to *oci.Layout) error {
	l, err := oci.Open(c.dir)
	if err != nil {
		return err
	}
	f, err := os.Open(l.BlobPath(e.Digest))
	if err != nil {
		return err
	}
	defer f.Close()
	err = receive(ctxReader{ctx, f}, e, to)
	if err != nil && ctx.Err() == nil {
		_ = os.Remove(f.Name()) // so that the next writer puts a good one there
	}
	return err
}

func (c *local) Write(ctx context.Context, idx Index, from *oci.Layout) (int64, error) {
	if err := os.MkdirAll(filepath.Dir(c.dir), 0o755); err != nil {
		return 0, err
	}
	unlock, err := filelock.Lock(ctx, c.dir+".lock", nil)
	if err != nil {
		return 0, err
	}
	defer unlock()
	if _, err := c.Read(ctx); !empty(c.dir) && mayReplace(err) != nil {
		return 0, mayReplace(err)
	}
	l, old, _, _ := c.open() // what cannot be read is made anew
	if l == nil {
		if l, err = oci.Create(c.dir); err != nil {
			return 0, err
		}
	}
	sent := int64(0)
	idx.Entries, err = kept(idx.Entries, func(e Entry) (bool, error) {
		if has(l, e) {
			return true, nil
		}
		if !has(from, e) {
			return false, nil
		}
		if err := context.Cause(ctx); err != nil {
			return false, err
		}
		sent += e.Size
		return true, l.LinkBlob(from.BlobPath(e.Digest), e.Digest)
	})
	if err != nil {
		return sent, err
	}
	config, manifest, err := encode(idx, ociForm)
	if err != nil {
		return sent, err
	}
	for _, b := range [][]byte{config, manifest} {
		if err := put(l, b); err != nil {
			return sent, err
		}
	}
	p := oci.ToPlatform(idx.Platform)
	d := v1.Descriptor{MediaType: ociForm.manifest, Digest: digest.FromBytes(manifest), Size: int64(len(manifest)), Platform: &p}
	if d.Digest != old.Digest {
		// Layers are not synced: one that a power failure tore is found by its digest.
		if err := l.SetIndex(v1.Index{Manifests: []v1.Descriptor{d}}); err != nil {
			return sent, err
		}
	}
	return sent, c.tidy(l, idx, d.Digest, digest.FromBytes(config))
}

// empty: nothing is in the directory, or it is not there.
func empty(dir string) bool {
	es, err := os.ReadDir(dir)
	return errors.Is(err, fs.ErrNotExist) || err == nil && len(es) == 0
}

func has(l *oci.Layout, e Entry) bool {
	st, err := os.Stat(l.BlobPath(e.Digest))
	return err == nil && st.Size() == e.Size
}

func put(l *oci.Layout, b []byte) error {
	w, err := l.NewBlob()
	if err != nil {
		return err
	}
	defer w.Abort()
	if _, err := w.Write(b); err != nil {
		return err
	}
	_, _, err = w.Commit()
	return err
}

// tidy removes what the image does not consist of, also what a killed writer left.
func (c *local) tidy(l *oci.Layout, idx Index, needed ...digest.Digest) error {
	for _, e := range layers(idx) {
		needed = append(needed, e.Digest)
	}
	keep := map[string]bool{}
	for _, d := range needed {
		keep[d.Encoded()] = true
	}
	dir := filepath.Dir(l.BlobPath(digest.FromString("")))
	es, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range es {
		if !keep[e.Name()] {
			if err := os.Remove(filepath.Join(dir, e.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
	}
	return nil
}

// kept are the entries whose layers are there; there is asked once for each layer.
func kept(all []Entry, there func(Entry) (bool, error)) ([]Entry, error) {
	asked := map[digest.Digest]bool{}
	out := []Entry{}
	for _, e := range all {
		ok := e.Empty()
		if !ok {
			known := false
			if ok, known = asked[e.Digest]; !known {
				var err error
				if ok, err = there(e); err != nil {
					return nil, err
				}
				asked[e.Digest] = ok
			}
		}
		if ok {
			out = append(out, e)
		}
	}
	return out, nil
}
