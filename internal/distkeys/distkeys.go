// Package distkeys has the public keys that distributions sign their packages and
// metadata with, as data: OpenPGP for rpm, PEM for Alpine. Debian's and Ubuntu's
// are in bootstrap/deb/archive.
package distkeys

// Keys gives the public keys that a suite of a repository is signed with
// ("centos-stream", "9-stream/BaseOS/$basearch/os"), nil where none is known. The
// repository's name is the one that sites list mirrors under.
func Keys(repository, suite string) []byte {
	if repository == "alpine" {
		return alpineKeys()
	}
	return nil
}
