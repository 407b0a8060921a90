package common

import (
	"fmt"

	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/cfbuild/cfbuild/site"
)

// SiteBundle is the file in images that holds the site's authorities alone, for
// programs that add a file to the roots they come with.
const SiteBundle = "/etc/ssl/site-authorities.pem"

// ClientTrust gives what programs need that do not read the system's bundle of
// certificate authorities by themselves: files, and variables of the image's
// environment. bundle is the path of the merged bundle in the image. Nothing for no
// authorities. docs/ca.md has the matrix that these were chosen by.
//
//   - NODE_EXTRA_CA_CERTS names [SiteBundle]: Node.js and npm come with Mozilla's
//     roots built in, wherever they were installed from, and add this file to them.
//   - REQUESTS_CA_BUNDLE names the merged bundle: Python's requests reads the roots
//     of the package certifi, which pip installs beside it; the variable replaces
//     them. pip, conda, mamba, and whatever else is built on requests heed it.
//
// No other variable is set. curl, wget, git, OpenSSL, GnuTLS, Python's own ssl, R,
// Perl, Ruby, Go and the package managers read the system's bundle or its hashed
// directory. Java has a store of its own, which the distributions' own hooks make
// from the same anchors (Debian's ca-certificates-java, update-ca-trust of Red Hat,
// update-ca-certificates of SUSE and Alpine). SSL_CERT_FILE would replace what
// programs trust even where an image's user adds an authority later.
func ClientTrust(cas []site.Certificate, bundle string) (files []pipelines.File, env map[string]string) {
	if len(cas) == 0 {
		return nil, nil
	}
	return []pipelines.File{{Path: SiteBundle, Data: site.Bundle(cas)}},
		map[string]string{"NODE_EXTRA_CA_CERTS": SiteBundle, "REQUESTS_CA_BUNDLE": bundle}
}

// Links gives the names below which OpenSSL looks for authorities in a directory
// (CApath, openssl-rehash(1)), in the order of cas: the hash of the subject and a
// number for each that has the same one. A certificate that does not parse has the
// empty name.
func Links(cas []site.Certificate) []string {
	var out []string
	seen := map[string]int{}
	for _, c := range cas {
		hash, ok := c.SubjectHash()
		if !ok {
			out = append(out, "")
			continue
		}
		out = append(out, fmt.Sprintf("%s.%d", hash, seen[hash]))
		seen[hash]++
	}
	return out
}
