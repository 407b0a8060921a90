package resolve

import (
	"fmt"
	"slices"
	"strings"

	"github.com/cfbuild/cfbuild/bootstrap/apk/index"
)

// Options say what is wanted.
type Options struct {
	// Arch in apk's terms, "x86_64".
	Arch string
	// World are the dependencies of the root itself, as in /etc/apk/world.
	World []index.Dep
}

// Chosen is one package of the result.
type Chosen struct {
	*index.Package
	// Repo is the index of its repository.
	Repo int
	// Why: "requested", "depends: NAME", or "installed with: NAME, NAME".
	Why string
}

// Resolve chooses packages, in the order in which apk installs them. repos are the
// packages of each repository, the preferred first. The error is a *[MissingError] or
// a *[ConflictError].
func Resolve(repos [][]*index.Package, o Options) ([]Chosen, error) {
	s := &solver{u: newUniverse(repos, o.Arch), chosen: map[string]provider{}, reqs: map[string][]requirement{}, why: map[*candidate]string{}}
	world := slices.Clone(o.World)
	slices.SortStableFunc(world, func(a, b index.Dep) int { return strings.Compare(a.Name, b.Name) })
	for _, d := range world {
		if d.Broken {
			return nil, &ConflictError{Name: d.Name, Lines: []string{fmt.Sprintf("%s cannot be read", d)}}
		}
		s.require(d, nil)
	}
	if !s.solve() {
		return nil, s.failure(world)
	}
	for s.installIf() {
	}
	return s.order(world), nil
}

// requirement is a dependency and whose it is; nil is the world.
type requirement struct {
	index.Dep
	by *candidate
}

// maxSteps bounds the search; Alpine's own repositories take about one step for each
// package.
const maxSteps = 20_000

type solver struct {
	u      *universe
	chosen map[string]provider
	reqs   map[string][]requirement
	queue  []requirement // those that are no conflicts, in order
	why    map[*candidate]string
	steps  int
	// stuck is the first name that nothing could be chosen for, and what wanted it.
	stuck   string
	wanting []requirement
}

// require adds a dependency.
func (s *solver) require(d index.Dep, by *candidate) {
	r := requirement{d, by}
	s.reqs[d.Name] = append(s.reqs[d.Name], r)
	if !d.Conflict {
		s.queue = append(s.queue, r)
	}
}

// unrequire takes back the last n.
func (s *solver) unrequire(deps []index.Dep) {
	for i := len(deps) - 1; i >= 0; i-- {
		d := deps[i]
		list := s.reqs[d.Name]
		s.reqs[d.Name] = list[:len(list)-1]
		if !d.Conflict {
			s.queue = s.queue[:len(s.queue)-1]
		}
	}
}

// fits says whether a requirement holds when p is what provides its name.
func fits(r index.Dep, p provider) bool {
	if r.Broken {
		return r.Conflict
	}
	return r.Provided(p.version, p.p.Package) != r.Conflict
}

// possible says whether a candidate can join what is chosen.
func (s *solver) possible(c *candidate) bool {
	for _, o := range c.offers {
		p := provider{c, o.version}
		if have, ok := s.chosen[o.name]; ok && have.p != c && (have.version != "" || o.version != "") {
			return false
		}
		for _, r := range s.reqs[o.name] {
			if r.by != c && !fits(r.Dep, p) {
				return false
			}
		}
	}
	for _, d := range c.Depends {
		if have, ok := s.chosen[d.Name]; ok && have.p != c && !fits(d, have) {
			return false
		}
	}
	return true
}

// selectable: what provides a name without a version is not chosen by itself, unless
// it has a priority or is wanted by its own name too.
func (s *solver) selectable(p provider) bool {
	return p.version != "" || p.p.ProviderPriority > 0 ||
		slices.ContainsFunc(s.reqs[p.p.Name], func(r requirement) bool { return !r.Conflict })
}

// candidates for a name, the best first.
func (s *solver) candidates(name string) []provider {
	var out []provider
	for _, p := range s.u.byName[name] {
		if s.selectable(p) && s.possible(p.p) {
			out = append(out, p)
		}
	}
	slices.SortStableFunc(out, better)
	return out
}

