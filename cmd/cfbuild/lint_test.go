//go:build containers_image_openpgp && exclude_graphdriver_btrfs

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cfbuild/cfbuild/internal/registrytest"
	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/cfbuild/cfbuild/recipes/debian"
	"github.com/cfbuild/cfbuild/site"
)

// lintTargets is an image with a fault in each of several layers.
func lintTargets(s site.Site) []pipelines.Target {
	return []pipelines.Target{{Name: "debian12-faults", Build: func(p pipelines.Platform) pipelines.Image {
		return debian.Debian12(s, p).Then(pipelines.Run{Name: "cache and key", Network: pipelines.NetworkNone,
			Shell: "head -c 100000 /dev/zero > /var/lib/apt/lists/mirror_Packages\n" +
				"{ echo '-----BEGIN PRIVATE'' KEY-----'; for i in 1 2 3; do head -c 48 /dev/zero | base64; done; } > /etc/site.key\n" +
				"install -m 4755 /bin/true /usr/local/bin/be-root"}).
			Then(pipelines.Run{Name: "too late", Shell: "rm /var/lib/apt/lists/mirror_Packages /etc/site.key", Network: pipelines.NetworkNone}).
			Then(pipelines.File{Path: "/usr/bin/sudo", Data: []byte("#!/bin/sh\n"), Mode: 0o755, Owner: "1000:0"}).
			Then(pipelines.Configure{Env: map[string]string{"DEBIAN_FRONTEND": "noninteractive"}})
	}, Accepts: []pipelines.Acceptance{{Rule: "user-owned", Why: "to be accepted"}}}}
}

// linted is the --json form of lint.
type linted struct {
	Images            []struct{ Image, Platform, Digest string }
	Findings, Ignored []struct {
		Rule, Severity, Subject, Message, Step, Layer string
		Platforms                                     []string
		Where                                         struct {
			File string
			Line int
		}
	}
	Errors, Warnings int
}

// lint runs lint and wants its exit code.
func (w *world) lint(code int, args ...string) linted {
	w.t.Helper()
	cmd := w.start(append([]string{"lint", "--json", "--progress", "plain"}, args...)...)
	out, err := cmd.Output()
	if got := cmd.ProcessState.ExitCode(); got != code {
		w.t.Fatalf("lint %s: exit code %d, want %d: %v\n%s", strings.Join(args, " "), got, code, err, out)
	}
	return decode[linted](w.t, string(out))
}

// lintImages checks images that are built already: ours, in every form that it can
// be handed over in, has nothing above an info; what was planted in another is found
// where it is.
func lintImages(t *testing.T, w *world) {
	t.Helper()
	own := w.lint(0, "debian12", "--platform", both, "--site", frozenSite(t))
	if len(own.Images) != 2 || own.Images[1].Platform != "linux/arm64" || own.Images[0].Digest == "" {
		t.Errorf("%+v", own.Images)
	}
	for _, f := range own.Findings {
		if f.Severity != "info" || !strings.HasSuffix(f.Where.File, "debian/debian.go") || len(f.Platforms) != 2 {
			t.Errorf("%+v", f)
		}
	}
	registry := registrytest.Start(t).Host()
	text, err := os.ReadFile(frozenSite(t))
	if err != nil {
		t.Fatal(err)
	}
	site := filepath.Join(w.dir, "lint.toml")
	if err := os.WriteFile(site, fmt.Appendf(text, "\n[[registry]]\nprefix = %q\ninsecure = true\n", registry), 0o644); err != nil {
		t.Fatal(err)
	}
	w.run("debian12", "--platform", both, "--site", site, "--format", "oci,docker", "--push", registry+"/base/debian12", "--tag", "12.1.0")
	layout, ours := filepath.Join(w.dir, "out", "debian12"), filepath.Join(w.dir, "out", "debian12-amd64.docker.tar")
	theirs := map[string]string{}
	for _, kind := range []string{"docker-archive", "oci-archive"} {
		theirs[kind] = filepath.Join(w.dir, kind+".tar")
		tool(t, "skopeo", "--override-arch", "amd64", "copy", "-q", "oci:"+layout, kind+":"+theirs[kind])
	}
	for _, args := range [][]string{{layout}, {ours}, {theirs["docker-archive"]}, {theirs["oci-archive"]}, {registry + "/base/debian12:12.1.0"}} {
		rep := w.lint(0, append(args, "--site", site)...)
		want := 1
		if args[0] == layout || strings.Contains(args[0], registry) {
			want = 2
		}
		if len(rep.Images) != want || rep.Errors+rep.Warnings > 0 || len(rep.Findings) != len(own.Findings) {
			t.Errorf("%s: %d images, %+v", args[0], len(rep.Images), rep.Findings)
		}
	}

	bad := w.lint(8, "debian12-faults", "--site", frozenSite(t))
	got := map[string]string{}
	for _, f := range bad.Findings {
		if f.Severity != "info" {
			got[f.Rule+" "+f.Subject] = fmt.Sprintf("%s|%s|%t", f.Step, filepath.Base(f.Where.File), f.Layer != "")
		}
	}
	want := map[string]string{
		"CFB202 /var/lib/apt/lists":     "cache and key|lint_test.go|true",
		"CFB301 /etc/site.key":          "cache and key|lint_test.go|true",
		"CFB503 /usr/local/bin/be-root": "cache and key|lint_test.go|true",
		"CFB502 sudo":                   "file /usr/bin/sudo|lint_test.go|true",
		"CFB401 env DEBIAN_FRONTEND":    "configure env|lint_test.go|false",
	}
	for k, v := range want {
		if got[k] != "run "+v && got[k] != v {
			t.Errorf("%s: %q, want %q", k, got[k], v)
		}
	}
	if len(got) != len(want) || len(bad.Ignored) != 1 || bad.Ignored[0].Rule != "CFB506" {
		t.Errorf("found %v, ignored %+v", got, bad.Ignored)
	}
	if left, err := os.ReadDir(filepath.Join(w.dir, "state", "tmp")); err != nil || len(left) > 0 {
		t.Errorf("left in the state directory: %v %v", left, err)
	}
}
