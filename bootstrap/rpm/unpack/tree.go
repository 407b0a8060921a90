package unpack

import (
	"path"
	"strings"

	"github.com/cfbuild/cfbuild/internal/rpmfile"
)

// put places a node, following symbolic links of the stage in its parents.
func (s *Stage) put(label, p string, n *node) error {
	if p == "/" {
		return nil
	}
	dir, err := s.dir(label, path.Dir(p))
	if err != nil {
		return err
	}
	base := path.Base(p)
	if strings.HasPrefix(base, ".wh.") {
		return refuse(label, "%s has a name that layers keep for themselves (OCI image-spec, whiteouts)", p)
	}
	old := dir.children[base]
	switch {
	case old == nil:
	case old.children != nil && n.children != nil:
		old.file, old.caps = n.file, n.caps
		return nil
	case old.children != nil && n.file.Mode&rpmfile.ModeType == rpmfile.ModeLink && len(old.children) == 0:
	case old.children != nil:
		return refuse(label, "%s is a directory of another package", p)
	case n.children != nil && old.file.Mode&rpmfile.ModeType == rpmfile.ModeLink:
		return nil // a link to a directory stays
	}
	dir.children[base] = n
	return nil
}

// maxLinks is how many symbolic links may be followed, as in Linux.
const maxLinks = 40

func (s *Stage) dir(label, p string) (*node, error) {
	links := 0
	stack := []*node{s.root}
	todo := strings.Split(p, "/")
	for len(todo) > 0 {
		part := todo[0]
		todo = todo[1:]
		cur := stack[len(stack)-1]
		switch part {
		case "", ".":
			continue
		case "..":
			if len(stack) > 1 {
				stack = stack[:len(stack)-1]
			}
			continue
		}
		next := cur.children[part]
		if next == nil {
			next = s.newDir()
			cur.children[part] = next
		}
		if next.file.Mode&rpmfile.ModeType == rpmfile.ModeLink {
			if links++; links > maxLinks {
				return nil, refuse(label, "%s leads through too many symbolic links", p)
			}
			if strings.HasPrefix(next.file.Link, "/") {
				stack = stack[:1]
			}
			todo = append(strings.Split(next.file.Link, "/"), todo...)
			continue
		}
		if next.children == nil {
			return nil, refuse(label, "%s leads through a file", p)
		}
		stack = append(stack, next)
	}
	return stack[len(stack)-1], nil
}
