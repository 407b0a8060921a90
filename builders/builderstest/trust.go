package builderstest

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/cfbuild/cfbuild/builders"
	"github.com/cfbuild/cfbuild/internal/listing"
	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/cfbuild/cfbuild/site"
)

// systemBundle is where the base image of these cases keeps public roots.
const systemBundle = "/etc/ssl/certs/ca-certificates.crt"

var trustCases = []testCase{
	{"authorities of the site, only while a step runs", func(t *testing.T, s *suite) {
		ca := authority(t, "build only")
		mark := strings.Split(string(ca), "\n")[2] // a line of base64 that nothing else has
		hash, _ := site.Certificate{PEM: ca}.SubjectHash()
		at := func(cas ...site.Certificate) func(*builders.Request) {
			return func(r *builders.Request) { r.Site.CAs = cas }
		}
		img := s.image().Then(
			pipelines.File{Path: systemBundle, Data: []byte("what the image trusts\n")},
			pipelines.File{Path: "/etc/ssl/certs/" + hash + ".0", Data: []byte("taken\n")},
			// Where there is an authority it has to be everywhere; what the step writes
			// is the same either way.
			pipelines.Run{Shell: `if [ -n "$SSL_CERT_FILE" ]; then
					for f in "$SSL_CERT_FILE" "$CURL_CA_BUNDLE" "$GIT_SSL_CAINFO" "$REQUESTS_CA_BUNDLE" "$PIP_CERT" ` + systemBundle + `; do
						grep -q 'what the image trusts' "$f"; grep -q '` + mark + `' "$f"
					done
					grep -q '` + mark + `' /etc/ssl/certs/????????.1; grep -q taken /etc/ssl/certs/????????.0
					grep -q '` + mark + `' "$NODE_EXTRA_CA_CERTS"; if grep -q 'the image' "$NODE_EXTRA_CA_CERTS"; then exit 7; fi
					grep -q 'CAInfo "/' "$APT_CONFIG"; if echo x >> "$SSL_CERT_FILE"; then exit 8; fi
				fi
				echo "lent: $SSL_CERT_FILE"; echo x > /ran`},
			pipelines.Run{Shell: `test -z "$SSL_CERT_FILE$NODE_EXTRA_CA_CERTS$APT_CONFIG"; if grep -q '` + mark + `' ` + systemBundle + `; then exit 9; fi`, Network: pipelines.NetworkNone},
			pipelines.Configure{Env: map[string]string{"SSL_CERT_FILE": "/image"}},
			pipelines.Run{Shell: `test "$SSL_CERT_FILE" = /image; test "$PIP_CERT" = mine`, Env: map[string]string{"PIP_CERT": "mine"}},
		)
		plain := s.build(t, img)
		fresh := func(r *builders.Request) { r.NoCache = true }
		with := s.build(t, img, fresh, at(site.Certificate{Name: "lab", PEM: ca, BuildOnly: true}))
		with.sameAs(t, plain, "with an authority for building only, and without")
		if !strings.Contains(with.events.log(), "lent: /") {
			t.Errorf("the step had no authority: %q", with.events.log())
		}
		for _, e := range with.entries {
			if bytes.Contains(e.Data, []byte(mark)) {
				t.Errorf("%s has the authority", e.Path)
			}
		}
		with.content(t, strings.TrimPrefix(systemBundle, "/"), "what the image trusts\n")
		with.want(t, "- run", "- run/cfbuild", "- etc/ssl/certs/"+hash+".1")

		// Like a proxy it is no part of what a step is: another one runs nothing again.
		again := s.build(t, img, at(site.Certificate{Name: "other", PEM: authority(t, "another")}))
		if again.Ran != 0 {
			t.Errorf("%d steps ran again for another authority", again.Ran)
		}
		// One for images alone is not trusted while building.
		baked := s.build(t, img, fresh, at(site.Certificate{Name: "baked", PEM: ca, ImageOnly: true}))
		if strings.Contains(baked.events.log(), "lent: /") {
			t.Error("an authority for images alone was there while building")
		}
	}},
	{"a step that makes its own bundle keeps it", func(t *testing.T, s *suite) {
		ca := authority(t, "shared")
		img := s.image().Then(
			pipelines.File{Path: systemBundle, Data: []byte("old\n")},
			pipelines.File{Path: "/anchor", Data: ca},
			pipelines.Run{Shell: "cp " + systemBundle + " /tmp/lent; (echo new; cat /anchor) > /tmp/n; mv /tmp/n " + systemBundle + "; rm -f /tmp/lent"},
			pipelines.Run{Shell: "echo added >> " + systemBundle},
			pipelines.Run{Shell: "rm " + systemBundle + "; echo gone > /note"},
			pipelines.Run{Shell: "mkdir " + systemBundle},
		)
		with := func(r *builders.Request) {
			r.Site.CAs = []site.Certificate{{Name: "lab", PEM: ca, BuildOnly: true}}
		}
		s.build(t, img, with).sameAs(t, s.build(t, img, func(r *builders.Request) { r.NoCache = true }), "with and without an authority")
		two := s.image().Then(pipelines.File{Path: systemBundle, Data: []byte("old\n")},
			pipelines.Run{Shell: "echo added again >> " + systemBundle}, pipelines.File{Path: "/three"})
		got := s.build(t, two, with)
		got.content(t, strings.TrimPrefix(systemBundle, "/"), "old\nadded again\n")
		if e, ok := listing.Find(got.entries, "three"); !ok {
			t.Errorf("%+v", e)
		}
	}},
}

// authority makes the certificate of an authority whose key is forgotten at once.
func authority(t *testing.T, name string) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(t, err)
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: epoch, NotAfter: epoch.Add(100 * 365 * 24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	check(t, err)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}
