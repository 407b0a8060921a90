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

	"github.com/cfbuild/cfbuild/bootstrap/apk/apktest"
	"github.com/cfbuild/cfbuild/internal/registrytest"
	"github.com/cfbuild/cfbuild/internal/testneed"
	"github.com/cfbuild/cfbuild/internal/testrepo/apkrepo"
	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/cfbuild/cfbuild/recipes/alpine"
	"github.com/cfbuild/cfbuild/recipes/common"
	"github.com/cfbuild/cfbuild/site"
)

// alpineTargets use apk inside an image that was made without it.
func alpineTargets(s site.Site) []pipelines.Target {
	return []pipelines.Target{{
		Name: "alpine-foreign",
		Build: func(p pipelines.Platform) pipelines.Image {
			return pipelines.From(p, pipelines.Bootstrap{Method: "apk", Include: []string{"alpine-baselayout", "alpine-keys", "busybox", "daemon", "docs"},
				Sources: []pipelines.PackageSource{{Repository: "alpine", Suite: "v3.24", Components: []string{"main", "community"}}}})
		},
		Tests: []pipelines.Test{
			pipelines.TestPlatform{},
			pipelines.TestPackage{Name: "daemon-doc"},
			pipelines.TestUser{Name: "daemond"},
			pipelines.TestFile{Path: "/bin/sh", Link: "/bin/busybox"},
			pipelines.TestCommand{Args: []string{"uname", "-m"}, Output: []string{"aarch64"}},
		},
	}, {
		Name:  "alpine-not-there",
		Build: func(p pipelines.Platform) pipelines.Image { return alpine.New(alpine.Options{Release: "3.22"})(s, p) },
	}, {
		Name: "alpine-upgraded",
		Build: func(p pipelines.Platform) pipelines.Image {
			return alpine.New(alpine.Options{Release: "3.24", Source: common.FromImage})(s, p)
		},
		Tests: []pipelines.Test{
			pipelines.TestPackage{Name: "ca-certificates-bundle", Version: "99-r0"},
			pipelines.TestPackage{Name: "alpine-baselayout", Version: "99-r0"},
			pipelines.TestPackage{Name: "ca-certificates"},
			pipelines.TestCommand{Name: "the authority is in the bundle of the upgraded package", Shell: `
grep -qF "$(sed -n 2p /usr/local/share/ca-certificates/lab.crt)" /etc/ssl/certs/ca-certificates.crt
test -z "$(find /etc -name '*.apk-new')"`},
		},
	}, {
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

// alpineSite is the site file of [alpineRepositories].
func alpineSite(t *testing.T, w *world) string {
	t.Helper()
	file, _, _ := alpineRepositories(t, w)
	return file
}

// alpineRepositories gives a site file with repositories of both releases that the test made, signed with
// a key of its own, on a mirror whose certificate is by the site's authority; preferred
// is a mirror that does not answer. So neither cfbuild nor apk in the image gets
// anything without trusting the authority.
func alpineRepositories(t *testing.T, w *world) (file string, main apkrepo.Repo, dir string) {
	t.Helper()
	key := apkrepo.NewKey(t, "lab-1a2b.rsa.pub")
	dir = t.TempDir()
	made := time.Now().Add(-time.Hour)
	for _, release := range []string{"3.23", "3.24"} {
		main = apkrepo.Repo{Key: key, Date: made, Branch: "v" + release, Pkgs: apkrepo.Release(t, release)}
		main.Write(t, dir)
		foreign := apkrepo.Repo{Key: key, Date: made, Branch: "v" + release, Arch: "aarch64", Pkgs: apktest.Foreign(t)}
		foreign.Write(t, dir)
		for _, arch := range []string{"x86_64", "aarch64"} {
			apkrepo.Repo{Key: key, Date: made, Branch: "v" + release, Component: "community", Arch: arch, Pkgs: []apkrepo.Pkg{
				{Name: "docs"},
				{Name: "daemon-doc", InstallIf: []string{"daemon=1.0-r0", "docs"}},
				{Name: "daemon", Depends: []string{"/bin/sh"}, Files: []apkrepo.Entry{apkrepo.Program("usr/sbin/daemon", "#!/bin/sh\necho daemon\n")},
					Scripts: map[string]string{"pre-install": "#!/bin/sh\necho daemond:x:101:101::/:/sbin/nologin >>/etc/passwd\n"}},
			}}.Write(t, dir)
		}
	}
	ca, cert := authority(t)
	m := apkrepo.ServeTLS(t, dir, cert)
	for name, data := range map[string][]byte{key.Name: key.Public(t), "lab.pem": ca} {
		if err := os.WriteFile(filepath.Join(w.dir, name), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	file = filepath.Join(w.dir, "alpine.toml")
	text := fmt.Sprintf("extends = \"none\"\nca = [\"lab.pem\"]\n[mirrors]\nalpine = [%q, %q]\n[keyrings]\nalpine = { file = %q, replace = true }\n",
		apkrepo.Down(t), m.URL, key.Name)
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return file, main, dir
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
	file, main, dir := alpineRepositories(t, w)
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
	w.run("alpine-foreign", "--platform", "linux/arm64", "--site", file, "--test")
	verified(t, "alpine3.24", pipelines.VerifiedSynthetic)

	upstream(t, w, file, main, dir)
	// Without the authority in the site nothing is fetched.
	if _, stderr, code := w.try("run", "alpine3.24", "--site", change(t, file, `ca = ["lab.pem"]`, ""), "--platform", "linux/amd64", "--progress", "plain"); code == 0 || !strings.Contains(stderr, "certificate not trusted") {
		t.Errorf("without the authority: exit code %d\n%s", code, stderr)
	}
	_, stderr, code := w.try("run", "alpine-not-there", "--site", file, "--platform", "linux/amd64", "--progress", "plain")
	if code != 3 || !strings.Contains(stderr, "branch v3.22: no mirror has it; there is v3.23, v3.24") {
		t.Errorf("exit code %d for a branch that is not there:\n%s", code, stderr)
	}
}

// change writes another site file beside one.
func change(t *testing.T, file, old, new string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	other := strings.TrimSuffix(file, ".toml") + "-other.toml"
	if err := os.WriteFile(other, []byte(strings.Replace(string(text), old, new, 1)), 0o644); err != nil {
		t.Fatal(err)
	}
	return other
}

// upstream makes the target that upgrades Alpine's own image, which is here one of this
// test's packages, without the authority, pulled from where the site says that docker.io
// is. By then there are newer packages.
func upstream(t *testing.T, w *world, file string, main apkrepo.Repo, dir string) {
	t.Helper()
	registry := registrytest.Start(t).Host()
	docker := fmt.Sprintf("[[registry]]\nprefix = \"docker.io\"\nlocation = %q\ninsecure = true\n[[registry]]\nprefix = %q\ninsecure = true\n[mirrors]", registry, registry)
	with := change(t, file, "[mirrors]", docker)
	buildOnly := change(t, with, `ca = ["lab.pem"]`, `ca = [{ file = "lab.pem", mode = "build-only" }]`)
	for _, release := range []string{"3.23", "3.24"} {
		w.run("alpine"+release, "--platform", "linux/amd64", "--site", buildOnly, "--push", registry+"/library/alpine", "--tag", release, "--test")
	}
	verified(t, "alpine3.23", pipelines.VerifiedSynthetic)

	main.Date = time.Now()
	for i := range main.Pkgs {
		if main.Pkgs[i].Name == "ca-certificates-bundle" || main.Pkgs[i].Name == "alpine-baselayout" {
			main.Pkgs[i].Version = "99-r0"
		}
	}
	main.Write(t, dir)
	w.run("alpine-upgraded", "--platform", "linux/amd64", "--site", with, "--test")
	for _, name := range []string{"alpine3.23-upstream", "alpine3.24-upstream"} {
		w.run(name, "--platform", "linux/amd64", "--site", with, "--test")
		verified(t, name, pipelines.VerifiedSynthetic)
	}
}
