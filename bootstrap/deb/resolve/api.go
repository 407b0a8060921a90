package resolve

import (
	"errors"

	"github.com/cfbuild/cfbuild/bootstrap/deb/archive"
)

// Resolve chooses the package set. pkgs are those of all suites, in any order.
// The result is sorted by name.
func Resolve(pkgs []*archive.Package, o Options) ([]Chosen, error) {
	return nil, errors.New("not written yet")
}

// CompareVersions orders Debian versions (policy 5.6.12): -1, 0, 1.
func CompareVersions(a, b string) int { return 0 }
