package unpack

import "github.com/cfbuild/cfbuild/bootstrap/deb/resolve"

// satisfies says whether a version meets a condition (deb-control(5)).
func satisfies(version, op, want string) bool {
	c := resolve.CompareVersions(version, want)
	switch op {
	case "":
		return true
	case "<<":
		return c < 0
	case "<=", "<":
		return c <= 0
	case "=":
		return c == 0
	case ">=", ">":
		return c >= 0
	case ">>":
		return c > 0
	}
	return false
}
