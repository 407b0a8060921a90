package resolve

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/cfbuild/cfbuild/bootstrap/deb/archive"
)

// choice is one chosen package.
type choice struct {
	pkg  *archive.Package
	why  string
	by   *choice // the package that depends on it
	auto bool
}

// objection is a Conflicts or Breaks of a chosen package against a name.
type objection struct {
	by    *archive.Package
	field string
	rel   relation
}

// resolver chooses packages one by one and can take the last ones back.
type resolver struct {
	u        *universe
	chosen   map[string]*choice
	journal  []string // names in the order they were chosen
	against  map[string][]objection
	excluded map[string]bool
	// hopeless packages can never be chosen, whatever else is.
	hopeless map[*archive.Package]error
}

// install chooses all seeds first, so that they count when their dependencies
// choose between alternatives, and then what they depend on.
func (r *resolver) install(seeds []seed, auto bool) error {
	var added []*choice
	for _, s := range seeds {
		if c := r.chosen[s.name]; c != nil {
			// Asked for by name after it was chosen as a dependency.
			if strings.HasPrefix(c.why, "depends: ") {
				c.why, c.auto = s.why, false
			}
			continue
		}
		p := r.u.candidate[s.name]
		if p == nil {
			return &NoPackageError{Name: s.name, Arch: r.u.arch}
		}
		c := &choice{pkg: p, why: s.why}
		if r.excluded[c.pkg.Name] {
			return fmt.Errorf("package %s: %w", c.pkg.Name, errExcluded)
		}
		if err := r.add(c); err != nil {
			return err
		}
		added = append(added, c)
	}
	for _, c := range added {
		if err := r.depend(c, auto); err != nil {
			return err
		}
	}
	return nil
}

// add chooses a package if nothing chosen excludes it.
func (r *resolver) add(c *choice) error {
	p := c.pkg
	if err := r.excludes(c); err != nil {
		return err
	}
	r.chosen[p.Name] = c
	r.journal = append(r.journal, p.Name)
	for _, f := range []struct{ name, value string }{{"conflicts", p.Conflicts}, {"breaks", p.Breaks}} {
		groups, err := parseField(f.value)
		if err != nil {
			return fmt.Errorf("package %s: %s: %w", p, f.name, err)
		}
		for _, g := range groups {
			for _, rel := range g {
				r.against[rel.name] = append(r.against[rel.name], objection{p, f.name, rel})
			}
		}
	}
	return nil
}

// excludes looks both ways: at what chosen packages say of this one, and at what
// it says of them.
func (r *resolver) excludes(c *choice) error {
	p := c.pkg
	names := []string{p.Name}
	for part := range strings.SplitSeq(p.Provides, ",") {
		if rel, err := parseRelation(part); err == nil && rel.name != p.Name {
			names = append(names, rel.name)
		}
	}
	for _, n := range names {
		for _, o := range r.against[n] {
			if o.by != p && r.u.satisfies(p, o.rel) {
				return &ConflictError{Package: o.by.Name, Field: o.field, Relation: o.rel.String(), Other: p.Name,
					Chain: [2]string{r.chosen[o.by.Name].chain(), c.chain()}}
			}
		}
	}
	for _, f := range []struct{ name, value string }{{"conflicts", p.Conflicts}, {"breaks", p.Breaks}} {
		groups, err := parseField(f.value)
		if err != nil {
			return fmt.Errorf("package %s: %s: %w", p, f.name, err)
		}
		for _, g := range groups {
			for _, rel := range g {
				if other := r.holder(rel, p); other != nil {
					return &ConflictError{Package: p.Name, Field: f.name, Relation: rel.String(), Other: other.pkg.Name,
						Chain: [2]string{c.chain(), other.chain()}}
				}
			}
		}
	}
	return nil
}

// holder is a chosen package other than self that meets a relation.
func (r *resolver) holder(rel relation, self *archive.Package) *choice {
	if c := r.chosen[rel.name]; c != nil && c.pkg != self && r.u.satisfies(c.pkg, rel) {
		return c
	}
	for _, v := range r.u.providers[rel.name] {
		if c := r.chosen[v.pkg.Name]; c != nil && c.pkg == v.pkg && v.pkg != self && meets(rel, v) {
			return c
		}
	}
	return nil
}

