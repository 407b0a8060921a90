//go:build containers_image_openpgp && exclude_graphdriver_btrfs

package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cfbuild/cfbuild/internal/buildkitdtest"
	"github.com/cfbuild/cfbuild/internal/registrytest"
	"github.com/cfbuild/cfbuild/internal/testneed"
	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/opencontainers/go-digest"
)

// throwAway are the builders that throw-away runners use, as --builder names them, each
// time with nothing of its own from before and for the user of a world.
var throwAway = map[string]func(t *testing.T, w *world) string{
	"buildah": func(*testing.T, *world) string { return "buildah" },
	"buildkit": func(t *testing.T, w *world) string {
		return "buildkit:" + buildkitdtest.Start(t, buildkitdtest.Options{Rootless: w.user != nil}).Addr
	},
}

// siteWithRegistry is the frozen site with a registry that speaks plain HTTP.
func (w *world) siteWithRegistry(addr string) string {
	w.t.Helper()
	text, err := os.ReadFile(frozenSite(w.t))
	if err != nil {
		w.t.Fatal(err)
	}
	site := filepath.Join(w.dir, "registry.toml")
	if err := os.WriteFile(site, fmt.Appendf(text, "\n[[registry]]\nprefix = %q\ninsecure = true\n", addr), 0o644); err != nil {
		w.t.Fatal(err)
	}
	return site
}

// steps runs a target and gives the names of the graph's steps that were started.
func (w *world) steps(target string, args ...string) (rep report, started []string, warnings []string) {
	w.t.Helper()
	rep, stderr, code := w.try(append([]string{"run", target, "--json", "--progress", "json"}, args...)...)
	if code != 0 || len(rep.Artifacts) == 0 {
		w.t.Fatalf("run %s %s: exit code %d\n%s", target, strings.Join(args, " "), code, stderr[max(0, len(stderr)-4000):])
	}
	for line := range strings.Lines(stderr) {
		var e pipelines.Event
		if json.Unmarshal([]byte(line), &e) != nil {
			continue
		}
		switch {
		// Roots that steps start from are opened each time where a daemon is shown them.
		case e.Kind == pipelines.EventStart && strings.HasPrefix(e.Step, "sha256:") && !strings.HasPrefix(e.Name, "layout "):
			started = append(started, e.Name)
		case e.Kind == pipelines.EventWarning:
			warnings = append(warnings, e.Text)
		}
	}
	return rep, started, warnings
}

// What one machine built, another that is empty does not build again: no step runs,
// and the images are the same, through a registry and through a directory.
func TestEmptyMachineTwice(t *testing.T) {
	account := testneed.User(t)
	addr := debianRegistry(t)
	dir := t.TempDir()
	for builder, open := range throwAway {
		places := map[string]string{"registry": addr + "/group/project/cache", "directory": filepath.Join(dir, builder)}
		for name, place := range places {
			t.Run(builder+" "+name, func(t *testing.T) {
				platform, second := both, newWorld(t, &account) // another user, too
				if name == "directory" {
					platform, second = "linux/amd64", newWorld(t, nil)
				}
				first := newWorld(t, nil)
				want, ran, warned := first.steps("debian12", "--platform", platform, "--builder", open(t, first), "--site", first.siteWithRegistry(addr), "--cache-to", place)
				if len(ran) == 0 || len(warned) > 0 {
					t.Fatalf("the first machine ran %q, warned of %q", ran, warned)
				}
				got, ran, warned := second.steps("debian12", "--platform", platform, "--builder", open(t, second), "--site", second.siteWithRegistry(addr), "--cache-from", place)
				if len(ran) > 0 || len(warned) > 0 {
					t.Errorf("the empty machine ran %q, warned of %q", ran, warned)
				}
				if !maps.Equal(got.digests(), want.digests()) {
					t.Errorf("%v, first %v", got.digests(), want.digests())
				}
			})
		}
	}
}

