package unpack

import (
	"archive/tar"
	"fmt"
	"strings"
)

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
