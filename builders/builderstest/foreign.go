package builderstest

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cfbuild/cfbuild/builders"
	"github.com/cfbuild/cfbuild/internal/testneed"
	"github.com/cfbuild/cfbuild/pipelines"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// GuestEnv names a variable with the path of a compiled guest, for test processes
// that cannot compile it: ordinary users without a Go cache.
const GuestEnv = "CFBUILD_TEST_GUEST"

// Foreign is the platform that the foreign cases are about: arm64, or amd64 there.
func Foreign() pipelines.Platform {
	p := pipelines.Platform{OS: "linux", Architecture: "arm64"}
	if pipelines.HostPlatform() == p {
		p.Architecture = "amd64"
	}
	return p
}

// Guest compiles the guest program for a platform and gives its path.
func Guest(t testing.TB, p pipelines.Platform) string {
	t.Helper()
	bin := filepath.Join(t.TempDir(), "guest")
	cmd := exec.Command(testneed.Program(t, "go"), "build", "-trimpath", "-o", bin, "github.com/cfbuild/cfbuild/builders/builderstest/guest")
	cmd.Env = append(os.Environ(), "GOOS="+p.OS, "GOARCH="+p.Architecture, "CGO_ENABLED=0", "GOFLAGS=-buildvcs=false")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("guest for %s: %v\n%s", p, err, out)
	}
	return bin
}

// guestBase is an image for a foreign platform: the guest program and nothing else.
func guestBase(t *testing.T, p pipelines.Platform) pipelines.Layout {
	t.Helper()
	bin := os.Getenv(GuestEnv)
	if bin == "" {
		bin = Guest(t, p)
	}
	data, err := os.ReadFile(bin)
	check(t, err)
	return makeBase(t, p, v1.ImageConfig{}, []member{{name: "guest", mode: 0o755, data: string(data)}, {name: "tmp/", mode: 0o1777},
		{name: "crash", mode: 0o755, data: crasher(p)}, {name: "set", mode: 0o4755, uid: 33, data: string(data)}})
}

// crasher is an ELF program whose one instruction is illegal.
func crasher(p pipelines.Platform) string {
	machine, code := uint16(183), []byte{0, 0, 0, 0} // arm64: udf #0
	if p.Architecture == "amd64" {
		machine, code = 62, []byte{0x0f, 0x0b, 0, 0} // ud2
	}
	const base, size = 0x400000, 64 + 56 + 4
	header := elf.Header64{Type: uint16(elf.ET_EXEC), Machine: machine, Version: 1, Entry: base + 120, Phoff: 64, Ehsize: 64, Phentsize: 56, Phnum: 1}
	copy(header.Ident[:], "\x7fELF\x02\x01\x01")
	segment := elf.Prog64{Type: uint32(elf.PT_LOAD), Flags: 5, Vaddr: base, Paddr: base, Filesz: size, Memsz: size, Align: 0x1000}
	var b bytes.Buffer
	for _, v := range []any{header, segment, code} {
		if err := binary.Write(&b, binary.LittleEndian, v); err != nil {
			panic(err) // fixed sizes into memory
		}
	}
	return b.String()
}

// SetuidForeign runs a setuid program (user 33) of the foreign platform as another
// user and gives what it says about itself.
func SetuidForeign(t *testing.T, b builders.Builder) string {
	t.Helper()
	p := Foreign()
	return buildWith(t, b, pipelines.From(p, guestBase(t, p)).Then(pipelines.Run{Args: []string{"/set", "arch", "/tmp/x"}, User: "5:6"})).events.log()
}

var foreignCases = []testCase{
	{"a foreign platform", func(t *testing.T, s *suite) {
		p := Foreign()
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
		err, _ = s.fail(t, img.Then(pipelines.Run{Args: []string{"/crash"}}))
		if step := asStep(t, err); !step.Emulator {
			t.Errorf("a crash under the emulator: %+v", step)
		}
	}},
	{"files for a platform that cannot run", func(t *testing.T, s *suite) {
		p := pipelines.Platform{OS: "linux", Architecture: "loong64"}
		got := s.build(t, pipelines.From(p, pipelines.Scratch{}).Then(pipelines.File{Path: "/x"}, pipelines.Configure{Cmd: []string{"/x"}}))
		got.want(t, "x file 0644 0:0")
	}},
}