// met gives the chosen package that meets a group, if any.
func (r *resolver) met(g group) *archive.Package {
	for _, rel := range g {
		if c := r.holder(rel, nil); c != nil {
			return c.pkg
		}
	}
	return nil
}

// depend meets the dependencies of a chosen package.
func (r *resolver) depend(c *choice, auto bool) error {
	for _, field := range []string{c.pkg.PreDepends, c.pkg.Depends} {
		groups, err := parseField(field)
		if err != nil {
			return fmt.Errorf("package %s: %w", c.pkg, err)
		}
		for _, g := range groups {
			if r.met(g) != nil {
				continue
			}
			if err := r.meet(c, g, auto); err != nil {
				return err
			}
		}
	}
	return nil
}

// meet chooses a package for one dependency: the first alternative that works out.
func (r *resolver) meet(c *choice, g group, auto bool) error {
	fail := &UnmetError{Package: c.pkg.Name, Why: c.root().why, Group: g.String()}
	var found []*archive.Package
	for _, rel := range g {
		some := r.u.solutions(rel)
		for _, p := range some {
			if !slices.Contains(found, p) {
				found = append(found, p)
			}
		}
		if len(some) == 0 {
			fail.Reasons = append(fail.Reasons, r.u.missing(rel, len(g) > 1))
		}
	}
	if i := slices.IndexFunc(found, func(p *archive.Package) bool { return p.Name == r.u.last }); i >= 0 {
		last := found[i]
		found = append(slices.Delete(found, i, i+1), last)
	}
	for _, p := range found {
		if err := r.try(&choice{pkg: p, why: "depends: " + c.pkg.Name, by: c, auto: auto}); err != nil {
			fail.Reasons = append(fail.Reasons, err)
			continue
		}
		return nil
	}
	return fail
}

// try chooses a package with all it depends on, or nothing.
func (r *resolver) try(c *choice) error {
	if r.excluded[c.pkg.Name] {
		return fmt.Errorf("%s: %w", c.pkg.Name, errExcluded)
	}
	if err := r.hopeless[c.pkg]; err != nil {
		return err
	}
	mark := len(r.journal)
	err := r.add(c)
	if err == nil {
		if err = r.depend(c, c.auto); err == nil {
			return nil
		}
	}
	r.back(mark)
	if !errors.Is(err, ErrConflict) {
		r.hopeless[c.pkg] = err
	}
	return err
}

// back takes back all choices after a mark.
func (r *resolver) back(mark int) {
	if mark == len(r.journal) {
		return
	}
	gone := map[*archive.Package]bool{}
	for _, n := range r.journal[mark:] {
		gone[r.chosen[n].pkg] = true
		delete(r.chosen, n)
	}
	r.journal = r.journal[:mark]
	for n, list := range r.against {
		r.against[n] = slices.DeleteFunc(list, func(o objection) bool { return gone[o.by] })
	}
}

// missing says why nothing meets a relation.
func (u *universe) missing(rel relation, named bool) error {
	what := ""
	if named {
		what = rel.String() + ": "
	}
	switch p := u.candidate[rel.name]; {
	case p == nil && len(u.providers[rel.name]) == 0:
		return fmt.Errorf("%s%w", what, ErrNoPackage)
	case p == nil:
		v := u.providers[rel.name][0]
		if v.version == "" {
			return fmt.Errorf("%sonly provided without a version, by %s", what, v.pkg.Name)
		}
		return fmt.Errorf("%sonly provided in version %s, by %s", what, v.version, v.pkg.Name)
	case !rel.holds(p.Version):
		return fmt.Errorf("%sthere is version %s", what, p.Version)
	}
	return fmt.Errorf("%sthere is none that fits the qualifier %q", what, rel.arch)
}

// root is what was asked for and led to c.
func (c *choice) root() *choice {
	for c.by != nil {
		c = c.by
	}
	return c
}

// chain is "a (requested) depends b depends c".
func (c *choice) chain() string {
	var names []string
	for x := c; x != nil; x = x.by {
		names = append(names, x.pkg.Name)
	}
	slices.Reverse(names)
	names[0] += " (" + c.root().why + ")"
	return strings.Join(names, " depends ")
}
