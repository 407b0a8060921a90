// Package resolve chooses RPM packages: what is asked for and what that requires,
// the newest of each, for one architecture, without weak dependencies. Rich
// dependencies, file dependencies, obsoletes and conflicts are honoured.
//
// It is not a SAT solver: it takes the best candidate, and where that leads to a
// contradiction it starts over without the package at fault. The result depends on
// the packages and the request alone.
package resolve

import "strings"

// Op compares versions in a dependency.
type Op byte

// The operators; the zero value is none: any version.
const (
	Less Op = 1 << iota
	Equal
	Greater
)

// Dep is "name op version": something provided or wanted. Of a rich dependency
// ("(a if b)") the name is all of it.
type Dep struct {
	Name string
	Op   Op
	EVR  EVR
}

// String is as in a spec file.
func (d Dep) String() string {
	if d.Op == 0 {
		return d.Name
	}
	op := ""
	for _, o := range []struct {
		op Op
		s  string
	}{{Less, "<"}, {Greater, ">"}, {Equal, "="}} {
		if d.Op&o.op != 0 {
			op += o.s
		}
	}
	return d.Name + " " + op + " " + d.EVR.String()
}

// fits says whether a provided thing satisfies a wanted one of the same name: the
// ranges of versions have to overlap.
func (d Dep) fits(p Dep) bool {
	if d.Op == 0 {
		return true
	}
	if p.Op == 0 {
		return false // provided without a version
	}
	switch c := p.EVR.compareLoose(d.EVR); {
	case c < 0:
		return d.Op&Less != 0 || p.Op&Greater != 0
	case c > 0:
		return d.Op&Greater != 0 || p.Op&Less != 0
	}
	return d.Op&p.Op != 0
}

// Package is one package of a repository.
type Package struct {
	Name, Arch string
	EVR        EVR
	// SHA256 of the file, in hex; Size of it and Installed, in bytes.
	SHA256          string
	Size, Installed int64
	// Location is below the repository's directory.
	Location string
	// Repo is the index of its repository: of equal packages the lower one counts.
	Repo int
	// Requires and the like as in the metadata; rpmlib() is left out.
	Provides, Requires, Conflicts, Obsoletes []Dep
	// Files are those that the metadata list.
	Files []string
}

// String is name-version-release.arch, with the epoch where there is one.
func (p *Package) String() string { return p.Name + "-" + p.EVR.String() + "." + p.Arch }

// Modular says that a package belongs to a module of EL 8: such releases have the
// word in them.
func (p *Package) Modular() bool {
	return strings.Contains(p.EVR.Release, ".module") || strings.Contains(p.EVR.Release, "+module")
}

// Chosen is a package of the result and why it is there.
type Chosen struct {
	*Package
	// Why is "requested", or "depends: NAME".
	Why string
}
