package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cfbuild/cfbuild/internal/gitlabtest"
	"github.com/cfbuild/cfbuild/pipelines"
)

// job is the environment of a GitLab job at a double.
func job(t *testing.T, s *gitlabtest.Server, more ...string) map[string]string {
	t.Helper()
	vars := map[string]string{"HOME": t.TempDir(), "GITLAB_CI": "true", "CI_API_V4_URL": s.API(), "CI_PROJECT_ID": strconv.Itoa(gitlabtest.ID),
		"CI_JOB_TOKEN": s.Grant(gitlabtest.JobToken, gitlabtest.Delete), "CI_COMMIT_SHA": strings.Repeat("0123456789", 4), "CI_COMMIT_TAG": "v1.2.0"}
	for _, m := range more {
		k, v, _ := strings.Cut(m, "=")
		vars[k] = v
	}
	return vars
}

// runs runs the program and wants an exit code; it gives what was printed. No
// token may be.
func runs(t *testing.T, vars map[string]string, app App, dir string, code int, args ...string) (out, errs string) {
	t.Helper()
	env, o, e := testEnv(t, vars)
	env.Dir = dir
	if got := Run(t.Context(), app, args, env); got != code {
		t.Errorf("%s: exit code %d, want %d\n%s%s", strings.Join(args, " "), got, code, o, e)
	}
	for name, v := range vars {
		if strings.HasSuffix(name, "TOKEN") && v != "" && strings.Contains(o.String()+e.String(), v) {
			t.Errorf("%s: the value of %s is printed", strings.Join(args, " "), name)
		}
	}
	return o.String(), e.String()
}

func files(p gitlabtest.Package) string {
	var out []string
	for _, f := range p.Files {
		out = append(out, f.Name)
	}
	return strings.Join(out, " ")
}

// run --format sif in a job publishes to the package registry; again sends nothing.
func TestRunPublishesSIF(t *testing.T) {
	s := gitlabtest.Start(t, false)
	vars, dir := job(t, s), t.TempDir()
	out, _ := runs(t, vars, fakeApp(), dir, 0, "run", "beta", "--platform", "all", "--format", "sif")
	all := s.Packages()
	if len(all) != 1 || all[0].Name != "beta" || all[0].Version != "v1.2.0" || all[0].Status != "default" ||
		files(all[0]) != "beta-v1.2.0-amd64.sif beta-v1.2.0-amd64.sif.json beta-v1.2.0-arm64.sif beta-v1.2.0-arm64.sif.json SHA256SUMS" {
		t.Fatalf("there is %+v", all)
	}
	if want := "pushed " + s.API() + "/projects/7/packages/generic/beta/v1.2.0/beta-v1.2.0-arm64.sif (SIF, sha256:"; !strings.Contains(out, want) {
		t.Errorf("printed %q, want %q in it", out, want)
	}
	made, err := os.ReadFile(filepath.Join(dir, "out", "beta-arm64.sif"))
	if err != nil || string(made) != string(all[0].Files[2].Data) {
		t.Errorf("another file was published than was made (%v)", err)
	}
	var meta struct {
		File, SHA256 string
		Meta         sifMeta
	}
	if err := json.Unmarshal(all[0].Files[3].Data, &meta); err != nil || meta.File != "beta-v1.2.0-arm64.sif" || meta.SHA256 != all[0].Files[2].SHA256 ||
		meta.Meta.Platform != "linux/arm64" || !strings.HasPrefix(meta.Meta.Image, "sha256:") || meta.Meta.ID == "" || meta.Meta.Labels == nil {
		t.Errorf("metadata %s (%v)", all[0].Files[3].Data, err)
	}
	s.Forget()
	out, _ = runs(t, vars, fakeApp(), dir, 0, "run", "beta", "--platform", "all", "--format", "sif", "--json")
	var rep struct{ Receipts []pipelines.Receipt }
	if err := json.Unmarshal([]byte(out), &rep); err != nil || len(rep.Receipts) != 2 || rep.Receipts[0].Pushed != 0 || s.Body() != 0 {
		t.Errorf("again %d bytes were sent: %+v, %v", s.Body(), rep, err)
	}
}

