package resolve

import (
	"cmp"
	"slices"
	"strings"

	"github.com/cfbuild/cfbuild/bootstrap/deb/archive"
)

// universe is what can be chosen from.
type universe struct {
	arch string
	// candidate is the one version of each package that is considered.
	candidate map[string]*archive.Package
	// providers of each name by candidates, besides the package of that name.
	providers map[string][]provider
	// order is when a package was first seen, for ties.
	order map[*archive.Package]int
	last  string // package that is chosen only where nothing else will do
}

type provider struct {
	pkg     *archive.Package
	version string // "" where the provision has none
}

// newUniverse takes the highest version of each package, of equal ones the first,
// unless a version is pinned.
func newUniverse(pkgs []*archive.Package, arch string, pins map[string]string) *universe {
	u := &universe{arch: arch, candidate: make(map[string]*archive.Package, len(pkgs)), providers: map[string][]provider{}}
	for _, p := range pkgs {
		if p.Architecture != arch && p.Architecture != "all" {
			continue
		}
		if v, pinned := pins[p.Name]; pinned && v != p.Version {
			continue
		}
		if old := u.candidate[p.Name]; old == nil || CompareVersions(p.Version, old.Version) > 0 {
			u.candidate[p.Name] = p
		}
	}
	u.order = make(map[*archive.Package]int, 1024)
	for i, p := range pkgs {
		if p.Provides == "" || u.candidate[p.Name] != p {
			continue
		}
		u.order[p] = i
		u.provide(p)
	}
	return u
}

// provide adds the names a package provides. What cannot be read provides nothing.
func (u *universe) provide(p *archive.Package) {
	for part := range strings.SplitSeq(p.Provides, ",") {
		r, err := parseRelation(part)
		if err != nil || r.op != "" && r.op != "=" || r.arch != "" && r.arch != "any" && r.arch != u.arch {
			continue
		}
		u.providers[r.name] = append(u.providers[r.name], provider{p, r.ver})
	}
}

// fits says whether the qualifier of a relation lets a package of that very name
// through. There is one architecture here, so only "any" asks for something: that
// the package may serve other architectures.
func (u *universe) fits(r relation, p *archive.Package) bool {
	switch r.arch {
	case "", "native", u.arch:
		return true
	case "any":
		return p.MultiArch == "allowed" || p.MultiArch == "foreign"
	}
	return false
}

// solutions are the candidates that meet one relation, the best first.
func (u *universe) solutions(r relation) []*archive.Package {
	var out []*archive.Package
	if p := u.candidate[r.name]; p != nil && u.fits(r, p) && r.holds(p.Version) {
		out = append(out, p)
	}
	n := len(out)
	for _, v := range u.providers[r.name] {
		if meets(r, v) && !slices.Contains(out, v.pkg) {
			out = append(out, v.pkg)
		}
	}
	// The real package stays first; the rest as apt prefers them.
	slices.SortStableFunc(out[n:], u.prefer)
	return out
}

// meets: a versioned relation is met by versioned provisions only (policy 7.5).
func meets(r relation, v provider) bool {
	if r.arch != "" && r.arch != "any" && r.arch != "native" && r.arch != v.pkg.Architecture {
		return false
	}
	return r.op == "" || v.version != "" && r.holds(v.version)
}

// prefer orders providers: essential and important ones, then by priority, then
// the one that is listed later, as apt has it.
func (u *universe) prefer(a, b *archive.Package) int {
	first := func(x, y bool) int {
		switch {
		case x == y:
			return 0
		case x:
			return -1
		}
		return 1
	}
	return cmp.Or(first(a.Essential, b.Essential), first(a.Important, b.Important),
		cmp.Compare(rank(a.Priority), rank(b.Priority)), cmp.Compare(u.order[b], u.order[a]))
}

func rank(priority string) int {
	return slices.Index([]string{"", "required", "important", "standard", "optional", "extra"}, priority)
}

// satisfies says whether a package meets a relation, by name or provision.
func (u *universe) satisfies(p *archive.Package, r relation) bool {
	if p.Name == r.name && u.fits(r, p) && r.holds(p.Version) {
		return true
	}
	for _, v := range u.providers[r.name] {
		if v.pkg == p && meets(r, v) {
			return true
		}
	}
	return false
}

func (u *universe) names() []string {
	out := make([]string, 0, len(u.candidate))
	for n := range u.candidate {
		out = append(out, n)
	}
	slices.Sort(out)
	return out
}
