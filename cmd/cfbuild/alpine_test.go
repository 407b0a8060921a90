//go:build containers_image_openpgp && exclude_graphdriver_btrfs

package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"maps"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cfbuild/cfbuild/internal/testneed"
	"github.com/cfbuild/cfbuild/internal/testrepo/apkrepo"
	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/cfbuild/cfbuild/recipes/alpine"
	"github.com/cfbuild/cfbuild/site"
)

// alpineTargets use apk inside an image that was made without it.
func alpineTargets(s site.Site) []pipelines.Target {
	return []pipelines.Target{{
		Name: "alpine-inside",
		Build: func(p pipelines.Platform) pipelines.Image {
			return alpine.New(alpine.Options{Release: "3.24", Include: []string{"docs"}})(s, p).Then(pipelines.Run{
				// apk 2 says 2 when one of the mirrors is down; adding works all the same.
				Shell: "apk update || test $? = 2\napk add --no-cache daemon\napk upgrade --no-cache\n",
			})
		},
		Tests: []pipelines.Test{
			pipelines.TestPackage{Name: "daemon", Version: "1.0-r0"},
			pipelines.TestPackage{Name: "daemon-doc"}, // install_if
			pipelines.TestUser{Name: "daemond"},
			pipelines.TestCommand{Args: []string{"daemon"}, Output: []string{"daemon"}},
			pipelines.TestCommand{Args: []string{"apk", "audit", "--system"}},
			pipelines.TestCommand{Name: "the site's authority is in the bundle once", Shell: `
line=$(sed -n 2p /usr/local/share/ca-certificates/lab.crt)
test "$(grep -cF "$line" /etc/ssl/certs/ca-certificates.crt)" = 1
test "$(grep -c BEGIN /etc/ssl/cert.pem)" -gt 100`},
			pipelines.TestCommand{Name: "apk trusts the mirror by the bundle, and without it does not", Shell: `
apk fetch --no-cache --quiet --output /tmp daemon
! SSL_CERT_FILE=/dev/null SSL_CERT_DIR=/nowhere apk fetch --no-cache --quiet --output /tmp daemon`, Network: pipelines.NetworkHost},
			// As an upgrade of the package does.
			pipelines.TestCommand{Name: "the authority stays when ca-certificates is installed again", Shell: `
apk del ca-certificates >/dev/null
apk add --no-cache ca-certificates >/dev/null
grep -qF "$(sed -n 2p /usr/local/share/ca-certificates/lab.crt)" /etc/ssl/certs/ca-certificates.crt`, Network: pipelines.NetworkHost},
		},
	}}
}

// alpineSite is a site file with a repository of 3.24 that the test made, signed with
// a key of its own, on a mirror whose certificate is by the site's authority; preferred
// is a mirror that does not answer. So neither cfbuild nor apk in the image gets
// anything without trusting the authority.
func alpineSite(t *testing.T, w *world) string {
	t.Helper()
	key := apkrepo.NewKey(t, "lab-1a2b.rsa.pub")
	dir := t.TempDir()
	made := time.Now().Add(-time.Hour)
	apkrepo.Repo{Key: key, Date: made, Pkgs: apkrepo.Release(t, "3.24")}.Write(t, dir)
	apkrepo.Repo{Key: key, Date: made, Component: "community", Pkgs: []apkrepo.Pkg{
		{Name: "docs"},
		{Name: "daemon-doc", InstallIf: []string{"daemon=1.0-r0", "docs"}},
		{Name: "daemon", Depends: []string{"/bin/sh"}, Files: []apkrepo.Entry{apkrepo.Program("usr/sbin/daemon", "#!/bin/sh\necho daemon\n")},
			Scripts: map[string]string{"pre-install": "#!/bin/sh\nadduser -S -D -H daemond\n"}},
	}}.Write(t, dir)
	ca, cert := authority(t)
	m := apkrepo.ServeTLS(t, dir, cert)
	for name, data := range map[string][]byte{key.Name: key.Public(t), "lab.pem": ca} {
		if err := os.WriteFile(filepath.Join(w.dir, name), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(w.dir, "alpine.toml")
	text := fmt.Sprintf("extends = \"none\"\nca = [\"lab.pem\"]\n[mirrors]\nalpine = [%q, %q]\n[keyrings]\nalpine = { file = %q, replace = true }\n",
		apkrepo.Down(t), m.URL, key.Name)
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return file
}

// authority is a throw-away certificate authority, and a server's certificate for
// localhost by it.
func authority(t *testing.T) (ca []byte, server tls.Certificate) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	make := func(c, by *x509.Certificate) []byte {
		c.NotBefore, c.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(24*time.Hour)
		der, err := x509.CreateCertificate(rand.Reader, c, by, &key.PublicKey, key)
		if err != nil {
			t.Fatal(err)
		}
		return der
	}
	root := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "lab"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	leaf := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "localhost"}, DNSNames: []string{"localhost"},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: make(root, root)}), tls.Certificate{Certificate: [][]byte{make(leaf, root)}, PrivateKey: key}
}

