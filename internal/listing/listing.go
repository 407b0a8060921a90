// Package listing writes down what a root filesystem holds, independent of how it
// is cut into layers: path, type, mode, owner, link, attributes, content hash. Two
// listings are compared with [Diff].
package listing

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/cfbuild/cfbuild/internal/oci"
	"github.com/cfbuild/cfbuild/internal/rootfs"
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

// Tree is a root filesystem in memory, contents as hashes.
type Tree struct {
	fs   *rootfs.FS
	sums map[int]sum // by inode
}

type sum struct {
	hex  string
	data []byte
}

// Image lists the image of a layout with the given manifest.
func Image(l *oci.Layout, d v1.Descriptor) ([]Entry, error) {
	t := Tree{sums: map[int]sum{}}
	var err error
	if t.fs, err = rootfs.Open(context.Background(), l, d, rootfs.Options{Visit: t.hash}); err != nil {
		return nil, err
	}
	return t.List(), nil
}

// Add applies one layer (OCI image spec, layer.md), or any tar, on top.
func (t *Tree) Add(r io.Reader) error {
	if t.fs == nil {
		t.sums = map[int]sum{}
		t.fs = rootfs.New(rootfs.Options{Visit: t.hash})
	}
	return t.fs.Add(context.Background(), r)
}

func (t *Tree) hash(_ int, e *rootfs.Entry, r io.Reader) error {
	var data []byte
	h := sha256.New()
	if _, err := io.Copy(h, io.TeeReader(r, &keep{to: &data})); err != nil {
		return err
	}
	t.sums[e.Inode] = sum{hex.EncodeToString(h.Sum(nil)), data}
	return nil
}

// keep keeps the first 64 KiB.
type keep struct{ to *[]byte }

func (k *keep) Write(p []byte) (int, error) {
	if room := 64<<10 - len(*k.to); room > 0 {
		*k.to = append(*k.to, p[:min(len(p), room)]...)
	}
	return len(p), nil
}

// List gives the entries sorted by path. Directories that no layer has are left out.
func (t *Tree) List() []Entry {
	var out []Entry
	if t.fs == nil {
		return nil
	}
	for _, f := range t.fs.List() {
		if f.Implied {
			continue
		}
		e := Entry{Path: strings.TrimPrefix(f.Path, "/"), Type: string(f.Type), Mode: int64(f.Mode), UID: f.UID, GID: f.GID,
			Link: f.Link, Dev: f.Dev, Xattrs: f.Xattrs, Size: f.Size, Time: f.ModTime.Unix()}
		if e.Path == "" {
			e.Path = "."
		}
		if f.Type == rootfs.File {
			e.SHA256, e.Data = t.sums[f.Inode].hex, t.sums[f.Inode].data
		}
		e.Same = strconv.Itoa(f.Inode) // replaced by its first path below
		out = append(out, e)
	}
	slices.SortFunc(out, func(a, b Entry) int { return strings.Compare(a.Path, b.Path) })
	first := map[string]string{}
	for i := range out {
		inode := out[i].Same
		out[i].Same = first[inode]
		if out[i].Same == "" {
			first[inode] = out[i].Path
		}
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
