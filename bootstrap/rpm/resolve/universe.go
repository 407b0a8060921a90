package resolve

import (
	"cmp"
	"slices"
	"strings"
)

// universe is what there is to choose from.
type universe struct {
	byName map[string][]*Package
	// provides leads from a name to who provides it, the best first.
	provides map[string][]offer
	files    map[string][]*Package
	// replaced are packages that another one obsoletes.
	replaced map[*Package]bool
}

type offer struct {
	p *Package
	d Dep
}

// better orders candidates of one name: the newest first, of equal ones that of the
// earlier repository, the root's own architecture before noarch.
func better(a, b *Package) int {
	return cmp.Or(b.EVR.Compare(a.EVR), cmp.Compare(a.Repo, b.Repo), last(a.Arch == "noarch")-last(b.Arch == "noarch"), strings.Compare(a.SHA256, b.SHA256))
}

// last sorts what it is true for behind the rest.
func last(b bool) int {
	if b {
		return 1
	}
	return 0
}

// newUniverse takes the packages for an RPM architecture, without those excluded.
func newUniverse(pkgs []*Package, arch string, exclude []string) *universe {
	u := &universe{byName: map[string][]*Package{}, provides: map[string][]offer{}, files: map[string][]*Package{}, replaced: map[*Package]bool{}}
	var kept []*Package
	for _, p := range pkgs {
		if p.Arch != arch && p.Arch != "noarch" || slices.Contains(exclude, p.Name) {
			continue
		}
		kept = append(kept, p)
		u.byName[p.Name] = append(u.byName[p.Name], p)
		for _, d := range p.Provides {
			u.provides[d.Name] = append(u.provides[d.Name], offer{p, d})
		}
		for _, f := range p.Files {
			u.files[f] = append(u.files[f], p)
		}
	}
	for _, list := range u.byName {
		slices.SortFunc(list, better)
	}
	for _, p := range kept {
		if p != u.byName[p.Name][0] {
			continue // only the newest of a name replaces others
		}
		for _, d := range p.Obsoletes {
			for _, q := range u.byName[d.Name] {
				if q.Name != p.Name && d.fits(Dep{Op: Equal, EVR: q.EVR}) {
					u.replaced[q] = true
				}
			}
		}
	}
	return u
}

// candidates are the packages that satisfy a dependency, the best first: what has
// the name itself, then what is not obsolete, then in the order of names.
func (u *universe) candidates(d Dep) []*Package {
	var out []*Package
	add := func(p *Package) {
		if !slices.Contains(out, p) {
			out = append(out, p)
		}
	}
	for _, o := range u.provides[d.Name] {
		if d.fits(o.d) {
			add(o.p)
		}
	}
	if d.Op == 0 {
		for _, f := range filePaths(d.Name) {
			for _, p := range u.files[f] {
				add(p)
			}
		}
	}
	slices.SortStableFunc(out, func(a, b *Package) int {
		return cmp.Or(cmp.Compare(last(a.Modular()), last(b.Modular())), cmp.Compare(last(u.replaced[a]), last(u.replaced[b])),
			cmp.Compare(last(a.Name != d.Name), last(b.Name != d.Name)), strings.Compare(a.Name, b.Name), better(a, b))
	})
	return out
}

// filePaths are where a file of a dependency can be: as named, and where /usr is
// merged.
func filePaths(name string) []string {
	if !strings.HasPrefix(name, "/") {
		return nil
	}
	for _, top := range []string{"/bin/", "/sbin/", "/lib/", "/lib64/"} {
		if strings.HasPrefix(name, top) {
			return []string{name, "/usr" + name}
		}
	}
	return []string{name}
}

// has says whether a package satisfies a dependency.
func has(p *Package, d Dep) bool {
	for _, q := range p.Provides {
		if q.Name == d.Name && d.fits(q) {
			return true
		}
	}
	if d.Op == 0 {
		for _, f := range filePaths(d.Name) {
			if slices.Contains(p.Files, f) {
				return true
			}
		}
	}
	return false
}

// near gives names like one that is not there.
func (u *universe) near(name string) []string {
	type scored struct {
		name string
		d    int
	}
	var list []scored
	for n := range u.byName {
		switch d := distance(name, n); {
		case d <= 1+len(name)/4:
			list = append(list, scored{n, d})
		case len(name) > 3 && (strings.HasPrefix(n, name) || strings.HasPrefix(name, n) && len(n) > 3):
			list = append(list, scored{n, 5 + len(n)})
		}
	}
	slices.SortFunc(list, func(a, b scored) int { return cmp.Or(cmp.Compare(a.d, b.d), strings.Compare(a.name, b.name)) })
	var out []string
	for _, s := range list[:min(5, len(list))] {
		out = append(out, s.name)
	}
	return out
}

// distance is Levenshtein's, given up beyond what counts as near.
func distance(a, b string) int {
	if len(a)-len(b) > 4 || len(b)-len(a) > 4 {
		return 99
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diag := row[0]
		row[0] = i + 1
		for j := range len(b) {
			next := diag
			if a[i] != b[j] {
				next = 1 + min(diag, row[j], row[j+1])
			}
			diag, row[j+1] = row[j+1], next
		}
	}
	return row[len(b)]
}