// The version: --tag, the git tag, the commit.
func TestSIFVersion(t *testing.T) {
	s := gitlabtest.Start(t, false)
	for _, c := range []struct {
		vars, args []string
		want       string
	}{
		{nil, nil, "v1.2.0"},
		{[]string{"CI_COMMIT_TAG="}, nil, "01234567"},
		{nil, []string{"--tag", "12,latest"}, "12"},
		{nil, []string{"--tag", "semver"}, "1.2.0"},
	} {
		runs(t, job(t, s, c.vars...), fakeApp(), t.TempDir(), 0, append([]string{"run", "alpha", "--platform", "amd64", "--format", "sif"}, c.args...)...)
		all := s.Packages()
		if got := all[len(all)-1].Version; got != c.want {
			t.Errorf("%v %v: version %q, want %q", c.vars, c.args, got, c.want)
		}
	}
	// Elsewhere, and with --push never, nothing is published.
	s.Forget()
	runs(t, map[string]string{"HOME": t.TempDir()}, fakeApp(), t.TempDir(), 0, "run", "alpha", "--platform", "amd64", "--format", "sif")
	runs(t, job(t, s), fakeApp(), t.TempDir(), 0, "run", "alpha", "--platform", "amd64", "--format", "sif", "--push", "never")
	if n := len(s.Requests()); n != 0 {
		t.Errorf("%d requests", n)
	}
}

func TestRunPublishFails(t *testing.T) {
	s := gitlabtest.Start(t, false)
	for _, c := range []struct {
		vars, args []string
		code       int
		says       []string
	}{
		{[]string{"CI_COMMIT_TAG=release/1"}, nil, 6, []string{`name: version "release/1": has a slash`, "hint: GitLab takes letters"}},
		{[]string{"CI_JOB_TOKEN=x"}, nil, 6, []string{"connect: ", "401 Unauthorized", "hint: CI_JOB_TOKEN is not valid as JOB-TOKEN"}},
		{[]string{"CI_JOB_TOKEN="}, nil, 2, []string{"there is no token", "hint: set GITLAB_TOKEN"}},
		{nil, []string{"--push", "oras://registry.example.org/a", "--format", "oci"}, 2, []string{"no SIF file is made", "hint: add --format sif"}},
		{nil, []string{"--push", "oras://x/@"}, 2, []string{"--push"}},
	} {
		vars := job(t, s, c.vars...)
		if vars["CI_JOB_TOKEN"] == "x" {
			vars["CI_JOB_TOKEN"] = strings.Repeat("ended", 3)
		}
		args := append([]string{"run", "alpha", "--platform", "amd64", "--format", "sif"}, c.args...)
		if len(c.args) > 2 {
			args = append([]string{"run", "alpha", "--platform", "amd64"}, c.args...)
		}
		_, errs := runs(t, vars, fakeApp(), t.TempDir(), c.code, args...)
		for _, want := range c.says {
			if !strings.Contains(errs, want) {
				t.Errorf("%v %v: said %q, want %q in it", c.vars, c.args, errs, want)
			}
		}
	}
	if n := len(s.Packages()); n != 0 {
		t.Errorf("%d packages", n)
	}
}

// orasPublisher notes what is pushed as SIF.
type orasPublisher struct {
	fakePublisher
	pushed *[]string
}

func (o orasPublisher) PushSIF(_ context.Context, path, target string, platform pipelines.Platform, repository string, tags []string, _ pipelines.Sink) (pipelines.Receipt, error) {
	*o.pushed = append(*o.pushed, fmt.Sprint(filepath.Base(path), " ", platform, " ", repository, " ", tags))
	return pipelines.Receipt{Target: target, Ref: repository, Tags: tags, Digest: "sha256:00", MediaType: sifMediaType, Platforms: []pipelines.Platform{platform}}, nil
}

func TestRunPushesORAS(t *testing.T) {
	var pushed []string
	app := fakeApp()
	app.Publisher = func(o PublisherOptions) Publisher { return orasPublisher{fakePublisher{o}, &pushed} }
	vars := map[string]string{"HOME": t.TempDir()}
	args := []string{"run", "beta", "--platform", "all", "--format", "oci,sif", "--push", "oras://registry.example.org/base/beta", "--tag", "1,latest"}
	runs(t, vars, app, t.TempDir(), 0, args...)
	want := "beta-amd64.sif linux/amd64 registry.example.org/base/beta [1-amd64 latest-amd64]\n" +
		"beta-arm64.sif linux/arm64 registry.example.org/base/beta [1-arm64 latest-arm64]"
	if got := strings.Join(pushed, "\n"); got != want {
		t.Errorf("pushed\n%s\nwant\n%s", got, want)
	}
	_, errs := runs(t, vars, fakeApp(), t.TempDir(), 1, args...)
	if !strings.Contains(errs, "cannot push SIF files") {
		t.Errorf("said %q", errs)
	}
}

