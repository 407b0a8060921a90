package resolve

import (
	"fmt"
	"strings"
)

// relation is one package of a dependency field: "name:arch (op version)".
type relation struct {
	name string
	arch string // "", "any", "native" or an architecture
	op   string // "", "<<", "<=", "=", ">=", ">>"
	ver  string
}

func (r relation) String() string {
	s := r.name
	if r.arch != "" {
		s += ":" + r.arch
	}
	if r.op != "" {
		s += " (" + r.op + " " + r.ver + ")"
	}
	return s
}

// group is a set of alternatives.
type group []relation

func (g group) String() string {
	var parts []string
	for _, r := range g {
		parts = append(parts, r.String())
	}
	return strings.Join(parts, " | ")
}

// parseField reads a dependency field (Debian policy 7.1).
func parseField(s string) ([]group, error) {
	var out []group
	for part := range strings.SplitSeq(s, ",") {
		if strings.TrimSpace(part) == "" {
			continue
		}
		var g group
		for alt := range strings.SplitSeq(part, "|") {
			r, err := parseRelation(alt)
			if err != nil {
				return nil, err
			}
			g = append(g, r)
		}
		out = append(out, g)
	}
	return out, nil
}

func parseRelation(s string) (relation, error) {
	s = strings.TrimSpace(s)
	bad := func() (relation, error) { return relation{}, fmt.Errorf("%q is no dependency", s) }
	var r relation
	head, rest, versioned := strings.Cut(s, "(")
	head = strings.TrimSpace(head)
	var qualified bool
	r.name, r.arch, qualified = strings.Cut(head, ":")
	if !word(r.name) || qualified && !word(r.arch) {
		return bad()
	}
	if !versioned {
		return r, nil
	}
	body, after, ok := strings.Cut(rest, ")")
	if !ok || strings.TrimSpace(after) != "" {
		return bad()
	}
	body = strings.TrimSpace(body)
	n := 0
	for n < len(body) && strings.IndexByte("<>=", body[n]) >= 0 {
		n++
	}
	r.op, r.ver = body[:n], strings.TrimSpace(body[n:])
	switch r.op {
	case "<": // obsolete spellings of the inclusive operators
		r.op = "<="
	case ">":
		r.op = ">="
	case "<<", "<=", "=", ">=", ">>":
	default:
		return bad()
	}
	if !word(strings.ReplaceAll(r.ver, ":", "")) {
		return bad()
	}
	return r, nil
}

// word says whether s has only what names and versions are made of. Restrictions
// "[arch]" and "<profile>", which only source packages have, are none.
func word(s string) bool {
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c > '~' || strings.IndexByte("()[]<>=,|:", c) >= 0 {
			return false
		}
	}
	return s != ""
}

// holds says whether a version meets the relation.
func (r relation) holds(version string) bool {
	if r.op == "" {
		return true
	}
	c := CompareVersions(version, r.ver)
	switch r.op {
	case "<<":
		return c < 0
	case "<=":
		return c <= 0
	case "=":
		return c == 0
	case ">=":
		return c >= 0
	}
	return c > 0
}
