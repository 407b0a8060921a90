//go:build containers_image_openpgp && exclude_graphdriver_btrfs

package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cfbuild/cfbuild/builders/apptainer"
	"github.com/cfbuild/cfbuild/builders/buildah"
	"github.com/cfbuild/cfbuild/cmd/cli"
	"github.com/cfbuild/cfbuild/internal/testneed"
)

// state is shared by the tests, so that packages are fetched once.
var state string

func TestMain(m *testing.M) {
	if buildah.Child() || apptainer.Child() {
		return
	}
	if os.Getenv(asProgram) != "" {
		os.Exit(cli.Main(endToEnd()))
	}
	dir, err := os.MkdirTemp("", "cfbuild-programs-")
	if err != nil {
		panic(err)
	}
	state = dir
	code := checkVerified(m.Run())
	os.RemoveAll(dir)
	os.Exit(code)
}

const tags = "containers_image_openpgp,exclude_graphdriver_btrfs"

// build compiles the package in dir as its users would, from the module cache.
func build(t *testing.T, dir, flags string, env ...string) string {
	t.Helper()
	out := filepath.Join(t.TempDir(), "program")
	cmd := exec.Command("go", "build", "-o", out, ".")
	cmd.Dir = dir
	cmd.Env = append(append(os.Environ(), "GOFLAGS="+flags, "GOWORK=off"), env...)
	if b, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build in %s: %v\n%s", dir, err, b)
	}
	return out
}

// run runs a program and gives what it printed and its exit code.
func run(t *testing.T, dir, program string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	cmd := exec.Command(program, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "CFBUILD_STATE_DIR="+state)
	var o, e bytes.Buffer
	cmd.Stdout, cmd.Stderr = &o, &e
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return o.String(), e.String(), cmd.ProcessState.ExitCode()
}

// Without the tags the program says in one line which to use.
func TestUntaggedSaysWhichTags(t *testing.T) {
	_, stderr, code := run(t, t.TempDir(), build(t, ".", "-buildvcs=false"))
	if code != 4 || strings.Count(stderr, "\n") != 1 || !strings.Contains(stderr, "-tags "+tags) {
		t.Errorf("exit code %d, said %q", code, stderr)
	}
}

// Without cgo the program works, and says why it lacks a backend.
func TestWithoutCgo(t *testing.T) {
	dir := t.TempDir()
	bin := build(t, ".", "-buildvcs=false -tags="+tags, "CGO_ENABLED=0")
	if out, _, code := run(t, dir, bin, "list"); code != 0 || !strings.Contains(out, "(also bookworm, debian-12)") {
		t.Errorf("list: exit code %d, %s", code, out)
	}
	if out, _, _ := run(t, dir, bin, "version"); !strings.Contains(out, "buildah (left out: ") {
		t.Errorf("version: %s", out)
	}
	if _, stderr, code := run(t, dir, bin, "run", "debian12"); code != 4 || !strings.Contains(stderr, "builder buildah: left out of this program: ") {
		t.Errorf("run: exit code %d, %s", code, stderr)
	}
}

// What cfbuild init writes compiles as it is, with nothing but the module cache,
// and builds its image.
func TestInit(t *testing.T) {
	bin := build(t, ".", "-buildvcs=false -tags="+tags)
	dir := t.TempDir()
	if _, stderr, code := run(t, dir, bin, "init", "mybase"); code != 0 {
		t.Fatalf("init: exit code %d, %s", code, stderr)
	}
	src := filepath.Join(dir, "mybase")
	mine := build(t, src, "-mod=readonly -tags="+tags, "GOPROXY=off")
	_, stderr, code := run(t, dir, build(t, src, "-mod=readonly", "GOPROXY=off"))
	if code != 4 || stderr != "mybase: compile with: go build -tags "+tags+"\n" {
		t.Errorf("untagged: exit code %d, said %q", code, stderr)
	}
	vet := exec.Command("go", "vet", ".")
	vet.Dir = src
	vet.Env = append(os.Environ(), "GOFLAGS=-tags="+tags, "GOPROXY=off")
	if b, err := vet.CombinedOutput(); err != nil {
		t.Errorf("go vet: %v\n%s", err, b)
	}
	fmtOut, err := exec.Command("gofmt", "-l", src).CombinedOutput()
	if err != nil || len(fmtOut) > 0 {
		t.Errorf("gofmt: %v %s", err, fmtOut)
	}
	checkImage(t, mine, "mybase")
}

// The example is a program of its own too.
func TestExample(t *testing.T) {
	bin := build(t, "../../examples/custom", "-mod=readonly -tags="+tags, "GOPROXY=off")
	out, _, code := run(t, t.TempDir(), bin, "list")
	if code != 0 || !strings.Contains(out, "(also tools)") {
		t.Fatalf("list: exit code %d, %s", code, out)
	}
	checkImage(t, bin, "toolbox")
	checkImage(t, bin, "hello")
}

// checkImage builds a target for real, from this machine's own package mirror, and
// builds it again: the second time nothing changes.
func checkImage(t *testing.T, bin, target string) {
	t.Helper()
	if _, err := os.Stat("/etc/apt"); err != nil {
		testneed.Skip(t, "this machine has no package mirror of Debian's")
	}
	dir := t.TempDir()
	for i, cached := range []bool{false, true} {
		stdout, stderr, code := run(t, dir, bin, "run", target, "--site", "host", "--json")
		if code != 0 {
			t.Fatalf("run %s: exit code %d\n%s", target, code, stderr)
		}
		var rep struct {
			Artifacts []struct {
				Digest string
				Cached bool
				Size   int64 `json:"image_size"`
			}
			Outputs []struct {
				Path      string
				Unchanged bool
			}
		}
		if err := json.Unmarshal([]byte(stdout), &rep); err != nil {
			t.Fatal(err)
		}
		if len(rep.Artifacts) != 1 || rep.Artifacts[0].Cached != cached || rep.Artifacts[0].Size < 10e6 || len(rep.Outputs) != 1 || rep.Outputs[0].Unchanged != cached {
			t.Errorf("run %d of %s made %+v", i+1, target, rep)
		}
		if _, err := os.Stat(filepath.Join(dir, "out", target, "index.json")); err != nil {
			t.Error(err)
		}
	}
}