func TestPackagesPush(t *testing.T) {
	s := gitlabtest.Start(t, false)
	dir := t.TempDir()
	for name, text := range map[string]string{"a.sif": "one", "b.sif": "two"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	vars := map[string]string{"MINE": s.Grant(gitlabtest.PrivateToken, gitlabtest.Delete)}
	push := []string{"packages", "push", "a.sif", "b.sif", "--package", "tools", "--version", "3", "--api", s.API(), "--project", gitlabtest.Path, "--token", "private=MINE"}
	out, _ := runs(t, vars, fakeApp(), dir, 0, push...)
	if !strings.Contains(out, "a.sif") || strings.Count(out, "  sent\n") != 3 {
		t.Errorf("printed %q", out)
	}
	if err := os.WriteFile(filepath.Join(dir, "a.sif"), []byte("other"), 0o644); err != nil {
		t.Fatal(err)
	}
	_, errs := runs(t, vars, fakeApp(), dir, 6, push...)
	if !strings.Contains(errs, "a.sif: is there already and differs") || !strings.Contains(errs, "hint: publish it as another version") {
		t.Errorf("said %q", errs)
	}
	out, _ = runs(t, vars, fakeApp(), dir, 0, append(push, "--on-conflict", "replace", "--json")...)
	var r packagesReceipt
	if err := json.Unmarshal([]byte(out), &r); err != nil || r.Package != "tools" || r.Release != "3" || len(r.Files) != 3 || !r.Files[0].Sent || r.Files[1].Sent {
		t.Errorf("got %s (%v)", out, err)
	}
	for _, c := range []struct {
		args []string
		says string
	}{
		{[]string{"packages", "push"}, "names no file"},
		{[]string{"packages", "push", "a"}, "--package and --version are needed"},
		{[]string{"packages", "push", "a", "--package", "p", "--version", "1"}, "no GitLab is named"},
		{[]string{"packages", "push", "a", "--package", "p", "--version", "1", "--api", "https://h/api/v4"}, "no project is named"},
		{append(push[:len(push)-1:len(push)-1], "private=NONE"), "variable NONE is not set"},
		{append(push[:len(push)-1:len(push)-1], "abcdef"), "is not KIND=VARIABLE"},
		{[]string{"packages", "purge"}, `packages command "purge": is unknown`},
		{[]string{"packages", "prune", "a", "--keep", "-3"}, "is negative"},
		{[]string{"packages", "prune", "a", "--hidden"}, "no age is given"},
		{[]string{"packages", "prune", "[a"}, "is not a pattern"},
	} {
		_, errs := runs(t, vars, fakeApp(), dir, 2, c.args...)
		if !strings.Contains(errs, c.says) || strings.Contains(errs, "abcdef") {
			t.Errorf("%v: said %q, want %q", c.args, errs, c.says)
		}
	}
}

func TestPackagesPrune(t *testing.T) {
	s := gitlabtest.Start(t, false)
	now := time.Now()
	for i := range 4 {
		s.Add(gitlabtest.Package{Name: "base", Version: strconv.Itoa(i), Created: now.AddDate(0, 0, i-10), Files: []gitlabtest.File{
			{Name: "a", Data: make([]byte, 3000)}, {Name: "a", Data: make([]byte, 3000)}}})
	}
	vars, dir := job(t, s), t.TempDir()
	out, _ := runs(t, vars, fakeApp(), dir, 0, "packages", "prune", "base", "--keep", "2")
	if len(s.Packages()) != 4 || s.Count("DELETE", "") != 0 || strings.Count(out, "would go\n") != 4 || !strings.Contains(out, "--yes removes it") {
		t.Errorf("dry run: %q", out)
	}
	out, _ = runs(t, vars, fakeApp(), dir, 0, "packages", "prune", "b*", "--keep", "2", "--older-than", "216h", "--protect", "1", "--yes", "--json")
	var got struct {
		DryRun   bool `json:"dry_run"`
		Bytes    int64
		Removals []struct {
			Version, File string
			Removed       bool
		}
	}
	if err := json.Unmarshal([]byte(out), &got); err != nil || got.DryRun || len(got.Removals) != 4 || got.Bytes != 15000 || got.Removals[0].Version != "0" ||
		got.Removals[0].File != "" || !got.Removals[0].Removed || got.Removals[1].File != "a" {
		t.Errorf("got %s (%v)", out, err)
	}
	left := s.Packages()
	if len(left) != 3 || files(left[0]) != "a" {
		t.Errorf("there is %+v", left)
	}
	vars["CI_JOB_TOKEN"] = s.Grant(gitlabtest.JobToken, gitlabtest.Write)
	out, errs := runs(t, vars, fakeApp(), dir, 6, "packages", "prune", "base", "--keep", "0", "--yes")
	if !strings.Contains(out, "stays: ") || !strings.Contains(errs, "403 Forbidden") || !strings.Contains(errs, "deleting for a Maintainer") || len(s.Packages()) != 3 {
		t.Errorf("said %q and %q", out, errs)
	}
	out, _ = runs(t, vars, fakeApp(), dir, 0, "packages", "prune", "none")
	if out != "0, 0 B to remove\n" {
		t.Errorf("said %q", out)
	}
}
