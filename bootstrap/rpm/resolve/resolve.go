package resolve

import (
	"maps"
	"slices"
	"strings"
)

// Options of a choice.
type Options struct {
	// Arch is the RPM architecture, "x86_64"; noarch goes with it, others do not.
	Arch string
	// Include are package names, or things that a package provides. Exclude are
	// names left out of sight.
	Include, Exclude []string
}

// maxRestarts bounds how often a choice is started over.
const maxRestarts = 200

// Resolve chooses packages. The result is sorted by name. The error is a
// *[NotFoundError], an *[UnsatisfiedError], or a *[NeedFilesError].
func Resolve(pkgs []*Package, o Options) ([]Chosen, error) {
	u := newUniverse(pkgs, o.Arch, o.Exclude)
	banned := map[*Package]bool{}
	var first error
	for range maxRestarts {
		s := &state{u: u, banned: banned, by: map[string]Chosen{}, wants: map[*Package]bool{}}
		bad, err := s.run(o.Include)
		if err == nil {
			return s.sorted(), nil
		}
		if first == nil {
			first = err
		}
		if bad == nil {
			return nil, first
		}
		banned[bad] = true
	}
	return nil, first
}

// state is one attempt.
type state struct {
	u       *universe
	banned  map[*Package]bool
	by      map[string]Chosen // by name
	order   []Chosen
	queue   []*Package
	wants   map[*Package]bool // closed already
	pending []pending
	missing []string
}

// pending is a conditional dependency, looked at when all else is chosen.
type pending struct {
	of   *Package
	rich *rich
	text string
}

// run makes the closure. With an error comes the package that cannot be had, to
// try without it; nil when nothing else can help.
func (s *state) run(include []string) (*Package, error) {
	for _, name := range include {
		d := Dep{Name: name}
		cands := s.u.byName[name]
		if len(cands) == 0 {
			cands = s.u.candidates(d)
		}
		if len(cands) == 0 {
			if strings.HasPrefix(name, "/") {
				s.missing = append(s.missing, name)
				continue
			}
			return nil, &NotFoundError{Name: name, Near: s.u.near(name)}
		}
		if s.satisfied(d) {
			continue
		}
		p, why := s.pick(cands)
		if p == nil {
			return s.blame(nil, d, why)
		}
		s.add(p, "requested")
	}
	for {
		for len(s.queue) > 0 {
			p := s.queue[0]
			s.queue = s.queue[1:]
			if bad, err := s.close(p); err != nil {
				return bad, err
			}
		}
		if len(s.missing) > 0 {
			slices.Sort(s.missing)
			return nil, &NeedFilesError{Paths: slices.Compact(s.missing)}
		}
		n := len(s.order)
		for _, c := range s.pending {
			if bad, err := s.rich(c.of, c.rich, c.text); err != nil {
				return bad, err
			}
		}
		if len(s.order) == n {
			return nil, nil
		}
	}
}

// close satisfies what a package requires.
func (s *state) close(p *Package) (*Package, error) {
	for _, d := range p.Requires {
		if strings.HasPrefix(d.Name, "(") {
			r, err := parseRich(d.Name)
			if err != nil {
				return p, &UnsatisfiedError{Dep: d.Name, Chain: s.chain(p), Why: []string{err.Error()}}
			}
			if conditional(r) {
				s.pending = append(s.pending, pending{p, r, d.Name})
				continue
			}
			if bad, err := s.rich(p, r, d.Name); err != nil {
				return bad, err
			}
			continue
		}
		if bad, err := s.want(p, d); err != nil {
			return bad, err
		}
	}
	return nil, nil
}

func conditional(r *rich) bool {
	return r != nil && (r.op == "if" || r.op == "unless" || conditional(r.a) || conditional(r.b))
}

// want satisfies one simple dependency.
func (s *state) want(p *Package, d Dep) (*Package, error) {
	if has(p, d) || s.satisfied(d) {
		return nil, nil
	}
	cands := s.u.candidates(d)
	if len(cands) == 0 && strings.HasPrefix(d.Name, "/") {
		s.missing = append(s.missing, d.Name)
		return nil, nil
	}
	q, why := s.pick(cands)
	if q == nil {
		return s.blame(p, d, why)
	}
	s.add(q, "depends: "+p.Name)
	return nil, nil
}

// rich satisfies a boolean dependency.
func (s *state) rich(p *Package, r *rich, text string) (*Package, error) {
	if s.holds(r) {
		return nil, nil
	}
	switch r.op {
	case "":
		return s.want(p, r.dep)
	case "and":
		if bad, err := s.rich(p, r.a, text); err != nil {
			return bad, err
		}
		return s.rich(p, r.b, text)
	case "or":
		if s.possible(r.a) {
			return s.rich(p, r.a, text)
		}
		return s.rich(p, r.b, text)
	case "if":
		if s.holds(r.b) {
			return s.rich(p, r.a, text)
		}
		return s.rich(p, r.alse, text)
	case "unless":
		if !s.holds(r.b) {
			return s.rich(p, r.a, text)
		}
		if r.alse != nil {
			return s.rich(p, r.alse, text)
		}
	case "with", "without":
		cands := slices.DeleteFunc(s.u.candidates(r.a.dep), func(q *Package) bool { return has(q, r.b.dep) != (r.op == "with") })
		q, why := s.pick(cands)
		if q == nil {
			return s.blame(p, Dep{Name: text}, why)
		}
		s.add(q, "depends: "+p.Name)
	}
	return nil, nil
}

