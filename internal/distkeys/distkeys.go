// Package distkeys has the public keys that distributions sign their packages and
// metadata with, as data: OpenPGP for rpm, PEM for Alpine. Debian's and Ubuntu's
// are in bootstrap/deb/archive.
package distkeys

import "strings"

// Keys gives the public keys that a suite of a repository is signed with
// ("centos-stream", "9-stream/BaseOS/$basearch/os"), nil where none is known. The
// repository's name is the one that sites list mirrors under.
//
// Keys for rpm are armored, each in a block of its own, so that every version of
// rpm --import reads all of them.
func Keys(repository, suite string) []byte {
	if repository == "alpine" {
		return alpineKeys()
	}
	return openPGP(repository, strings.Trim(suite, "/"))
}
