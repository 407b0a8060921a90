package assemble

import (
	"archive/tar"
	"maps"
	"path"
	"slices"
	"strings"
)

// change is one path in which two trees differ; f is nil where it is gone.
type change struct {
	path string
	f    *inode
}

// changes finds what the tree changes of the one it was made from: by content, so
// that an entry that is as it was below is no change, nor is the mere time stamp of
// a directory. Sorted by path.
func (t *tree) changes(below *tree, clamp func(int64) int64) []change {
	d := &differ{clamp: clamp}
	if !d.same(below.root.f, t.root.f) {
		d.out = append(d.out, change{"", t.root.f})
	}
	d.walk("", below.root, t.root)
	// With a file that changed come its other names.
	have := map[string]bool{}
	changed := map[*inode]bool{}
	for _, c := range d.out {
		if c.f != nil {
			have[c.path], changed[c.f] = true, true
		}
	}
	for f := range changed {
		for _, p := range t.names[f] {
			if n := t.at(p); !have[p] && n != nil && n.f == f {
				d.out = append(d.out, change{p, f})
				have[p] = true
			}
		}
	}
	slices.SortFunc(d.out, func(a, b change) int { return strings.Compare(a.path, b.path) })
	return d.out
}

type differ struct {
	clamp func(int64) int64
	out   []change
}

// walk compares two directories; what both trees share is passed over.
func (d *differ) walk(dir string, below, above *node) {
	var old map[string]*node
	if below != nil && below.dir() {
		old = below.below
	}
	for name := range old {
		if above.below[name] == nil {
			d.out = append(d.out, change{path: path.Join(dir, name)})
		}
	}
	for name, n := range above.below {
		o := old[name]
		if o == n {
			continue
		}
		p := path.Join(dir, name)
		if o == nil || !d.same(o.f, n.f) {
			d.out = append(d.out, change{p, n.f})
		}
		if n.dir() {
			d.walk(p, o, n)
		}
	}
}

// same compares an entry with the one below it.
func (d *differ) same(old, f *inode) bool {
	if old == f {
		return true
	}
	if old.Type != f.Type || old.Mode != f.Mode || old.UID != f.UID || old.GID != f.GID ||
		old.Major != f.Major || old.Minor != f.Minor || !maps.Equal(old.Xattrs, f.Xattrs) {
		return false
	}
	if f.Type == tar.TypeDir {
		return true
	}
	return d.clamp(old.Time) == d.clamp(f.Time) && old.Size == f.Size && old.Link == f.Link && old.Sum == f.Sum
}
