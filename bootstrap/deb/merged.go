package deb

import (
	"strconv"
	"strings"

	"github.com/cfbuild/cfbuild/bootstrap/deb/archive"
)

// mergedUsr says whether roots of a release have a merged /usr: Debian's from 12
// (bookworm) on, where usr-is-merged asserts it, as mmdebstrap and the official
// images have it; Ubuntu's from 19.04 on. Releases without a version (testing,
// unstable) do.
func mergedUsr(r archive.Release) bool {
	major, rest, _ := strings.Cut(r.Version, ".")
	n, err := strconv.Atoi(major)
	if err != nil {
		return !oldCodename(r.Codename)
	}
	switch r.Origin {
	case "Ubuntu":
		minor, _, _ := strings.Cut(rest, ".")
		m, _ := strconv.Atoi(minor)
		return n*100+m >= 1904
	default:
		return n >= 12
	}
}

// oldCodename knows the suites whose Release file may lack a version, such as
// security suites used alone.
func oldCodename(codename string) bool {
	name, _, _ := strings.Cut(codename, "-")
	switch name {
	case "bullseye", "buster", "stretch", "jessie", "xenial", "bionic", "trusty":
		return true
	}
	return false
}
