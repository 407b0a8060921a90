package assemble

import (
	"archive/tar"
	"errors"
	"fmt"
	"maps"
	"math"
	"strings"

	"github.com/cfbuild/cfbuild/internal/oci"
)

// inode is what names of one file share. It does not change once made.
type inode struct {
	item      // its Path is the name it was made with
	layer int // that has the content
}

// node is one path of a tree. It may be part of several trees: only the one that
// made it changes it.
type node struct {
	owner *tree
	f     *inode
	below map[string]*node
}

func (n *node) dir() bool { return n.f.Type == tar.TypeDir }

// tree is a root filesystem without contents.
type tree struct {
	root *node
	// layer that is being applied, its new names of regular files, and whether
	// it has to be beyond doubt.
	layer  int
	names  map[*inode][]string
	strict bool
	// keep gives a file of the layer attributes from the tree below.
	keep func(old *node, f *inode)
}

// impliedDir is a directory that no layer has and that a path below it needs; it
// counts as made now.
func impliedDir(layer int) *inode {
	return &inode{item: item{Type: tar.TypeDir, Mode: 0o755, Time: math.MaxInt64}, layer: layer}
}

func emptyTree() *tree { return &tree{root: &node{f: impliedDir(-1)}} }

// with gives the tree that a layer makes of this one, which stays as it is. First
// goes what the layer hides of the tree, wherever in the archive that stands; then
// comes what it has, in the archive's order. A directory keeps what is in it, all
// else replaces. Links in the parents of names are followed within the tree.
//
// With strict, a layer whose own names are below its links or files is refused.
// Errors match [oci.ErrHostile] or say what is not there.
func (t *tree) with(layer int, items []item, strict bool, keep func(old *node, f *inode)) (*tree, error) {
	n := &tree{root: t.root, layer: layer, names: map[*inode][]string{}, strict: strict, keep: keep}
	for _, it := range items {
		switch it.Type {
		case typeGone:
			n.remove(it.Path)
		case typeOpaque:
			n.clear(it.Path)
		}
	}
	for i := range items {
		it := items[i]
		if it.Type == typeGone || it.Type == typeOpaque {
			continue
		}
		if err := n.put(it, t); err != nil {
			return nil, fmt.Errorf("/%s: %w", it.Path, err)
		}
	}
	return n, nil
}

// at finds a path as it is written.
func (t *tree) at(p string) *node {
	n := t.root
	for part := range strings.SplitSeq(p, "/") {
		if part == "" {
			continue
		}
		if n = n.below[part]; n == nil {
			return nil
		}
	}
	return n
}

// own gives a child that this tree may change; nil if there is none.
func (t *tree) own(n *node, name string) *node {
	c := n.below[name]
	if c == nil || c.owner == t {
		return c
	}
	c = &node{owner: t, f: c.f, below: maps.Clone(c.below)}
	n.below[name] = c
	return c
}

func (t *tree) ownRoot() *node {
	if t.root.owner != t {
		t.root = &node{owner: t, f: t.root.f, below: maps.Clone(t.root.below)}
	}
	if t.root.below == nil {
		t.root.below = map[string]*node{}
	}
	return t.root
}

// maxLinks is the kernel's bound on symbolic links in one path (path_resolution(7)).
const maxLinks = 40

var (
	errLoop  = errors.New("too many symbolic links")
	errNoDir = errors.New("not a directory")
)

// resolve follows links on the way to a directory and gives its path. What is not
// there stays as it is written. Only a strict tree refuses what the layer itself
// put in the way.
func (t *tree) resolve(dir string) (string, error) {
	if dir == "" {
		return "", nil
	}
	todo := strings.Split(dir, "/")
	var done []string
	at := []*node{t.root} // at[i] is done[:i]; nil where nothing is
	for links := 0; len(todo) > 0; {
		part := todo[0]
		todo = todo[1:]
		switch part {
		case "", ".":
			continue
		case "..":
			if len(done) > 0 {
				done, at = done[:len(done)-1], at[:len(at)-1]
			}
			continue
		}
		var c *node
		if n := at[len(at)-1]; n != nil {
			c = n.below[part]
		}
		if c == nil || c.dir() {
			done, at = append(done, part), append(at, c)
			continue
		}
		if t.strict && c.owner == t && c.f.layer == t.layer {
			return "", fmt.Errorf("%w: it is below /%s, which the same layer makes something else than a directory", oci.ErrHostile, strings.Join(append(done, part), "/"))
		}
		if c.f.Type != tar.TypeSymlink {
			return "", fmt.Errorf("%w: /%s: %w", oci.ErrHostile, strings.Join(append(done, part), "/"), errNoDir)
		}
		if links++; links > maxLinks {
			return "", fmt.Errorf("%w: /%s: %w", oci.ErrHostile, dir, errLoop)
		}
		if strings.HasPrefix(c.f.Link, "/") {
			done, at = nil, at[:1]
		}
		todo = append(strings.Split(c.f.Link, "/"), todo...)
	}
	return strings.Join(done, "/"), nil
}

