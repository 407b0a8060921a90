package rootfs

import (
	"archive/tar"
	"context"
	"os"
	"path"
	"strings"

	"github.com/cfbuild/cfbuild/internal/oci"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// Foresight tells, while a layer streams by, which of its files a later one hides. It
// is made of names alone and knows of no hard links, and takes nothing for verified:
// whoever relies on it asks the [FS] afterwards whether it was right.
type Foresight struct {
	stated  map[string]int // paths, and the last layer that has, needs or deletes them
	covered map[string]int // paths below which that layer hides all there was
}

// Foresee reads the names of all layers but the first, which most often is by far the
// largest. What is wrong with them, or with ctx, is for [Open] to say: then it knows less.
func Foresee(ctx context.Context, l *oci.Layout, m v1.Manifest) *Foresight {
	f := &Foresight{map[string]int{}, map[string]int{}}
	left := New(Options{}).opts.MaxEntries
	for i := 1; i < len(m.Layers) && ctx.Err() == nil; i++ {
		f.layer(ctx, l, m.Layers[i], i, &left)
	}
	return f
}

func (f *Foresight) layer(ctx context.Context, l *oci.Layout, d v1.Descriptor, nth int, left *int) {
	if d.Digest.Validate() != nil {
		return
	}
	file, err := os.Open(l.BlobPath(d.Digest))
	if err != nil {
		return
	}
	defer file.Close()
	plain, err := oci.Decompress(file)
	if err != nil {
		return
	}
	defer plain.Close()
	for tr := tar.NewReader(plain); *left > 0 && ctx.Err() == nil; *left-- {
		h, err := tr.Next()
		if err != nil {
			return
		}
		if h.Typeflag == tar.TypeXGlobalHeader {
			continue
		}
		name, err := oci.CleanName(h.Name)
		if err != nil {
			return
		}
		f.add(name, h.Typeflag == tar.TypeDir, nth)
	}
}

func (f *Foresight) add(name string, isDir bool, nth int) {
	dir, base := path.Split(name)
	dir = path.Clean(dir)
	gone, ok := strings.CutPrefix(base, oci.Whiteout)
	switch {
	case base == oci.WhiteoutOpaque:
		f.covered[dir] = nth
	case strings.HasPrefix(base, oci.WhiteoutMeta):
	case ok:
		name = path.Join(dir, gone)
		f.stated[name], f.covered[name] = nth, nth
	default:
		if !isDir {
			f.covered[name] = nth
		}
		f.stated[name] = nth
		// What is in the place of a directory above gives way to it.
		for d := dir; d != "/" && f.stated[d] != nth; d = path.Dir(d) {
			f.stated[d] = nth
		}
	}
}

// Hides says whether a layer after the given one takes a path of it away.
func (f *Foresight) Hides(layer int, p string) bool {
	if f.stated[p] > layer {
		return true
	}
	for d := path.Dir(p); ; d = path.Dir(d) {
		if f.covered[d] > layer {
			return true
		}
		if d == "/" || d == "." {
			return false
		}
	}
}
