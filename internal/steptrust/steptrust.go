// Package steptrust says what makes the programs of one step trust a site's
// certificate authorities while the step runs, with nothing of it left in the
// image: variables, the files they name, and the bundles of the system that are
// lent the authorities for that time.
package steptrust

import (
	"bytes"
	"encoding/pem"

	"github.com/cfbuild/cfbuild/site"
	"golang.org/x/crypto/x509roots/fallback/bundle"
)

// Where the files are while a step runs.
const (
	// Merged holds public roots and the site's authorities.
	Merged = "/run/cfbuild/ca.pem"
	// Lone holds the site's authorities alone.
	Lone = "/run/cfbuild/site-ca.pem"
	// APT is a configuration that names Merged.
	APT = "/run/cfbuild/apt.conf"
	// Java is a key store of what is in Merged.
	Java = "/run/cfbuild/ca.jks"
)

// Env gives the variables. They are the weakest: what the image or the step sets
// counts before them. All but Node's replace what a program trusts, so they name
// the merged bundle.
func Env() map[string]string {
	return map[string]string{
		"SSL_CERT_FILE":       Merged, // OpenSSL, Go, and with them curl, wget, Python, Ruby, Perl
		"CURL_CA_BUNDLE":      Merged,
		"GIT_SSL_CAINFO":      Merged,
		"REQUESTS_CA_BUNDLE":  Merged, // Python's requests, and with it pip and conda
		"PIP_CERT":            Merged,
		"NODE_EXTRA_CA_CERTS": Lone,
		"APT_CONFIG":          APT, // read before the image's own apt.conf, which counts before it
		// Java has no variable for its store alone; it says on stderr that it read this.
		"JAVA_TOOL_OPTIONS": "-Djavax.net.ssl.trustStore=" + Java + " -Djavax.net.ssl.trustStoreType=JKS",
	}
}

// Files gives the files' contents by path. system is the image's own bundle, which
// is merged with the authorities, so that what the image trusts stays trusted; nil:
// it has none, and Mozilla's roots stand in.
func Files(cas []site.Certificate, system []byte) map[string][]byte {
	if len(system) == 0 {
		system = Mozilla()
	}
	lone := site.Bundle(cas)
	return map[string][]byte{
		Merged: Join(system, lone),
		Lone:   lone,
		Java:   JKS(Join(system, lone)),
		APT:    []byte("Acquire::https::CAInfo \"" + Merged + "\";\n"),
	}
}

// Bundles lists where systems keep the one file that their programs read: Debian
// and Alpine, Red Hat, SUSE. dnf, yum, microdnf, zypper and apk heed no variable,
// so the file that is there is lent the authorities.
func Bundles() []string {
	return []string{
		"/etc/ssl/certs/ca-certificates.crt",
		"/etc/pki/tls/certs/ca-bundle.crt",
		"/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
		"/var/lib/ca-certificates/ca-bundle.pem",
	}
}

// Directories lists where OpenSSL's hashed directory is (CApath): zypper is given
// nothing but that.
func Directories() []string { return []string{"/etc/ssl/certs"} }

// Join puts one PEM text behind another.
func Join(a, b []byte) []byte {
	out := bytes.Clone(a)
	if n := len(out); n > 0 && out[n-1] != '\n' {
		out = append(out, '\n')
	}
	return append(out, b...)
}

// Mozilla gives the public roots that this program was built with, as PEM. Roots
// that are trusted with a reservation, which PEM cannot say, are left out.
func Mozilla() []byte {
	var out bytes.Buffer
	for r := range bundle.Roots() {
		if r.Constraint == nil {
			_ = pem.Encode(&out, &pem.Block{Type: "CERTIFICATE", Bytes: r.Certificate}) // a buffer takes everything
		}
	}
	return out.Bytes()
}
