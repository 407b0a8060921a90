package unpack

import (
	"archive/tar"
	"fmt"
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

// add unpacks a package into the tree, by dpkg's rules for what is there already.
func (t *tree) add(p *pkg) error {
	conf := map[string]bool{}
	for _, c := range p.control.conffiles {
		conf[strings.TrimPrefix(c.path, "/")] = true
	}
	p.nodes = make(map[string]*node, len(p.entries))
	p.lost = map[string]bool{}
	for _, e := range p.entries {
		n, err := t.addEntry(p, e, conf[e.path])
		if err != nil {
			return inPackage(err, p)
		}
		p.nodes[e.path] = n
	}
	return nil
}

func (t *tree) addEntry(p *pkg, e entry, conffile bool) (*node, error) {
	if e.path == "." {
		t.describe(t.root, p, e)
		return t.root, nil
	}
	dir, base, err := t.split(e.path)
	if err != nil {
		return nil, err
	}
	plain := base
	conffile = conffile && e.kind == tar.TypeReg
	if conffile {
		base += ".dpkg-new"
	}
	old := dir.children[base]
	if old != nil && t.leadsToDir(old) {
		switch {
		case e.kind == tar.TypeDir:
			t.describe(old, p, e)
			return old, nil
		case e.kind == tar.TypeSymlink:
			// dpkg keeps a directory, or a link to one, where a link comes. A
			// link of our own takes the package's time.
			if old.owner == nil && old.e.kind == tar.TypeSymlink && old.e.link == e.link {
				old.owner, old.e = p, e
			}
			return old, nil
		}
	}
	if old != nil && old.owner != nil {
		keep, err := t.contest(old, p, e)
		if err != nil {
			return nil, err
		}
		if keep {
			return old, nil
		}
	}
	n := &node{name: base, parent: dir, owner: p, e: e}
	switch e.kind {
	case tar.TypeDir:
		n.children = map[string]*node{}
	case tar.TypeLink:
		// The target may itself be a link: all point to the file.
		n.target = p.nodes[e.link]
		for n.target != nil && n.target.target != nil {
			n.target = n.target.target
		}
		if n.target == nil || n.target.e.kind != tar.TypeReg {
			return nil, refuse(e.path, "is a hard link to %q, which is no file", e.link)
		}
	}
	dir.children[base] = n
	if conffile && p.base {
		// Scripts of the base packages rely on each other's configuration before
		// dpkg has configured any: every installer has it in place. dpkg drops
		// the identical copy.
		if c := dir.children[plain]; c == nil || !c.isDir() {
			dir.children[plain] = &node{name: plain, parent: dir, owner: p, e: e}
		}
	}
	return n, nil
}

// describe gives a directory its owner and mode, unless another package was
// first.
func (t *tree) describe(n *node, p *pkg, e entry) {
	if n.implicit && n.isDir() {
		n.implicit, n.owner = false, p
		e.path = ""
		n.e = e
	}
}

// contest decides who keeps a path that two packages ship: who replaces the
// other, the later one if both do. Instances of one package for several
// architectures may share a file.
func (t *tree) contest(old *node, p *pkg, e entry) (keep bool, err error) {
	o := old.owner
	switch {
	case o == p:
		return false, refuse(e.path, "is the same path as another entry of the package")
	case o.Name == p.Name && o.multiSame && p.multiSame && old.e.kind == e.kind && old.e.size == e.size && old.e.link == e.link:
		return true, nil
	case t.replaces(p, o):
		o.lost[ownPath(o, old)] = true
		return false, nil
	case t.replaces(o, p):
		p.lost[e.path] = true
		return true, nil
	}
	return false, &ConflictError{Path: "/" + e.path, First: o.id(), Second: p.id()}
}

// ownPath is how a package's own archive calls a node.
func ownPath(p *pkg, n *node) string {
	for path, m := range p.nodes {
		if m == n {
			return path
		}
	}
	return n.path()
}

func inPackage(err error, p *pkg) error {
	if r, ok := err.(*RefusedError); ok && r.Package == "" {
		r.Package = p.String()
	}
	return err
}

// merge makes the links of a merged /usr. dirs are the names packages use in the
// root.
func (t *tree) merge(used map[string]bool) error {
	for _, name := range []string{"bin", "lib", "sbin", "lib32", "lib64", "libo32", "libx32"} {
		if len(name) > 4 && !used[name] {
			continue
		}
		if _, err := t.dir("usr/" + name); err != nil {
			return fmt.Errorf("merged /usr: %w", err)
		}
		if _, err := t.make(name, entry{kind: tar.TypeSymlink, mode: 0o777, link: "usr/" + name, mtime: t.mtime}); err != nil {
			return fmt.Errorf("merged /usr: %w", err)
		}
	}
	return nil
}

// sortedChildren in the order they are written.
func (n *node) sortedChildren() []*node {
	out := make([]*node, 0, len(n.children))
	for _, name := range slices.Sorted(maps.Keys(n.children)) {
		out = append(out, n.children[name])
	}
	return out
}
