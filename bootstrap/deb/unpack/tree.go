package unpack

import (
	"archive/tar"
	"maps"
	"slices"
	"strings"
)

// node is one path of the root.
type node struct {
	name     string
	parent   *node
	children map[string]*node // of directories
	e        entry
	data     []byte // content, where it is not in a spool
	owner    *pkg   // nil: made here
	implicit bool   // a directory nobody has described yet
	target   *node  // of hard links
}

func (n *node) isDir() bool { return n.e.kind == tar.TypeDir }

// tree is the root file system.
type tree struct {
	root     *node
	mtime    int64
	replaces func(a, b *pkg) bool
}

func newTree(mtime int64, replaces func(a, b *pkg) bool) *tree {
	t := &tree{mtime: mtime, replaces: replaces}
	t.root = t.newDir(nil, ".")
	return t
}

func (t *tree) newDir(parent *node, name string) *node {
	n := &node{name: name, parent: parent, children: map[string]*node{}, implicit: true,
		e: entry{kind: tar.TypeDir, mode: 0o755, mtime: t.mtime}}
	if parent != nil {
		parent.children[name] = n
	}
	return n
}

// path of a node, without a leading slash.
func (n *node) path() string {
	if n.parent == nil {
		return "."
	}
	parts := []string{}
	for ; n.parent != nil; n = n.parent {
		parts = append(parts, n.name)
	}
	slices.Reverse(parts)
	return strings.Join(parts, "/")
}

// maxLinks is how many symbolic links may be followed, as in Linux.
const maxLinks = 40

// dir finds the directory a path leads to, following links inside the root and
// making directories that are missing.
func (t *tree) dir(path string) (*node, error) {
	n, err := t.walk(t.root, path, true, maxLinks)
	if err != nil {
		return nil, err
	}
	if !n.isDir() {
		return nil, refuse(path, "is not a directory")
	}
	return n, nil
}

// walk follows a path from n. Links are followed also at its end. With create,
// missing directories are made; otherwise they give nil.
func (t *tree) walk(n *node, path string, create bool, links int) (*node, error) {
	for part := range strings.SplitSeq(path, "/") {
		switch part {
		case "", ".":
			continue
		case "..":
			if n.parent == nil {
				return nil, refuse(path, "leads out of the root")
			}
			n = n.parent
			continue
		}
		if !n.isDir() {
			return nil, refuse(path, "leads through %q, which is not a directory", n.path())
		}
		next := n.children[part]
		if next == nil {
			if !create {
				return nil, nil
			}
			next = t.newDir(n, part)
		}
		if next.e.kind == tar.TypeSymlink {
			if links--; links < 0 {
				return nil, refuse(path, "leads through too many symbolic links")
			}
			start := n
			if strings.HasPrefix(next.e.link, "/") {
				start = t.root
			}
			var err error
			// A directory is not made at the end of a dangling link.
			if next, err = t.walk(start, next.e.link, false, links); err != nil {
				return nil, err
			}
			if next == nil {
				if !create {
					return nil, nil
				}
				return nil, refuse(path, "leads through a symbolic link to nothing")
			}
		}
		n = next
	}
	return n, nil
}

// leadsToDir says whether n is a directory or a link to one.
func (t *tree) leadsToDir(n *node) bool {
	if n.e.kind != tar.TypeSymlink {
		return n.isDir()
	}
	to, err := t.walk(n.parent, n.name, false, maxLinks)
	return err == nil && to != nil && to.isDir()
}

// put makes a file of its own, with the directories above it.
func (t *tree) put(path string, mode int64, data []byte) (*node, error) {
	n, err := t.make(path, entry{kind: tar.TypeReg, mode: mode, size: int64(len(data)), mtime: t.mtime})
	if err == nil {
		n.data = data
	}
	return n, err
}

// make puts an entry of its own at a path, instead of what was there.
func (t *tree) make(path string, e entry) (*node, error) {
	dir, base, err := t.split(path)
	if err != nil {
		return nil, err
	}
	if old := dir.children[base]; old != nil && old.isDir() {
		if e.kind == tar.TypeDir {
			return old, nil
		}
		return nil, refuse(path, "is a directory")
	}
	n := &node{name: base, parent: dir, e: e}
	if e.kind == tar.TypeDir {
		n.children = map[string]*node{}
	}
	dir.children[base] = n
	return n, nil
}

func (t *tree) split(path string) (*node, string, error) {
	parent, base := ".", path
	if i := strings.LastIndexByte(path, '/'); i >= 0 {
		parent, base = path[:i], path[i+1:]
	}
	dir, err := t.dir(parent)
	return dir, base, err
}

// lookup finds a path without following a link at its end; nil where missing.
func (t *tree) lookup(path string) *node {
	i := strings.LastIndexByte(path, '/')
	dir := t.root
	if i >= 0 {
		var err error
		if dir, err = t.walk(t.root, path[:i], false, maxLinks); err != nil || dir == nil || !dir.isDir() {
			return nil
		}
	}
	return dir.children[path[i+1:]]
}

// sortedChildren in the order they are written.
func (n *node) sortedChildren() []*node {
	out := make([]*node, 0, len(n.children))
	for _, name := range slices.Sorted(maps.Keys(n.children)) {
		out = append(out, n.children[name])
	}
	return out
}