// holds says whether what is chosen so far satisfies a boolean dependency.
func (s *state) holds(r *rich) bool {
	switch {
	case r == nil:
		return true
	case r.op == "":
		return s.satisfied(r.dep)
	case r.op == "and":
		return s.holds(r.a) && s.holds(r.b)
	case r.op == "or":
		return s.holds(r.a) || s.holds(r.b)
	case r.op == "if":
		if s.holds(r.b) {
			return s.holds(r.a)
		}
		return s.holds(r.alse)
	case r.op == "unless":
		if s.holds(r.b) {
			return s.holds(r.alse)
		}
		return s.holds(r.a)
	}
	for _, c := range s.by {
		if r.a.op == "" && r.b.op == "" && has(c.Package, r.a.dep) && has(c.Package, r.b.dep) == (r.op == "with") {
			return true
		}
	}
	return false
}

// possible says whether something could satisfy a boolean dependency.
func (s *state) possible(r *rich) bool {
	switch r.op {
	case "":
		p, _ := s.pick(s.u.candidates(r.dep))
		return p != nil || s.satisfied(r.dep)
	case "and":
		return s.possible(r.a) && s.possible(r.b)
	case "or":
		return s.possible(r.a) || s.possible(r.b)
	}
	return s.possible(r.a)
}

func (s *state) satisfied(d Dep) bool {
	for _, o := range s.u.provides[d.Name] {
		if c, ok := s.by[o.p.Name]; ok && c.Package == o.p && d.fits(o.d) {
			return true
		}
	}
	if d.Op == 0 {
		for _, f := range filePaths(d.Name) {
			for _, p := range s.u.files[f] {
				if s.by[p.Name].Package == p {
					return true
				}
			}
		}
	}
	return false
}

// pick takes the first candidate that goes with what is chosen; why says what is
// wrong with each otherwise.
func (s *state) pick(cands []*Package) (p *Package, why []string) {
	for _, p := range cands {
		if s.banned[p] {
			why = append(why, p.String()+" cannot be installed")
			continue
		}
		if c, ok := s.by[p.Name]; ok {
			why = append(why, p.String()+" stands against "+c.String()+", which is chosen")
			continue
		}
		if c, how := s.against(p); c != nil {
			why = append(why, p.String()+" "+how+" "+c.String())
			continue
		}
		return p, nil
	}
	return nil, why
}

// against looks for a chosen package that conflicts with p.
func (s *state) against(p *Package) (*Package, string) {
	hits := func(a, b *Package) string {
		for _, d := range a.Conflicts {
			if !strings.HasPrefix(d.Name, "(") && has(b, d) {
				return "conflicts with"
			}
		}
		for _, d := range a.Obsoletes {
			if d.Name == b.Name && a.Name != b.Name && d.fits(Dep{Op: Equal, EVR: b.EVR}) {
				return "obsoletes"
			}
		}
		return ""
	}
	for _, c := range s.order {
		if how := hits(p, c.Package); how != "" {
			return c.Package, how
		}
		if how := hits(c.Package, p); how != "" {
			return c.Package, "stands against"
		}
	}
	return nil, ""
}

func (s *state) add(p *Package, why string) {
	c := Chosen{p, why}
	s.by[p.Name] = c
	s.order = append(s.order, c)
	s.queue = append(s.queue, p)
}

// blame makes the error for a dependency that cannot be satisfied. To be tried
// without is the package that has it.
func (s *state) blame(p *Package, d Dep, why []string) (*Package, error) {
	e := &UnsatisfiedError{Dep: d.String(), Chain: s.chain(p), Why: why}
	if len(why) == 0 {
		e.Near = s.u.near(d.Name)
		for _, o := range s.u.provides[d.Name] {
			e.Why = append(e.Why, o.p.String()+" provides "+o.d.String())
		}
	}
	return p, e
}

// chain leads from what was asked for to a package.
func (s *state) chain(p *Package) []string {
	var out []string
	for p != nil && len(out) < 20 {
		out = append(out, p.String())
		name, ok := strings.CutPrefix(s.by[p.Name].Why, "depends: ")
		if !ok {
			break
		}
		p = s.by[name].Package
	}
	slices.Reverse(out)
	return out
}

func (s *state) sorted() []Chosen {
	out := slices.Collect(maps.Values(s.by))
	slices.SortFunc(out, func(a, b Chosen) int { return strings.Compare(a.Name, b.Name) })
	return out
}
