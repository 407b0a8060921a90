package builderstest

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cfbuild/cfbuild/internal/testneed"
	"github.com/cfbuild/cfbuild/pipelines"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// guestBase is an image for a foreign platform: the guest program and nothing else.
func guestBase(t *testing.T, p pipelines.Platform) pipelines.Layout {
	t.Helper()
	bin := filepath.Join(t.TempDir(), "guest")
	cmd := exec.Command(testneed.Program(t, "go"), "build", "-trimpath", "-o", bin, "github.com/cfbuild/cfbuild/builders/builderstest/guest")
	cmd.Env = append(os.Environ(), "GOOS="+p.OS, "GOARCH="+p.Architecture, "CGO_ENABLED=0", "GOFLAGS=-buildvcs=false")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("guest for %s: %v\n%s", p, err, out)
	}
	data, err := os.ReadFile(bin)
	check(t, err)
	return makeBase(t, p, v1.ImageConfig{}, []member{{name: "guest", mode: 0o755, data: string(data)}, {name: "tmp/", mode: 0o1777},
		{name: "set", mode: 0o4755, uid: 33, data: string(data)}})
}

var foreignCases = []testCase{
	{"a foreign platform", func(t *testing.T, s *suite) {
		p := pipelines.Platform{OS: "linux", Architecture: "arm64"}
		if s.p == p {
			p.Architecture = "amd64"
		}
		if !slices.Contains(s.caps.Emulated, p) {
			testneed.Skip(t, "declared: "+p.String()+" is not emulated here")
		}
		base := guestBase(t, p)
		img := pipelines.From(p, base)
		got := s.build(t, img.Then(
			pipelines.Run{Args: []string{"/guest", "arch", "/one"}},
			pipelines.Run{Args: []string{"/guest", "again", "arch", "/tmp/two"}, User: "5:6"},
			pipelines.File{Path: "/file"}))
		got.content(t, "one", p.Architecture+"\n")
		got.want(t, "tmp/two file 0644 5:6", "file file 0644 0:0")
		if !strings.Contains(got.events.log(), "running on "+p.Architecture+" as 5") {
			t.Errorf("log %q", got.events.log())
		}
		err, _ := s.fail(t, img.Then(pipelines.Run{Args: []string{"/guest", "exit", "3"}}))
		if step := asStep(t, err); step.ExitCode != 3 || step.Emulator {
			t.Errorf("a failed command: %+v", step)
		}
		err, _ = s.fail(t, img.Then(pipelines.Run{Args: []string{"/guest", "crash"}}))
		if step := asStep(t, err); !step.Emulator {
			t.Errorf("a crash under the emulator: %+v", step)
		}
	}},
	{"a setuid program of a foreign platform", func(t *testing.T, s *suite) {
		p := pipelines.Platform{OS: "linux", Architecture: "arm64"}
		if !slices.Contains(s.caps.Emulated, p) {
			testneed.Skip(t, "declared: "+p.String()+" is not emulated here")
		}
		got := s.build(t, pipelines.From(p, guestBase(t, p)).Then(pipelines.Run{Args: []string{"/set", "arch", "/tmp/x"}, User: "5:6"}))
		t.Logf("%s", got.events.log())
	}},
	{"files for a platform that cannot run", func(t *testing.T, s *suite) {
		p := pipelines.Platform{OS: "linux", Architecture: "loong64"}
		got := s.build(t, pipelines.From(p, pipelines.Scratch{}).Then(pipelines.File{Path: "/x"}, pipelines.Configure{Cmd: []string{"/x"}}))
		got.want(t, "x file 0644 0:0")
	}},
}
