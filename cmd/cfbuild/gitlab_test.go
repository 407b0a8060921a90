//go:build containers_image_openpgp && exclude_graphdriver_btrfs

package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/cfbuild/cfbuild/internal/gitlabtest"
	"github.com/cfbuild/cfbuild/internal/registrytest"
	"github.com/cfbuild/cfbuild/internal/testneed"
	"github.com/cfbuild/cfbuild/pipelines"
)

// smallTarget is an image that is made in no time.
func smallTarget() pipelines.Target {
	return pipelines.Target{Name: "small", Build: func(p pipelines.Platform) pipelines.Image {
		return pipelines.From(p, pipelines.Scratch{}).Then(
			pipelines.File{Path: "/etc/motd", Data: bytes.Repeat([]byte("hello\n"), 50_000)},
			pipelines.Configure{Labels: map[string]string{"org.opencontainers.image.title": "small"}})
	}}
}

// A GitLab job builds SIF files and publishes them; what is there verifies with
// sha256sum, and a second run sends nothing.
func TestGitLabJobPublishesSIF(t *testing.T) {
	s := gitlabtest.Start(t, false)
	w := newWorld(t, nil)
	token := s.Grant(gitlabtest.JobToken, gitlabtest.Write)
	run := func() string {
		t.Helper()
		cmd := w.start("run", "small", "--platform", "linux/amd64,linux/arm64", "--format", "sif", "--progress", "plain")
		cmd.Env = append(cmd.Env, "GITLAB_CI=true", "CI_API_V4_URL="+s.API(), "CI_PROJECT_ID="+strconv.Itoa(gitlabtest.ID),
			"CI_JOB_TOKEN="+token, "CI_COMMIT_TAG=v1.2.0")
		out, err := cmd.CombinedOutput()
		if err != nil || strings.Contains(string(out), token) {
			t.Fatalf("%v\n%s", err, out)
		}
		return string(out)
	}
	run()
	all := s.Packages()
	if len(all) != 1 || all[0].Name != "small" || all[0].Version != "v1.2.0" || all[0].Status != "default" || len(all[0].Files) != 5 {
		t.Fatalf("there is %+v", all)
	}
	dir := t.TempDir()
	for _, f := range all[0].Files {
		if err := os.WriteFile(filepath.Join(dir, f.Name), f.Data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	check := exec.Command("sha256sum", "-c", "--strict", "SHA256SUMS")
	check.Dir = dir
	if out, err := check.CombinedOutput(); err != nil || strings.Count(string(out), ": OK") != 4 {
		t.Errorf("sha256sum: %v\n%s", err, out)
	}
	if _, stderr, code := w.try("sif", "verify", filepath.Join(dir, "small-v1.2.0-arm64.sif")); code != 0 {
		t.Errorf("sif verify: %d %s", code, stderr)
	}
	s.Forget()
	if out := run(); s.Body() != 0 || s.Count("PUT", "") != 0 || !strings.Contains(out, "(SIF, sha256:") {
		t.Errorf("again %d bytes were sent\n%s", s.Body(), out)
	}
}

// run --push oras:// and apptainer pull oras:// give the same file.
func TestORAS(t *testing.T) {
	program := testneed.Apptainer(t, "../../scripts/apptainer")
	r := registrytest.Start(t)
	w := newWorld(t, nil)
	site := filepath.Join(w.dir, "site.toml")
	text := "[[registry]]\nprefix = \"" + r.Host() + "\"\ninsecure = true\n"
	if err := os.WriteFile(site, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, stderr, code := w.try("run", "small", "--platform", "linux/amd64", "--format", "sif", "--site", site, "--push", "oras://"+r.Host()+"/base/small:1", "--progress", "plain"); code != 0 {
		t.Fatalf("exit code %d\n%s", code, stderr)
	}
	pulled := filepath.Join(w.dir, "pulled.sif")
	cmd := exec.Command(program, "pull", "--no-https", pulled, "oras://"+r.Host()+"/base/small:1-amd64")
	cmd.Env = append(os.Environ(), "HOME="+w.dir, "APPTAINER_CACHEDIR="+w.dir, "TMPDIR="+w.dir)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("apptainer pull: %v\n%s", err, out)
	}
	want, err := os.ReadFile(filepath.Join(w.dir, "out", "small-amd64.sif"))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(pulled); err != nil || !bytes.Equal(got, want) {
		t.Errorf("pulled %d bytes, made %d (%v)", len(got), len(want), err)
	}
}