// Alpine from a signed repository, its first mirror down, as root and as an ordinary
// user, with the recipe's own tests; and apk used in the image.
func TestAlpine(t *testing.T) {
	w := newWorld(t, nil)
	file := alpineSite(t, w)
	amd64 := []string{"--platform", "linux/amd64", "--site", file}
	first := w.run("alpine3.24", append(amd64, "--test")...)
	if _, err := os.Stat(filepath.Join(w.dir, "out", "alpine3.24")); err != nil {
		t.Error(err)
	}
	if again := w.run("alpine", amd64...); !again.Artifacts[0].Cached {
		t.Error("the alias of the newest release built it again")
	}
	if fresh := w.run("alpine3.24", append(amd64, "--no-cache")...); !maps.Equal(fresh.digests(), first.digests()) {
		t.Errorf("built again %v, first %v", fresh.digests(), first.digests())
	}
	if os.Geteuid() == 0 {
		account := testneed.User(t)
		user := newWorld(t, &account)
		for _, name := range []string{"alpine.toml", "lab.pem", "lab-1a2b.rsa.pub"} {
			if err := copyFile(filepath.Join(w.dir, name), filepath.Join(user.dir, name)); err != nil {
				t.Fatal(err)
			}
		}
		if rep := user.run("alpine3.24", "--platform", "linux/amd64", "--site", filepath.Join(user.dir, "alpine.toml")); !maps.Equal(rep.digests(), first.digests()) {
			t.Errorf("as an ordinary user %v, as root %v", rep.digests(), first.digests())
		}
	}
	if _, stderr, code := w.try(append([]string{"lint", "alpine3.24", "--progress", "plain"}, amd64...)...); code != 0 {
		t.Errorf("lint: exit code %d\n%s", code, stderr)
	}
	w.run("alpine-inside", append(amd64, "--test")...)
	verified(t, "alpine3.24", pipelines.VerifiedSynthetic)

	// Without the authority in the site nothing is fetched.
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	other := filepath.Join(w.dir, "other.toml")
	if err := os.WriteFile(other, []byte(strings.Replace(string(text), "ca = [\"lab.pem\"]\n", "", 1)), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, stderr, code := w.try("run", "alpine3.24", "--site", other, "--platform", "linux/amd64", "--progress", "plain"); code == 0 || !strings.Contains(stderr, "certificate not trusted") {
		t.Errorf("without the authority: exit code %d\n%s", code, stderr)
	}
	_, stderr, code := w.try("run", "alpine3.23", "--site", file, "--platform", "linux/amd64", "--progress", "plain")
	if code != 3 || !strings.Contains(stderr, "branch v3.23: no mirror has it; there is v3.24") {
		t.Errorf("exit code %d for a branch that is not there:\n%s", code, stderr)
	}
}
