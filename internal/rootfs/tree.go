package rootfs

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/cfbuild/cfbuild/internal/oci"
)

// node is one path; e is nil only for the root of an image that does not have it.
type node struct {
	e     *Entry
	below map[string]*node
}

func (n *node) at(p string) *node {
	for part := range strings.SplitSeq(strings.Trim(p, "/"), "/") {
		if part == "" {
			continue
		}
		if n = n.below[part]; n == nil {
			return nil
		}
	}
	return n
}

// gone tells of everything below a node and of itself.
func (n *node) gone(hide func(*Entry)) {
	if n.e != nil {
		hide(n.e)
	}
	for _, c := range n.below {
		c.gone(hide)
	}
}

func (n *node) remove(p string, hide func(*Entry)) {
	dir, base := path.Split(p)
	if parent := n.at(dir); parent != nil && parent.below[base] != nil {
		parent.below[base].gone(hide)
		delete(parent.below, base)
	}
}

func (n *node) clear(p string, hide func(*Entry)) {
	if at := n.at(p); at != nil {
		for _, c := range at.below {
			c.gone(hide)
		}
		at.below = nil
	}
}

// put sets one path. Directories that are missing above it are implied, and what
// stands in their place is replaced: so does a file system that is stacked.
func (n *node) put(e *Entry, hide func(*Entry), f *FS) {
	if e.Path == "/" {
		n.e = e
		return
	}
	for i := 1; ; {
		j := strings.IndexByte(e.Path[i:], '/')
		if j < 0 {
			n.set(e.Path[i:], e, hide)
			return
		}
		part := e.Path[i : i+j]
		c := n.below[part]
		if c == nil || c.e.Type != Dir {
			f.inodes++
			n.set(part, &Entry{Path: e.Path[:i+j], Type: Dir, Mode: 0o755, ModTime: e.ModTime, Layer: e.Layer, Inode: f.inodes, Implied: true}, hide)
			c = n.below[part]
		}
		n, i = c, i+j+1
	}
}

func (n *node) set(name string, e *Entry, hide func(*Entry)) {
	old := n.below[name]
	switch {
	case old == nil:
		if n.below == nil {
			n.below = map[string]*node{}
		}
		n.below[name] = &node{e: e}
	case old.e.Type == Dir && e.Type == Dir:
		old.e = e
	default:
		if old.e.Layer != e.Layer {
			old.gone(hide)
		}
		n.below[name] = &node{e: e}
	}
}

// Lookup finds a path without following symbolic links. A leading slash may be
// left out.
func (f *FS) Lookup(p string) (*Entry, bool) {
	n := f.root.at(path.Clean("/" + p))
	if n == nil || n.e == nil {
		return nil, false
	}
	return n.e, true
}

// maxLinks is the kernel's bound on symbolic links in one path (path_resolution(7)).
const maxLinks = 40

// Errors of [FS.Resolve] besides fs.ErrNotExist, in an fs.PathError.
var (
	ErrLoop   = errors.New("too many symbolic links")
	ErrNotDir = errors.New("not a directory")
	// ErrLarge: a file is larger than the limit of [FS.ReadFile].
	ErrLarge = errors.New("larger than the limit")
	// ErrNotFile: there is something else than a regular file.
	ErrNotFile = errors.New("not a regular file")
)

// Resolve finds a path and follows symbolic links, the last one too, within the
// image. Errors: an [fs.PathError] with fs.ErrNotExist, [ErrLoop] or [ErrNotDir].
func (f *FS) Resolve(p string) (*Entry, error) { return f.resolve(p, true) }

// ResolveLink is Resolve, but a symbolic link at the end is not followed: what
// lstat(2) finds.
func (f *FS) ResolveLink(p string) (*Entry, error) { return f.resolve(p, false) }

