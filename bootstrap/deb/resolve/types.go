// Package resolve chooses the set of packages of a root as apt does for mmdebstrap:
// the base set of a variant with its Pre-Depends and Depends, then what was asked
// for besides with its own, Recommends never.
//
// The choice is apt's: of all suites the highest version of a package is the
// candidate; a dependency that something chosen already meets chooses nothing; of
// alternatives the first that can be met is taken, the real package before those
// that provide it. The same packages and options give the same set.
package resolve

import "github.com/cfbuild/cfbuild/bootstrap/deb/archive"

// Options say what is wanted.
type Options struct {
	// Arch is the Debian architecture, "arm64".
	Arch string
	// Variant is "essential" (Essential: yes), "apt" (those and apt), "minbase"
	// (those, and Priority: required; the default) or "standard" (those, and
	// Priority: important and standard).
	Variant string
	// Include are further packages, "name", "name:arch" or "name=version".
	// Exclude are packages never to be chosen; excluding one of the variant's
	// leaves it out, excluding one that is needed is an error.
	Include, Exclude []string
	// MergedUsr: the root has merged /usr from the start, so that usrmerge, which
	// would convert it, is chosen only where nothing else will do.
	MergedUsr bool
}

// Chosen is a package of the set.
type Chosen struct {
	*archive.Package
	// Why is "essential", "variant: apt", "priority: required", "requested" or
	// "depends: NAME".
	Why string
	// Auto: apt would mark it as automatically installed. It does so for what
	// the packages beyond the essential ones brought along.
	Auto bool
	// PreDepends are the chosen packages that have to be configured before this
	// one is unpacked by dpkg, by name, sorted.
	PreDepends []string
}
