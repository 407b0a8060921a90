package unpack

import (
	"archive/tar"
	"path"
	"strings"
)

// node is one path of the root.
type node struct {
	name     string
	children map[string]*node // of a directory
	kind     byte             // tar's
	mode     int64            // permission bits with setuid, setgid and sticky
	owner    owner
	mtime    int64
	link     string
	target   *node // of a hard link
	major    int64
	minor    int64
	xattrs   map[string]string
	// content: in the spool, or data.
	offset, size int64
	data         []byte
	// pkg owns a file; nil: none does.
	pkg *installed
	// sum is the checksum for the database, "Q1…".
	sum string
	// owned: a package lists this directory; otherwise it is there for what is below
	// it.
	owned bool
}

// owner is by number and, where the package says so, by name, which counts first.
type owner struct {
	uid, gid    int
	user, group string // empty once the numbers are final
}

func newDir(name string) *node {
	return &node{name: name, children: map[string]*node{}, kind: tar.TypeDir, mode: 0o755}
}

// maxLinks bounds symbolic links on the way to a path.
const maxLinks = 40

// dir gives the directory of a clean relative path ("" is the root), through symbolic
// links that are in the tree, never out of it. With create, what is missing is made.
func (u *Unpacker) dir(name string, create bool) (*node, error) {
	n, stack := u.root, []*node{}
	parts := strings.Split(name, "/")
	for links := 0; len(parts) > 0; {
		p := parts[0]
		parts = parts[1:]
		switch p {
		case "", ".":
			continue
		case "..":
			if len(stack) > 0 {
				n, stack = stack[len(stack)-1], stack[:len(stack)-1]
			}
			continue
		}
		c := n.children[p]
		switch {
		case c == nil && !create:
			return nil, nil
		case c == nil:
			c = newDir(p)
			n.children[p] = c
		case c.kind == tar.TypeSymlink:
			if links++; links > maxLinks {
				return nil, refuse(name, "too many symbolic links on the way")
			}
			parts = append(strings.Split(c.link, "/"), parts...)
			if strings.HasPrefix(c.link, "/") {
				n, stack = u.root, nil
			}
			continue
		case c.kind != tar.TypeDir:
			return nil, refuse(name, "%s is no directory", p)
		}
		n, stack = c, append(stack, n)
	}
	return n, nil
}

// cleanName checks the name of an entry and gives it without a trailing slash.
func cleanName(name string) (string, error) {
	clean := strings.TrimSuffix(name, "/")
	switch {
	case clean == "" || strings.HasPrefix(clean, "/") || path.Clean(clean) != clean || clean == ".." || strings.HasPrefix(clean, "../"):
		return "", refuse(name, "not a clean relative path")
	case len(clean) > 4000:
		return "", refuse(name, "the path is too long")
	}
	for i := range len(clean) {
		if clean[i] < 0x20 || clean[i] == 0x7f {
			return "", refuse(name, "the path holds a control character")
		}
	}
	for part := range strings.SplitSeq(clean, "/") {
		if len(part) > 255 {
			return "", refuse(name, "a name is too long")
		}
	}
	return clean, nil
}
