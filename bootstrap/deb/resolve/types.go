package resolve

import "github.com/cfbuild/cfbuild/bootstrap/deb/archive"

// Options say what is wanted.
type Options struct {
	// Arch is the Debian architecture, "arm64".
	Arch string
	// Variant is "essential", "apt", "minbase" (default) or "standard".
	Variant string
	// Include are further packages, "name", "name:arch" or "name=version";
	// Exclude are packages never to be chosen.
	Include, Exclude []string
	// MergedUsr: the root has merged /usr from the start, so usr-is-merged is
	// chosen instead of usrmerge where the archive has it.
	MergedUsr bool
}

// Chosen is a package of the set.
type Chosen struct {
	*archive.Package
	// Why is "essential", "priority: required", "requested", "depends: NAME" or
	// "pre-depends: NAME".
	Why string
	// Auto: apt would mark it as automatically installed.
	Auto bool
	// PreDepends are the chosen packages that have to be configured before this
	// one is unpacked, by name, sorted.
	PreDepends []string
}
