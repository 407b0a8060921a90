// Package listing writes down what a root filesystem holds, independent of how it
// is cut into layers: path, type, mode, owner, link, attributes, content hash. Two
// listings are compared with [Diff].
package listing

import (
	"archive/tar"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/cfbuild/cfbuild/internal/oci"
	"github.com/klauspost/compress/zstd"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// Entry is one path.
type Entry struct {
	// Path without a leading slash; "." is the root.
	Path string
	// Type is file, dir, symlink, char, block or fifo.
	Type     string
	Mode     int64 // permission bits with setuid, setgid and sticky
	UID, GID int
	// Link is a symbolic link's target.
	Link string
	// Same is the first path that is the same file; empty for a file with one
	// name and for the first of several.
	Same string
	// Dev is "major:minor" of a device.
	Dev string
	// Xattrs by name.
	Xattrs map[string]string
	// Size in bytes and SHA256 (hex) of a file's content.
	Size   int64
	SHA256 string
	// Time of last change in Unix seconds. It is not part of String.
	Time int64
	// Data is the content of files up to 64 KiB, for tests.
	Data []byte
}

// String is the entry on one line, without its time.
func (e Entry) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s %04o %d:%d", e.Path, e.Type, e.Mode, e.UID, e.GID)
	if e.Link != "" {
		fmt.Fprintf(&b, " -> %s", e.Link)
	}
	if e.Same != "" {
		fmt.Fprintf(&b, " = %s", e.Same)
	}
	if e.Dev != "" {
		fmt.Fprintf(&b, " dev %s", e.Dev)
	}
	if e.Type == "file" {
		fmt.Fprintf(&b, " %d %s", e.Size, e.SHA256)
	}
	for _, k := range slices.Sorted(maps.Keys(e.Xattrs)) {
		fmt.Fprintf(&b, " %s=%q", k, e.Xattrs[k])
	}
	return b.String()
}

// file is an entry's content; hard links share one.
type file struct{ e Entry }

// Tree is a root filesystem in memory, contents as hashes.
type Tree struct{ files map[string]*file }

// Image lists the image of a layout with the given manifest.
func Image(l *oci.Layout, d v1.Descriptor) ([]Entry, error) {
	m, _, err := l.Image(d)
	if err != nil {
		return nil, err
	}
	var t Tree
	for _, layer := range m.Layers {
		if err := t.addBlob(l, layer); err != nil {
			return nil, fmt.Errorf("layer %s: %w", layer.Digest, err)
		}
	}
	return t.List(), nil
}

func (t *Tree) addBlob(l *oci.Layout, d v1.Descriptor) error {
	f, err := os.Open(l.BlobPath(d.Digest))
	if err != nil {
		return err
	}
	defer f.Close()
	var r io.Reader = f
	switch {
	case strings.HasSuffix(d.MediaType, "gzip"):
		if r, err = gzip.NewReader(f); err != nil {
			return err
		}
	case strings.HasSuffix(d.MediaType, "zstd"):
		z, err := zstd.NewReader(f)
		if err != nil {
			return err
		}
		defer z.Close()
		r = z
	}
	return t.Add(r)
}

// Add applies one layer (OCI image spec, layer.md), or any tar, on top.
func (t *Tree) Add(r io.Reader) error {
	if t.files == nil {
		t.files = map[string]*file{}
	}
	added := map[string]*file{}
	tr := tar.NewReader(r)
	for {
		h, err := tr.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		name := path.Clean("/" + h.Name)[1:]
		if name == "" {
			name = "."
		}
		dir, base := path.Split(name)
		if base == ".wh..wh..opq" {
			t.remove(path.Clean(dir), true)
			continue
		}
		if gone, ok := strings.CutPrefix(base, ".wh."); ok {
			t.remove(dir+gone, false)
			continue
		}
		f, err := t.entry(h, tr, name, added)
		if err != nil {
			return fmt.Errorf("%s: %w", h.Name, err)
		}
		added[name] = f
	}
	for _, name := range slices.Sorted(maps.Keys(added)) {
		f := added[name]
		if f.e.Type != "dir" {
			t.remove(name, false)
		}
		t.files[name] = f
	}
	return nil
}

