// Package rootcache keeps finished roots, whatever they are made of: an OCI layout
// with one image of one layer each, whole or not there.
//
// A root is CacheDir/roots/KEY: the layout in "layout" and what else its maker needs
// in "root.json". It is made in KEY.tmp under a lock on KEY.lock and renamed; what a
// killed run left is removed by the next one that makes the same root.
package rootcache

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"

	digest "github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/cfbuild/cfbuild/internal/atomicfile"
	"github.com/cfbuild/cfbuild/internal/filelock"
	"github.com/cfbuild/cfbuild/internal/oci"
)

// Root is a finished root. S is what its maker wants to know of it later.
type Root[S any] struct {
	// Layout is the directory of the OCI layout.
	Layout string `json:"-"`
	// Digest is the image manifest.
	Digest string `json:"digest"`
	// Layer and its Size in bytes, to see a cache that was cut short.
	Layer   string `json:"layer"`
	Size    int64  `json:"size"`
	Summary S      `json:"summary"`
	// Cached: it was there.
	Cached bool `json:"-"`
}

// Key hashes what decides a root, or anything else that is kept by its inputs.
func Key(v ...any) (string, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:]), nil
}

// Get gives the root of a key, from the cache or made by build, which writes an
// image with [WriteImage] into the layout it is handed and may use the directory tmp
// for what is too large for memory. waiting is called when another run is making the
// same root.
func Get[S any](ctx context.Context, cacheDir, key string, waiting func(), build func(layout *oci.Layout, tmp string) (Image, S, error)) (Root[S], error) {
	dir := filepath.Join(cacheDir, "roots", key)
	if r, ok := read[S](dir); ok {
		return r, nil
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return Root[S]{}, err
	}
	unlock, err := filelock.Lock(ctx, dir+".lock", waiting)
	if err != nil {
		return Root[S]{}, err
	}
	defer unlock()
	if r, ok := read[S](dir); ok {
		return r, nil
	}
	return write(dir, build)
}

// read reads a finished root. The layer's size is compared, to see a cache that was
// tampered with or cut short by a full disk.
func read[S any](dir string) (r Root[S], ok bool) {
	data, err := os.ReadFile(filepath.Join(dir, "root.json"))
	if err != nil || json.Unmarshal(data, &r) != nil {
		return r, false
	}
	r.Layout, r.Cached = filepath.Join(dir, "layout"), true
	l, err := oci.Open(r.Layout)
	if err != nil {
		return r, false
	}
	st, err := os.Stat(l.BlobPath(digest.Digest(r.Layer)))
	return r, err == nil && st.Size() == r.Size
}

// write makes the root beside dir and renames it.
func write[S any](dir string, build func(*oci.Layout, string) (Image, S, error)) (r Root[S], err error) {
	tmp := dir + ".tmp"
	for _, old := range []string{tmp, dir} {
		if err := os.RemoveAll(old); err != nil {
			return r, err
		}
	}
	if err := os.Mkdir(tmp, 0o755); err != nil {
		return r, err
	}
	defer func() {
		if err != nil {
			os.RemoveAll(tmp)
		}
	}()
	layout, err := oci.Create(filepath.Join(tmp, "layout"))
	if err != nil {
		return r, err
	}
	img, sum, err := build(layout, tmp)
	if err != nil {
		return r, err
	}
	r = Root[S]{Layout: filepath.Join(dir, "layout"), Digest: img.Manifest.Digest.String(),
		Layer: img.Layer.Digest.String(), Size: img.Layer.Size, Summary: sum}
	data, err := json.Marshal(r)
	if err != nil {
		return r, err
	}
	if err := atomicfile.Write(filepath.Join(tmp, "root.json"), data, 0o644); err != nil {
		return r, err
	}
	if err := layout.Sync(); err != nil {
		return r, err
	}
	if err := os.Rename(tmp, dir); err != nil {
		return r, err
	}
	return r, atomicfile.SyncDir(filepath.Dir(dir))
}

// Image is an image of one layer.
type Image struct{ Manifest, Layer v1.Descriptor }
