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
	"github.com/cfbuild/cfbuild/internal/testneed"
	"github.com/cfbuild/cfbuild/internal/testrepo/apkrepo"
	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/cfbuild/cfbuild/recipes/alpine"
	"github.com/cfbuild/cfbuild/recipes/common"
	"github.com/cfbuild/cfbuild/site"
)

// alpineTargets are made of the small Alpine of our own, which has no apk.
func alpineTargets(s site.Site) []pipelines.Target {
	return append(apkTargets(s), pipelines.Target{
		Name: "alpine-small",
		Build: func(p pipelines.Platform) pipelines.Image {
			img := pipelines.From(p, pipelines.Bootstrap{Method: "apk",
				Include: []string{"alpine-baselayout", "alpine-keys", "alpine-release", "busybox", "ca-certificates", "daemon", "docs"},
				Sources: []pipelines.PackageSource{{Repository: "alpine", Suite: "v3.24", Components: []string{"main", "community"}}}})
			for _, f := range alpine.Files(alpine.Options{Release: "3.24"}, s) {
				img = img.Then(f)
			}
			return img.With(alpine.Trust(s.ImageCAs())).Then(pipelines.Configure{Env: map[string]string{"PATH": common.Path}, Cmd: []string{"/bin/sh"},
				Labels: common.Info{Title: "Small Alpine", Description: "a test's", Version: "3.24", URL: "https://example.org/"}.Labels()})
		},
		Tests: append(common.BaseTests("ID=alpine", "VERSION_ID=3.24"), pipelines.Tests(
			pipelines.TestPackage{Name: "alpine-baselayout"},
			pipelines.TestPackage{Name: "daemon", Version: "1.0-r0"},
			pipelines.TestPackage{Name: "daemon-doc"}, // install_if
			pipelines.TestPackage{Name: "apk-tools", Absent: true},
			pipelines.TestUser{Name: "daemond", UID: "101"},
			pipelines.TestFile{Path: "/bin/sh", Link: "/bin/busybox"},
			pipelines.TestFile{Path: "/etc/shadow", Mode: 0o640, Owner: "0:42"},
			pipelines.TestFile{Path: "/var/lib/daemon", Dir: true, Mode: 0o750, Owner: "101:0"}, // the script's account
			pipelines.TestFile{Path: "/lib/apk/exec", Absent: true},
			pipelines.TestFile{Path: "/etc/apk/repositories", Mode: 0o644, Owner: "0:0", Contains: []string{"/v3.24/main\n", "/v3.24/community\n"}},
			pipelines.TestCommand{Args: []string{"daemon"}, Output: []string{"daemon"}},
			pipelines.TestCommand{Name: "the architecture is the platform's", Shell: `test "$(cat /etc/apk/arch)" = "$(uname -m)"`},
			pipelines.TestCommand{Name: "busybox's script has made its links", Shell: `test "$(readlink /usr/bin/id)" = /bin/busybox && test "$(id -un)" = root`},
			pipelines.TestCommand{Name: "the site's authority is in the bundle once, by both names", Shell: `
line=$(sed -n 2p /usr/local/share/ca-certificates/lab.crt)
for f in /etc/ssl/certs/ca-certificates.crt /etc/ssl/cert.pem; do
	test "$(grep -cF "$line" $f)" = 1
	test "$(grep -c BEGIN $f)" -gt 80
done`},
		)...),
	}, pipelines.Target{
		Name:  "alpine-not-there",
		Build: func(p pipelines.Platform) pipelines.Image { return alpine.New(alpine.Options{Release: "3.22"})(s, p) },
	})
}