// remove removes a path and what is below it, or only that.
func (t *Tree) remove(name string, below bool) {
	if !below {
		delete(t.files, name)
	}
	for p := range t.files {
		if strings.HasPrefix(p, name+"/") || (name == "." && below && p != ".") {
			delete(t.files, p)
		}
	}
}

var errNoTarget = errors.New("hard link to a path that is not there")

func (t *Tree) entry(h *tar.Header, r io.Reader, name string, added map[string]*file) (*file, error) {
	if h.Typeflag == tar.TypeLink {
		target := path.Clean("/" + h.Linkname)[1:]
		if f, ok := added[target]; ok {
			return f, nil
		}
		if f, ok := t.files[target]; ok {
			return f, nil
		}
		return nil, fmt.Errorf("%w: %s", errNoTarget, h.Linkname)
	}
	e := Entry{Mode: h.Mode & 0o7777, UID: h.Uid, GID: h.Gid, Time: h.ModTime.Unix()}
	switch h.Typeflag {
	case tar.TypeReg:
		e.Type = "file"
		sum := sha256.New()
		var err error
		if e.Size, err = io.Copy(sum, io.TeeReader(r, &keep{to: &e.Data})); err != nil {
			return nil, err
		}
		e.SHA256 = hex.EncodeToString(sum.Sum(nil))
	case tar.TypeDir:
		e.Type = "dir"
	case tar.TypeSymlink:
		e.Type, e.Link, e.Mode = "symlink", h.Linkname, 0o777
	case tar.TypeChar, tar.TypeBlock:
		e.Type = map[byte]string{tar.TypeChar: "char", tar.TypeBlock: "block"}[h.Typeflag]
		e.Dev = fmt.Sprintf("%d:%d", h.Devmajor, h.Devminor)
	case tar.TypeFifo:
		e.Type = "fifo"
	default:
		return nil, fmt.Errorf("unknown type %q", h.Typeflag)
	}
	for k, v := range h.PAXRecords {
		if name, ok := strings.CutPrefix(k, "SCHILY.xattr."); ok {
			if e.Xattrs == nil {
				e.Xattrs = map[string]string{}
			}
			e.Xattrs[name] = v
		}
	}
	return &file{e}, nil
}

// keep keeps the first 64 KiB.
type keep struct{ to *[]byte }

func (k *keep) Write(p []byte) (int, error) {
	if room := 64<<10 - len(*k.to); room > 0 {
		*k.to = append(*k.to, p[:min(len(p), room)]...)
	}
	return len(p), nil
}

// List gives the entries sorted by path.
func (t *Tree) List() []Entry {
	first := map[*file]string{}
	var out []Entry
	for _, name := range slices.Sorted(maps.Keys(t.files)) {
		f := t.files[name]
		e := f.e
		e.Path = name
		if at, ok := first[f]; ok {
			e.Same = at
		} else {
			first[f] = name
		}
		out = append(out, e)
	}
	return out
}

// Find gives the entry of a path.
func Find(es []Entry, path string) (Entry, bool) {
	i := sort.Search(len(es), func(i int) bool { return es[i].Path >= path })
	if i < len(es) && es[i].Path == path {
		return es[i], true
	}
	return Entry{}, false
}

// Diff says what differs, a line each: "- " only in a, "+ " only in b.
func Diff(a, b []Entry) []string {
	var out []string
	i, j := 0, 0
	for i < len(a) || j < len(b) {
		switch {
		case j == len(b) || (i < len(a) && a[i].Path < b[j].Path):
			out = append(out, "- "+a[i].String())
			i++
		case i == len(a) || b[j].Path < a[i].Path:
			out = append(out, "+ "+b[j].String())
			j++
		default:
			if x, y := a[i].String(), b[j].String(); x != y {
				out = append(out, "- "+x, "+ "+y)
			}
			i, j = i+1, j+1
		}
	}
	return out
}

// Late lists the entries that are younger than a bound.
func Late(es []Entry, bound time.Time) []string {
	var out []string
	for _, e := range es {
		if e.Time > bound.Unix() {
			out = append(out, fmt.Sprintf("%s at %d", e.Path, e.Time))
		}
	}
	return out
}