func (f *FS) resolve(p string, last bool) (*Entry, error) {
	bad := func(err error) (*Entry, error) { return nil, &fs.PathError{Op: "resolve", Path: p, Err: err} }
	todo := parts(p)
	at := []*node{f.root}
	for links := 0; len(todo) > 0; {
		part := todo[0]
		todo = todo[1:]
		n := at[len(at)-1]
		if n.e != nil && n.e.Type != Dir {
			return bad(ErrNotDir)
		}
		if part == ".." {
			at = at[:max(1, len(at)-1)]
			continue
		}
		c := n.below[part]
		if c == nil {
			return bad(fs.ErrNotExist)
		}
		if c.e.Type != Symlink || (len(todo) == 0 && !last) {
			at = append(at, c)
			continue
		}
		if links++; links > maxLinks {
			return bad(ErrLoop)
		}
		if strings.HasPrefix(c.e.Link, "/") {
			at = at[:1]
		}
		todo = append(parts(c.e.Link), todo...)
	}
	e := at[len(at)-1].e
	if e == nil { // the root of an image without an entry for it
		e = &Entry{Path: "/", Type: Dir, Mode: 0o755, Implied: true}
	}
	return e, nil
}

// parts splits a path; empty parts and dots are left out, but not "..".
func parts(p string) []string {
	return slices.DeleteFunc(strings.Split(p, "/"), func(s string) bool { return s == "" || s == "." })
}

// List gives every entry, sorted: each directory before what is in it, names in
// byte order.
func (f *FS) List() []*Entry {
	var out []*Entry
	f.Walk("/", func(e *Entry) error { out = append(out, e); return nil })
	return out
}

// Walk calls fn for a path and all below it in the order of [FS.List]. fs.SkipDir
// passes over what is in a directory, fs.SkipAll ends; another error is returned.
// Nothing is followed; a path that is not there has no entries.
func (f *FS) Walk(p string, fn func(*Entry) error) error {
	n := f.root.at(path.Clean("/" + p))
	if n == nil {
		return nil
	}
	if err := n.walk(fn); err != nil && err != fs.SkipAll {
		return err
	}
	return nil
}

func (n *node) walk(fn func(*Entry) error) error {
	if n.e != nil {
		if err := fn(n.e); err == fs.SkipDir {
			return nil
		} else if err != nil {
			return err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(n.below)) {
		if err := n.below[name].walk(fn); err != nil {
			return err
		}
	}
	return nil
}

// ReadDir lists what is directly in a directory, by name; links are followed on the way.
func (f *FS) ReadDir(p string) ([]*Entry, error) {
	e, err := f.Resolve(p)
	if err != nil {
		return nil, err
	}
	if e.Type != Dir {
		return nil, &fs.PathError{Op: "read", Path: p, Err: ErrNotDir}
	}
	n := f.root.at(e.Path)
	var out []*Entry
	for _, name := range slices.Sorted(maps.Keys(n.below)) {
		out = append(out, n.below[name].e)
	}
	return out, nil
}

// ReadFile gives the content of a regular file, at most limit bytes, following
// symbolic links. Content that was not kept is read from its layer again. Errors:
// those of [FS.Resolve], [ErrNotFile], [ErrLarge].
func (f *FS) ReadFile(p string, limit int64) ([]byte, error) {
	e, err := f.Resolve(p)
	if err != nil {
		return nil, err
	}
	return f.Read(e, limit)
}

// Read gives the content of an entry of the image or of one of its layers.
func (f *FS) Read(e *Entry, limit int64) ([]byte, error) {
	bad := func(err error) ([]byte, error) { return nil, &fs.PathError{Op: "read", Path: e.Path, Err: err} }
	switch {
	case e.Type != File:
		return bad(ErrNotFile)
	case e.Size > limit:
		return bad(fmt.Errorf("%w: %d bytes, limit %d", ErrLarge, e.Size, limit))
	case e.c.kept:
		return slices.Clone(e.c.data), nil
	case f.layout == nil:
		return bad(errors.New("its content was not kept"))
	}
	b, err := f.again(e.c, e.Size)
	if err != nil {
		return bad(err)
	}
	return b, nil
}

// again reads one file of a layer that was verified before.
func (f *FS) again(c *content, size int64) ([]byte, error) {
	file, err := os.Open(f.layout.BlobPath(f.Layers[c.layer].Digest))
	if err != nil {
		return nil, err
	}
	defer file.Close()
	plain, err := oci.Decompress(file)
	if err != nil {
		return nil, err
	}
	defer plain.Close()
	tr := tar.NewReader(plain)
	for n := 0; ; n++ {
		if _, err := tr.Next(); err != nil {
			return nil, fmt.Errorf("%w: it changed: %w", ErrCorrupt, err)
		}
		if n == c.nth {
			b := make([]byte, size)
			_, err := io.ReadFull(tr, b)
			return b, err
		}
	}
}
