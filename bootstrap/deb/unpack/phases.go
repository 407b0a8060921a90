package unpack

import (
	"slices"
	"strings"
)

// relation is one alternative of a dependency field.
type relation struct {
	name, op, version string
}

// relations reads a dependency field: groups of alternatives (deb-control(5)).
func relations(s string) [][]relation {
	var out [][]relation
	for group := range strings.SplitSeq(s, ",") {
		var alts []relation
		for alt := range strings.SplitSeq(group, "|") {
			var r relation
			name, rest, _ := strings.Cut(strings.TrimSpace(alt), "(")
			name, _, _ = strings.Cut(name, "[")
			r.name, _, _ = strings.Cut(strings.TrimSpace(name), ":")
			if cond, _, ok := strings.Cut(rest, ")"); ok {
				cond = strings.TrimSpace(cond)
				i := 0
				for i < len(cond) && strings.ContainsRune("<>=", rune(cond[i])) {
					i++
				}
				r.op, r.version = cond[:i], strings.TrimSpace(cond[i:])
			}
			if r.name != "" {
				alts = append(alts, r)
			}
		}
		if len(alts) > 0 {
			out = append(out, alts)
		}
	}
	return out
}

// graph is who depends on whom among the packages of the root, all alternatives
// that are there counted.
type graph struct {
	pre, all map[*pkg][]*pkg
}

func newGraph(pkgs []*pkg) *graph {
	byName := map[string][]*pkg{}
	for _, p := range pkgs {
		byName[p.Name] = append(byName[p.Name], p)
		for _, group := range relations(p.control.get("Provides")) {
			byName[group[0].name] = append(byName[group[0].name], p)
		}
	}
	find := func(fields ...string) map[*pkg][]*pkg {
		out := map[*pkg][]*pkg{}
		for _, p := range pkgs {
			for _, f := range fields {
				for _, group := range relations(p.control.get(f)) {
					for _, alt := range group {
						for _, q := range byName[alt.name] {
							if q != p && !slices.Contains(out[p], q) {
								out[p] = append(out[p], q)
							}
						}
					}
				}
			}
		}
		return out
	}
	return &graph{find("Pre-Depends"), find("Pre-Depends", "Depends")}
}

// closure of packages under a relation.
func closure(from []*pkg, edges map[*pkg][]*pkg) map[*pkg]bool {
	seen := map[*pkg]bool{}
	for todo := slices.Clone(from); len(todo) > 0; {
		p := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if !seen[p] {
			seen[p] = true
			todo = append(todo, edges[p]...)
		}
	}
	return seen
}

func essentials(pkgs []*pkg) []*pkg {
	var out []*pkg
	for _, p := range pkgs {
		if p.essential {
			out = append(out, p)
		}
	}
	return out
}

// configures says whether configuring the package does anything that another
// package's preinst could need.
func (p *pkg) configures() bool {
	return len(p.control.conffiles) > 0 || p.control.member("postinst") != nil
}

// phases divides the packages so that before a preinst is run everything its
// package pre-depends on is configured (Debian policy 7.2). Essential packages
// and what they pre-depend on work unpacked, so one phase is enough for most
// roots. The packages of a phase depend on no later one.
func phases(pkgs []*pkg, g *graph) [][]*pkg {
	usable := closure(essentials(pkgs), g.pre)
	phase := map[*pkg]int{}
	// A package moves up until nothing does; more moves than packages squared
	// would be a circle of pre-dependencies, which is cut.
	changed := true
	for range len(pkgs) {
		if !changed {
			break
		}
		changed = false
		for _, p := range pkgs {
			at := phase[p]
			for _, q := range g.all[p] {
				at = max(at, phase[q])
			}
			if p.control.member("preinst") != nil && !usable[p] {
				for _, q := range g.pre[p] {
					if !usable[q] && needsConfigure(q, g, usable) {
						at = max(at, phase[q]+1)
					}
				}
			}
			if at != phase[p] && at < len(pkgs) {
				phase[p] = at
				changed = true
			}
		}
	}
	return compact(pkgs, phase)
}

// needsConfigure: q or something it depends on does something when configured.
func needsConfigure(q *pkg, g *graph, usable map[*pkg]bool) bool {
	for p := range closure([]*pkg{q}, g.all) {
		if !usable[p] && p.configures() {
			return true
		}
	}
	return false
}

// compact groups packages by phase and drops empty ones.
func compact(pkgs []*pkg, phase map[*pkg]int) [][]*pkg {
	byPhase := map[int][]*pkg{}
	var keys []int
	for _, p := range pkgs {
		k := phase[p]
		if byPhase[k] == nil {
			keys = append(keys, k)
		}
		byPhase[k] = append(byPhase[k], p)
	}
	slices.Sort(keys)
	out := make([][]*pkg, 0, len(keys))
	for _, k := range keys {
		out = append(out, byPhase[k])
	}
	return out
}

// preinsts gives the packages of a phase that have a preinst, those they
// pre-depend on first.
func preinsts(phase []*pkg, g *graph) []Script {
	var out []Script
	seen := map[*pkg]bool{}
	var visit func(p *pkg)
	visit = func(p *pkg) {
		if seen[p] {
			return
		}
		seen[p] = true
		for _, q := range g.pre[p] {
			visit(q)
		}
		if slices.Contains(phase, p) && p.control.member("preinst") != nil {
			out = append(out, Script{p.id(), p.Name, p.Architecture})
		}
	}
	// base-passwd first: other scripts need the users it makes.
	for _, p := range phase {
		if p.Name == "base-passwd" {
			visit(p)
		}
	}
	for _, p := range phase {
		visit(p)
	}
	return out
}