// alpineRepositories gives a site file with repositories of both releases that the test
// made, signed with a key of its own, on a mirror whose certificate is by the site's
// authority; preferred is a mirror that does not answer. So neither cfbuild nor apk in the
// image gets anything without trusting the authority. packages are those of main for an
// architecture and a release; main is that of the newest one for x86_64, below dir.
func alpineRepositories(t *testing.T, w *world, packages func(t testing.TB, arch, release string) []apkrepo.Pkg) (file string, main apkrepo.Repo, dir string) {
	t.Helper()
	key := apkrepo.NewKey(t, "lab-1a2b.rsa.pub")
	dir = t.TempDir()
	made := time.Now().Add(-time.Hour)
	for _, release := range []string{"3.23", "3.24"} {
		for _, arch := range []string{"aarch64", "x86_64"} {
			main = apkrepo.Repo{Key: key, Date: made, Branch: "v" + release, Arch: arch, Pkgs: packages(t, arch, release)}
			main.Write(t, dir)
			apkrepo.Repo{Key: key, Date: made, Branch: "v" + release, Component: "community", Arch: arch, Pkgs: []apkrepo.Pkg{
				{Name: "docs"},
				{Name: "daemon-doc", InstallIf: []string{"daemon=1.0-r0", "docs"}},
				{Name: "daemon", Depends: []string{"/bin/sh"}, Files: []apkrepo.Entry{apkrepo.Program("usr/sbin/daemon", "#!/bin/sh\necho daemon\n"),
					apkrepo.Owned(apkrepo.Dir("var/lib/daemon", 0o750), "daemond", 77, "root", 0)},
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

// Alpine's packages from a signed repository, its first mirror down, for two platforms,
// as root and as an ordinary user.
func TestAlpine(t *testing.T) {
	w := newWorld(t, nil)
	file, _, _ := alpineRepositories(t, w, apktest.Small)
	args := []string{"--platform", "linux/amd64,linux/arm64", "--site", file}
	first := w.run("alpine-small", append(args, "--test")...)
	if n := len(first.digests()); n != 2 {
		t.Errorf("%d platforms", n)
	}
	if _, err := os.Stat(filepath.Join(w.dir, "out", "alpine-small")); err != nil {
		t.Error(err)
	}
	if again := w.run("alpine-small", args...); !again.Artifacts[0].Cached {
		t.Error("built again")
	}
	if fresh := w.run("alpine-small", append(args, "--no-cache")...); !maps.Equal(fresh.digests(), first.digests()) {
		t.Errorf("built again %v, first %v", fresh.digests(), first.digests())
	}
	asUser(t, w, "alpine-small", first, args[:2]...)
	if _, stderr, code := w.try(append([]string{"lint", "alpine-small", "--progress", "plain"}, args...)...); code != 0 {
		t.Errorf("lint: exit code %d\n%s", code, stderr)
	}
	refused(t, w, "alpine-small", file)
}

// asUser builds a target of the Alpine site as an ordinary user: it is the same.
func asUser(t *testing.T, w *world, target string, first report, args ...string) {
	t.Helper()
	if os.Geteuid() != 0 {
		return
	}
	account := testneed.User(t)
	user := newWorld(t, &account)
	for _, name := range []string{"alpine.toml", "lab.pem", "lab-1a2b.rsa.pub"} {
		if err := copyFile(filepath.Join(w.dir, name), filepath.Join(user.dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if rep := user.run(target, append(args, "--site", filepath.Join(user.dir, "alpine.toml"))...); !maps.Equal(rep.digests(), first.digests()) {
		t.Errorf("as an ordinary user %v, as root %v", rep.digests(), first.digests())
	}
}

// refused tries what cannot work at the Alpine site.
func refused(t *testing.T, w *world, target, file string) {
	t.Helper()
	// Without the authority in the site nothing is fetched.
	if _, stderr, code := w.try("run", target, "--site", change(t, file, `ca = ["lab.pem"]`, ""), "--platform", "linux/amd64", "--progress", "plain"); code == 0 || !strings.Contains(stderr, "certificate not trusted") {
		t.Errorf("without the authority: exit code %d\n%s", code, stderr)
	}
	_, stderr, code := w.try("run", "alpine-not-there", "--site", file, "--platform", "linux/amd64", "--progress", "plain")
	if code != 3 || !strings.Contains(stderr, "branch v3.22: no mirror has it; there is v3.23, v3.24") {
		t.Errorf("exit code %d for a branch that is not there:\n%s", code, stderr)
	}
	// Nor do Alpine's own images come of a mirror that lacks what they need.
	if target != "alpine3.24" {
		if _, stderr, code := w.try("run", "alpine3.24", "--site", file, "--platform", "linux/amd64", "--progress", "plain"); code == 0 || !strings.Contains(stderr, "apk-tools") {
			t.Errorf("exit code %d without apk-tools in the repository:\n%s", code, stderr)
		}
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
