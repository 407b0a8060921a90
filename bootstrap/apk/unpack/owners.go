package unpack

import (
	"archive/tar"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// names reads /etc/passwd or /etc/group of the root: the number is the third field.
func (u *Unpacker) names(file string) (map[string]int, error) {
	out := map[string]int{"root": 0}
	etc, err := u.dir("etc", false)
	if err != nil || etc == nil || etc.children[file] == nil {
		return out, err
	}
	b, err := u.read(etc.children[file])
	if err != nil {
		return nil, fmt.Errorf("/etc/%s: %w", file, err)
	}
	for line := range strings.Lines(string(b)) {
		f := strings.Split(strings.TrimSpace(line), ":")
		if len(f) < 3 || f[0] == "" {
			continue
		}
		if n, err := strconv.Atoi(f[2]); err == nil && n >= 0 {
			if _, have := out[f[0]]; !have {
				out[f[0]] = n
			}
		}
	}
	return out, nil
}

// resolveOwners turns names into the root's own numbers. Names that it does not have
// stay, when scripts may still make them.
func (u *Unpacker) resolveOwners(scripts bool) error {
	users, err := u.names("passwd")
	if err != nil {
		return err
	}
	groups, err := u.names("group")
	if err != nil {
		return err
	}
	settle := func(o *owner) {
		number := func(name *string, n *int, known map[string]int) {
			id, ok := known[*name]
			if ok {
				*n = id
			}
			if ok || !scripts || !plainName(*name) {
				*name = ""
			}
		}
		number(&o.user, &o.uid, users)
		number(&o.group, &o.gid, groups)
	}
	var walk func(n *node)
	walk = func(n *node) {
		settle(&n.owner)
		for _, c := range n.children {
			walk(c)
		}
	}
	walk(u.root)
	for _, in := range u.pkgs {
		for _, d := range in.dirs {
			if d.head != nil {
				settle(&d.head.owner)
			}
		}
	}
	return nil
}

// plainName: a name that is safe in a shell script.
func plainName(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_' || r == '-' || r == '.')
	}) && s[0] != '-'
}

// Late is a path whose owner is a name that only a script makes.
type Late struct {
	// Path with a leading slash. User or Group may be empty; UID and GID are what
	// there is now.
	Path        string
	User, Group string
	UID, GID    int
	// Mode of a file, with setuid and setgid.
	Mode int64
}

// late lists them. Changing a file's owner takes its capabilities away, which only a
// package manager could give back: such a package is refused.
func (u *Unpacker) late() ([]Late, error) {
	var out []Late
	var lost error
	var walk func(n *node, path string)
	walk = func(n *node, path string) {
		if n.owner.user != "" || n.owner.group != "" {
			l := Late{Path: path, User: n.owner.user, Group: n.owner.group, UID: n.owner.uid, GID: n.owner.gid}
			if n.kind == tar.TypeReg {
				l.Mode = n.mode
				if n.xattrs["security.capability"] != "" && n.pkg != nil {
					lost = &RefusedError{Package: n.pkg.String(), Member: path, Reason: "a file with capabilities whose owner only a script makes"}
				}
			}
			out = append(out, l)
		}
		for _, c := range n.sorted() {
			walk(c, path+"/"+c.name)
		}
	}
	walk(u.root, "")
	return out, lost
}

func (n *node) sorted() []*node {
	out := make([]*node, 0, len(n.children))
	for _, c := range n.children {
		out = append(out, c)
	}
	slices.SortFunc(out, func(a, b *node) int { return strings.Compare(a.name, b.name) })
	return out
}
