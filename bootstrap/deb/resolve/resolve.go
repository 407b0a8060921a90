package resolve

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/cfbuild/cfbuild/bootstrap/deb/archive"
	"github.com/cfbuild/cfbuild/pipelines"
)

// Variants are the base sets, the smallest first.
func Variants() []string { return []string{"essential", "apt", "minbase", "standard"} }

// Resolve chooses the package set. Essential and priority are those that the suite
// of the first package says; other suites (updates, security) only bring versions.
// The result is sorted by name. Errors are *[NoPackageError], *[UnmetError],
// *[ConflictError] and [pipelines.InvalidError].
func Resolve(pkgs []*archive.Package, o Options) ([]Chosen, error) {
	o.Variant = cmp.Or(o.Variant, "minbase")
	if !slices.Contains(Variants(), o.Variant) {
		return nil, &pipelines.InvalidError{What: fmt.Sprintf("variant %q", o.Variant), Cause: "is not known", Fix: "choose one of " + strings.Join(Variants(), ", ")}
	}
	asked, pins, err := requests(o)
	if err != nil {
		return nil, err
	}
	u := newUniverse(pkgs, o.Arch, pins)
	if o.MergedUsr && !slices.Contains(asked, "usrmerge") {
		u.last = "usrmerge"
	}
	r := &resolver{u: u, chosen: map[string]*choice{}, against: map[string][]objection{}, excluded: map[string]bool{}, hopeless: map[*archive.Package]error{}}
	for _, n := range o.Exclude {
		r.excluded[n] = true
	}
	base := seeds(pkgs, o, r.excluded)
	// Two steps, as mmdebstrap takes them: the essential packages do not know of
	// the others when they choose between alternatives.
	if err := r.install(base[0], false); err != nil {
		return nil, err
	}
	var second []seed
	for _, n := range asked {
		p, err := u.find(n, o, pins[n], pkgs)
		if err != nil {
			return nil, err
		}
		second = append(second, seed{p.Name, "requested"})
	}
	if err := r.install(append(second, base[1]...), true); err != nil {
		return nil, err
	}
	return r.result()
}

// requests reads Include.
func requests(o Options) (names []string, pins map[string]string, err error) {
	pins = map[string]string{}
	for _, s := range o.Include {
		name, version, pinned := strings.Cut(s, "=")
		name, arch, _ := strings.Cut(name, ":")
		if arch != "" && arch != o.Arch && arch != "any" && arch != "native" && arch != "all" {
			return nil, nil, &pipelines.InvalidError{What: fmt.Sprintf("package %q", s), Cause: "is for another architecture than " + o.Arch,
				Fix: "a root has the packages of one architecture"}
		}
		if slices.Contains(o.Exclude, name) {
			return nil, nil, &pipelines.InvalidError{What: fmt.Sprintf("package %q", name), Cause: "is both included and excluded"}
		}
		if pinned {
			pins[name] = version
		}
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names, pins, nil
}

type seed struct{ name, why string }

// seeds are the packages of the variant: the essential step and the one after it.
func seeds(pkgs []*archive.Package, o Options, excluded map[string]bool) [2][]seed {
	var out [2][]seed
	if len(pkgs) == 0 {
		return out
	}
	seen := map[string]bool{}
	add := func(step int, p *archive.Package, why string) {
		if !excluded[p.Name] && !seen[p.Name] {
			seen[p.Name] = true
			out[step] = append(out[step], seed{p.Name, why})
		}
	}
	var first []*archive.Package
	for _, p := range pkgs {
		if p.Suite == pkgs[0].Suite && (p.Architecture == o.Arch || p.Architecture == "all") {
			first = append(first, p)
		}
	}
	for _, p := range first {
		if p.Essential {
			add(0, p, "essential")
		}
	}
	for _, p := range first {
		switch {
		case o.Variant == "essential":
		case o.Variant == "apt":
			if p.Name == "apt" {
				add(0, p, "variant: apt")
			}
		case p.Priority == "required",
			o.Variant == "standard" && (p.Priority == "important" || p.Priority == "standard"):
			add(1, p, "priority: "+p.Priority)
		}
	}
	for i := range out {
		slices.SortFunc(out[i], func(a, b seed) int { return strings.Compare(a.name, b.name) })
	}
	// apt belongs to every variant but the essential one, whatever its priority.
	if o.Variant == "minbase" || o.Variant == "standard" {
		for _, p := range first {
			if p.Name == "apt" {
				add(1, p, "variant: "+o.Variant)
			}
		}
	}
	return out
}

// find gives the candidate that is meant by a name.
func (u *universe) find(name string, o Options, version string, pkgs []*archive.Package) (*archive.Package, error) {
	if p := u.candidate[name]; p != nil {
		return p, nil
	}
	e := &NoPackageError{Name: name, Arch: o.Arch}
	if version != "" {
		for _, p := range pkgs {
			if p.Name == name && !slices.Contains(e.Near, p.Version) {
				e.Version = version
				e.Near = append(e.Near, p.Version)
			}
		}
		if e.Version != "" {
			return nil, e
		}
	}
	by := u.solutions(relation{name: name})
	if len(by) == 1 {
		return by[0], nil
	}
	for _, p := range by {
		e.Providers = append(e.Providers, p.Name)
	}
	slices.Sort(e.Providers)
	if len(by) == 0 {
		e.Near = pipelines.Nearest(name, u.names(), 5)
	}
	return nil, e
}

// result sorts and adds what is only known at the end.
func (r *resolver) result() ([]Chosen, error) {
	out := make([]Chosen, 0, len(r.chosen))
	for _, c := range r.chosen {
		// A copy: the set is kept long after the indexes.
		ch := Chosen{Package: c.pkg.Clone(), Why: c.why, Auto: c.auto}
		groups, err := parseField(c.pkg.PreDepends)
		if err != nil {
			return nil, fmt.Errorf("package %s: Pre-Depends: %w", c.pkg, err)
		}
		for _, g := range groups {
			if by := r.met(g); by != nil && by != c.pkg && !slices.Contains(ch.PreDepends, by.Name) {
				ch.PreDepends = append(ch.PreDepends, strings.Clone(by.Name))
			}
		}
		slices.Sort(ch.PreDepends)
		out = append(out, ch)
	}
	slices.SortFunc(out, func(a, b Chosen) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}
