package resolve

import (
	"cmp"
	"slices"

	"github.com/cfbuild/cfbuild/bootstrap/apk/index"
	"github.com/cfbuild/cfbuild/bootstrap/apk/version"
)

// provider is one package that provides a name, with the version it does so in; ""
// for none.
type provider struct {
	p       *candidate
	version string
}

// candidate is one package that could be installed.
type candidate struct {
	*index.Package
	repo int // its repository, the first counts most
	// offers are its own name and what it provides, each name once.
	offers []offer
}

type offer struct{ name, version string }

// universe is all that can be installed.
type universe struct {
	byName map[string][]provider
	// iif are packages that install themselves.
	iif []*candidate
}

func newUniverse(repos [][]*index.Package, arch string) *universe {
	u := &universe{byName: map[string][]provider{}}
	seen := map[string]bool{}
	for repo, pkgs := range repos {
		for _, p := range pkgs {
			if p.Arch != arch && p.Arch != "noarch" && p.Arch != "" || seen[p.String()] {
				continue // the same version of an earlier repository is taken
			}
			seen[p.String()] = true
			u.add(&candidate{Package: p, repo: repo})
		}
	}
	return u
}

func (u *universe) add(c *candidate) {
	offers := []offer{{c.Name, c.Version}}
	for _, d := range c.Provides {
		if d.Broken || d.Conflict || slices.ContainsFunc(offers, func(o offer) bool { return o.name == d.Name }) {
			continue
		}
		offers = append(offers, offer{d.Name, d.Version})
	}
	c.offers = offers
	for _, o := range offers {
		u.byName[o.name] = append(u.byName[o.name], provider{c, o.version})
	}
	if len(c.IfAll) > 0 {
		u.iif = append(u.iif, c)
	}
}

// better orders providers of one name: by the version they provide, their own version
// where they are of one name, their priority, and their repository. 0: as they come.
func better(a, b provider) int {
	if a.version != "" && b.version != "" {
		if c := version.Compare(b.version, a.version); c != 0 {
			return c
		}
	}
	if a.p.Name == b.p.Name {
		if c := version.Compare(b.p.Version, a.p.Version); c != 0 {
			return c
		}
	}
	return cmp.Or(cmp.Compare(b.p.ProviderPriority, a.p.ProviderPriority), cmp.Compare(a.p.repo, b.p.repo))
}