// What is published is not built again: one HEAD request decides, and one for each
// tag makes sure of it. A tag that another image took since is set back without a
// build, and other inputs are built.
func TestSkipPublished(t *testing.T) {
	reg := registrytest.Start(t)
	repo := "group/project/debian12"
	args := func(w *world, more ...string) []string {
		return append([]string{"run", "debian12", "--site", w.siteWithRegistry(reg.Host()), "--json", "--progress", "plain", "--tag", "12",
			"--push", reg.Host() + "/" + repo, "--skip-published"}, more...)
	}
	first := newWorld(t, nil)
	want, stderr, code := first.try(args(first)...)
	if code != 0 || len(want.Receipts) != 1 || want.Receipts[0].Skipped || want.Receipts[0].Pushed == 0 {
		t.Fatalf("exit code %d, %+v\n%s", code, want.Receipts, stderr)
	}
	raw := tool(t, "skopeo", "inspect", "--tls-verify=false", "docker://"+reg.Host()+"/"+repo+":12")
	if !strings.Contains(raw, `"io.github.cfbuild.inputs": "`) {
		t.Errorf("no label: %s", raw)
	}
	skips := func(w *world, more ...string) {
		t.Helper()
		reg.Forget()
		rep, stderr, code := w.try(args(w, more...)...)
		if code != 0 || len(rep.Receipts) != 1 || !rep.Receipts[0].Skipped || rep.Receipts[0].Digest != want.Receipts[0].Digest || len(rep.Artifacts) > 0 {
			t.Fatalf("exit code %d, %+v, %d artifacts\n%s", code, rep, len(rep.Artifacts), stderr)
		}
	}
	account := testneed.User(t)
	second := newWorld(t, &account)
	skips(second)
	if marks, all := reg.Count("HEAD", "/manifests/cf-", ""), reg.Count("GET HEAD PUT POST", "/v2/group/", ""); marks != 1 || all != 2 {
		t.Errorf("%d requests decide, %d in all, want 1 and 2: %+v", marks, all, reg.Requests())
	}
	for _, dir := range []string{"out", "state/artifacts", "state/bootstrap/roots", "state/bootstrap/packages"} {
		if _, err := os.Stat(filepath.Join(second.dir, dir)); !os.IsNotExist(err) {
			t.Errorf("%s was made: %v", dir, err)
		}
	}
	// Another image takes the tag, and the first inputs come back.
	rep, stderr, code := first.try(args(first, "--media-type", "oci")...)
	if code != 0 || len(rep.Receipts) != 1 || rep.Receipts[0].Skipped || rep.Receipts[0].Digest == want.Receipts[0].Digest {
		t.Fatalf("other inputs: exit code %d, %+v\n%s", code, rep.Receipts, stderr)
	}
	skips(second)
	raw = tool(t, "skopeo", "inspect", "--raw", "--tls-verify=false", "docker://"+reg.Host()+"/"+repo+":12")
	if got := digest.FromString(raw).String(); got != want.Receipts[0].Digest {
		t.Errorf("the tag is %s, want %s", got, want.Receipts[0].Digest)
	}
	skips(second, "--tag", "12.1")
	// With --test only what was tested counts.
	if rep, stderr, code := first.try(args(first, "--test")...); code != 0 || rep.Receipts[0].Skipped {
		t.Errorf("tests: exit code %d, %+v\n%s", code, rep.Receipts, stderr)
	}
	skips(second, "--test")
}

// In a GitLab job auto is the project's registry, with the job's token; where that may
// only be read, as in a fork, it is the directory that the job's cache keeps.
func TestCachesOfGitLabJobs(t *testing.T) {
	reg := registrytest.Start(t, registrytest.Token("gitlab-ci-token", "hush-hush"))
	job := func() *world {
		w := newWorld(t, nil)
		w.env = []string{"GITLAB_CI=true", "CI_PROJECT_DIR=" + w.dir, "CI_REGISTRY=" + reg.Host(), "CI_REGISTRY_IMAGE=" + reg.Host() + "/group/project", "CI_JOB_TOKEN=hush-hush"}
		return w
	}
	run := func(w *world) (started, warned []string) {
		t.Helper()
		_, started, warned = w.steps("files", "--site", w.siteWithRegistry(reg.Host()), "--push", "never", "--cache-from", "auto", "--cache-to", "auto")
		return started, warned
	}
	first, second := job(), job()
	if ran, warned := run(first); len(ran) != 2 || len(warned) > 0 {
		t.Errorf("the first job ran %q, warned of %q", ran, warned)
	}
	if ran, warned := run(second); len(ran) > 0 || len(warned) > 0 {
		t.Errorf("the second job ran %q, warned of %q", ran, warned)
	}
	if n := reg.Count("PUT", "/v2/group/project/cache/manifests/files-", ""); n != 1 {
		t.Errorf("%d caches were written: the second job had nothing to add", n)
	}
	reg.Fail(registrytest.Fault{Method: "POST", Status: http.StatusForbidden})
	reg.Fail(registrytest.Fault{Method: "GET", Path: "/manifests/", Status: http.StatusForbidden})
	fork := job()
	if ran, warned := run(fork); len(ran) != 2 || len(warned) != 3 { // two to read, one to write
		t.Errorf("a fork's job ran %q, warned of %q", ran, warned)
	}
	next := job()
	if err := os.Rename(filepath.Join(fork.dir, ".cfbuild-cache"), filepath.Join(next.dir, ".cfbuild-cache")); err != nil {
		t.Fatal(err)
	}
	if ran, warned := run(next); len(ran) > 0 || len(warned) != 3 {
		t.Errorf("the fork's next job ran %q, warned of %q", ran, warned)
	}
}
