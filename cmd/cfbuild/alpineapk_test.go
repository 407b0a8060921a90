//go:build containers_image_openpgp && exclude_graphdriver_btrfs

package main

import (
	"fmt"
	"maps"
	"testing"
	"time"

	"github.com/cfbuild/cfbuild/bootstrap/apk/apktest"
	"github.com/cfbuild/cfbuild/internal/registrytest"
	"github.com/cfbuild/cfbuild/internal/testrepo/apkrepo"
	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/cfbuild/cfbuild/recipes/alpine"
	"github.com/cfbuild/cfbuild/recipes/common"
	"github.com/cfbuild/cfbuild/site"
)

// apkTargets use apk inside an image that was made without it.
func apkTargets(s site.Site) []pipelines.Target {
	return []pipelines.Target{{
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

// realPackages are those of the image of Alpine that the run names, for x86_64; without
// one the test is skipped.
func realPackages(t testing.TB, arch, release string) []apkrepo.Pkg {
	t.Helper()
	if arch == "x86_64" {
		return apkrepo.Release(t, release)
	}
	return apktest.Small(t, arch, release)
}

// The built-in targets, and apk used in the image, where there is an image of Alpine.
// recipes/verified.txt says nothing of it: it is the same with and without.
func TestAlpineWithApk(t *testing.T) {
	apkrepo.Root(t)
	w := newWorld(t, nil)
	file, main, dir := alpineRepositories(t, w, realPackages)
	amd64 := []string{"--platform", "linux/amd64", "--site", file}
	first := w.run("alpine3.24", append(amd64, "--test")...)
	if again := w.run("alpine", amd64...); !again.Artifacts[0].Cached {
		t.Error("the alias of the newest release built it again")
	}
	if fresh := w.run("alpine3.24", append(amd64, "--no-cache")...); !maps.Equal(fresh.digests(), first.digests()) {
		t.Errorf("built again %v, first %v", fresh.digests(), first.digests())
	}
	asUser(t, w, "alpine3.24", first, amd64[:2]...)
	if _, stderr, code := w.try(append([]string{"lint", "alpine3.24", "--progress", "plain"}, amd64...)...); code != 0 {
		t.Errorf("lint: exit code %d\n%s", code, stderr)
	}
	w.run("alpine-inside", append(amd64, "--test")...)
	upstream(t, w, file, main, dir)
	refused(t, w, "alpine3.24", file)
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
	}
}