// open gives a directory to change, by its resolved path. With make, what is missing
// is implied; otherwise it is nil if it is not there.
func (t *tree) open(dir string, make bool) *node {
	n := t.ownRoot()
	for part := range strings.SplitSeq(dir, "/") {
		if part == "" {
			continue
		}
		c := t.own(n, part)
		if c == nil && !make {
			return nil
		}
		if c == nil {
			c = &node{owner: t, f: impliedDir(t.layer)}
			n.below[part] = c
		}
		if c.below == nil {
			c.below = map[string]*node{}
		}
		n = c
	}
	return n
}

func (t *tree) remove(p string) {
	dir, err := t.resolve(parent(p))
	if err != nil { // there is nothing, then
		return
	}
	name := p[strings.LastIndexByte(p, '/')+1:]
	if n := t.at(dir); n == nil || n.below[name] == nil {
		return
	}
	delete(t.open(dir, false).below, name)
}

func (t *tree) clear(p string) {
	dir, err := t.resolve(p)
	if err != nil {
		return
	}
	if n := t.at(dir); n == nil || len(n.below) == 0 {
		return
	}
	clear(t.open(dir, false).below)
}

// put sets one path; t0 is the tree without the layer.
func (t *tree) put(it item, t0 *tree) error {
	if it.Path == "" {
		t.ownRoot().f = &inode{item: it, layer: t.layer}
		return nil
	}
	dir, err := t.resolve(parent(it.Path))
	if err != nil {
		return err
	}
	if t.strict {
		for part := range strings.SplitSeq(dir, "/") {
			if strings.HasPrefix(part, oci.Whiteout) {
				return fmt.Errorf("%w: names that begin with .wh. cannot be in an image layer", oci.ErrHostile)
			}
		}
	}
	name := it.Path[strings.LastIndexByte(it.Path, '/')+1:]
	if dir != "" {
		it.Path = dir + "/" + name
	} else {
		it.Path = name
	}
	f := &inode{item: it, layer: t.layer}
	if it.Type == tar.TypeLink {
		if f, err = t.link(it, t0); err != nil {
			return err
		}
	} else if t.keep != nil {
		if old := t0.at(it.Path); old != nil {
			t.keep(old, f)
		}
	}
	t.set(t.open(dir, true), name, f)
	if f.Type == tar.TypeReg {
		t.names[f] = append(t.names[f], it.Path)
	}
	return nil
}

func (t *tree) set(dir *node, name string, f *inode) {
	if old := t.own(dir, name); old != nil && old.dir() && f.Type == tar.TypeDir {
		old.f = f
		return
	}
	dir.below[name] = &node{owner: t, f: f}
}

// link finds the file that a hard link is to, in this layer or below. One from
// below becomes a file of this layer under its own name too, as it does where a
// link is made on a union of directories.
func (t *tree) link(it item, t0 *tree) (*inode, error) {
	dir, err := t.resolve(parent(it.Link))
	if err != nil {
		return nil, fmt.Errorf("hard link: %w", err)
	}
	name := it.Link[strings.LastIndexByte(it.Link, '/')+1:]
	var n *node
	if d := t.at(dir); d != nil && name != "" {
		n = d.below[name]
	}
	switch {
	case n == nil:
		return nil, fmt.Errorf("%w: hard link to /%s, which is not there", oci.ErrCorrupt, it.Link)
	case n.dir():
		return nil, fmt.Errorf("%w: hard link to /%s, a directory", oci.ErrCorrupt, it.Link)
	case n.f.Type != tar.TypeReg:
		f := *n.f // other things have no second name in a layer
		f.layer = t.layer
		return &f, nil
	case n.owner == t && len(t.names[n.f]) > 0:
		return n.f, nil
	}
	f := *n.f
	t.set(t.open(dir, false), name, &f)
	p := name
	if dir != "" {
		p = dir + "/" + name
	}
	t.names[&f] = append(t.names[&f], p)
	return &f, nil
}