// next is the requirement to decide: one with a single possible package before one
// with several, and one that nothing fits first of all.
func (s *solver) next() (requirement, []provider, bool) {
	var best requirement
	var list []provider
	found := false
	seen := map[string]bool{}
	for _, r := range s.queue {
		if _, ok := s.chosen[r.Name]; ok || seen[r.Name] {
			continue
		}
		seen[r.Name] = true
		c := s.candidates(r.Name)
		if len(c) == 1 {
			return r, c, true
		}
		if !found || len(list) == 0 && len(c) > 0 {
			best, list, found = r, c, true
		}
	}
	return best, list, found
}

// solve decides all requirements, going back where a choice leads nowhere.
func (s *solver) solve() bool {
	for name, rs := range s.reqs {
		have, ok := s.chosen[name]
		for _, r := range rs {
			if ok && have.p != r.by && !fits(r.Dep, have) {
				return false
			}
		}
	}
	r, list, found := s.next()
	if !found {
		return true
	}
	if len(list) == 0 && s.stuck == "" {
		s.stuck, s.wanting = r.Name, slices.Clone(s.reqs[r.Name])
	}
	for _, p := range list {
		if s.steps++; s.steps > maxSteps {
			return false
		}
		undo := s.assign(p.p, s.reason(r))
		if s.solve() {
			return true
		}
		undo()
	}
	return false
}

func (s *solver) reason(r requirement) string {
	if r.by == nil {
		return "requested"
	}
	return "depends: " + r.by.Name
}

// assign chooses a package, with all that it provides.
func (s *solver) assign(c *candidate, why string) (undo func()) {
	var taken []string
	for _, o := range c.offers {
		if _, ok := s.chosen[o.name]; !ok { // else both provide it without a version
			taken = append(taken, o.name)
			s.chosen[o.name] = provider{c, o.version}
		}
	}
	s.why[c] = why
	for _, d := range c.Depends {
		s.require(d, c)
	}
	return func() {
		s.unrequire(c.Depends)
		delete(s.why, c)
		for _, name := range taken {
			delete(s.chosen, name)
		}
	}
}

// installIf adds one package whose conditions hold, and says whether there was one.
func (s *solver) installIf() bool {
	var ready []provider
	for _, c := range s.u.iif {
		if have, ok := s.chosen[c.Name]; ok && have.version != "" || s.why[c] != "" {
			continue
		}
		all := true
		for _, d := range c.IfAll {
			have, ok := s.chosen[d.Name]
			if all = ok && fits(d, have) || !ok && d.Conflict; !all {
				break
			}
		}
		if all && s.possible(c) {
			ready = append(ready, provider{c, c.Version})
		}
	}
	slices.SortStableFunc(ready, better)
	for _, p := range ready {
		var with []string
		for _, d := range p.p.IfAll {
			with = append(with, d.Name)
		}
		undo := s.assign(p.p, "installed with: "+strings.Join(with, ", "))
		if s.solve() {
			return true
		}
		undo()
	}
	return false
}

// order gives the packages as apk installs them: of the world by name, each after
// what it depends on, and before what installs itself for its sake.
func (s *solver) order(world []index.Dep) []Chosen {
	var out []Chosen
	done := map[*candidate]bool{}
	settled := map[string]bool{} // names
	byCondition := map[string][]*candidate{}
	for _, c := range s.u.iif {
		if s.why[c] != "" {
			for _, d := range c.IfAll {
				byCondition[d.Name] = append(byCondition[d.Name], c)
			}
		}
	}
	var visit func(name string)
	visit = func(name string) {
		have, ok := s.chosen[name]
		if settled[name] {
			return
		}
		settled[name] = true
		if !ok || done[have.p] {
			return
		}
		c := have.p
		done[c] = true
		for _, o := range c.offers {
			settled[o.name] = true
		}
		for _, d := range c.Depends {
			visit(d.Name)
		}
		out = append(out, Chosen{c.Package, c.repo, s.why[c]})
		for _, o := range c.offers {
			for _, other := range byCondition[o.name] {
				if !slices.ContainsFunc(other.IfAll, func(d index.Dep) bool { return !settled[d.Name] }) {
					visit(other.Name)
				}
			}
		}
	}
	for _, d := range world {
		visit(d.Name)
	}
	// What installed itself for conditions that are settled only now.
	for _, c := range s.u.iif {
		if s.why[c] != "" && !done[c] {
			visit(c.Name)
		}
	}
	return out
}
