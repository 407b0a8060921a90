package distkeys

import (
	"embed"
	"strings"
)

//go:embed openpgp/*.asc
var openpgpFiles embed.FS

// openPGP gives the keys of an rpm repository. Those of one release are never
// trusted for another, except where the distribution itself uses one key for all.
func openPGP(repository, suite string) []byte {
	var names []string
	switch repository {
	case "centos-stream":
		// Packages of SIGs/9-stream/extras are signed by the Extras SIG.
		names = []string{"centos-official", "centos-extras"}
	case "centos-vault":
		switch release(suite) {
		case "7":
			names = []string{"centos-7"}
		case "8":
			names = []string{"centos-official", "centos-extras"}
		}
	case "centos-altarch":
		// Released by the AltArch SIG, with noarch packages of the main release.
		if release(suite) == "7" {
			names = []string{"centos-7-altarch", "centos-7"}
		}
	case "epel", "epel-archive":
		names = []string{"epel-" + release(strings.TrimPrefix(suite, "next/"))}
	case "rocky":
		names = []string{"rocky-" + release(suite)}
	case "almalinux":
		names = []string{"almalinux-" + release(suite)}
	case "fedora", "fedora-secondary":
		// releases/44/Everything/…, updates/44/Everything/…
		_, rest, _ := strings.Cut(suite, "/")
		names = []string{"fedora-" + release(rest)}
	case "ubi":
		names = []string{"redhat"}
	case "opensuse":
		// Leap 15 is made of SUSE's packages, Backports and openSUSE's own.
		names = []string{"opensuse-15", "suse"}
	case "suse-bci":
		names = []string{"suse"}
	}
	var out []byte
	for _, name := range names {
		data, err := openpgpFiles.ReadFile("openpgp/" + name + ".asc")
		if err != nil {
			continue // a release that no key is known of
		}
		out = append(out, data...)
	}
	return out
}

// release is the major release that a suite begins with: "9-stream/BaseOS" and
// "9.4/BaseOS" give "9".
func release(suite string) string {
	end := strings.IndexFunc(suite, func(r rune) bool { return r < '0' || r > '9' })
	if end < 0 {
		return suite
	}
	return suite[:end]
}
