//go:build !no_buildkit && linux && containers_image_openpgp

package buildkit

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/cfbuild/cfbuild/internal/testneed"
)

// The first process ends as its child did, on every processor there is code for.
func TestFirstProcess(t *testing.T) {
	emulators := map[string]string{"amd64": "qemu-x86_64-static", "arm64": "qemu-aarch64-static"}
	for arch := range initCode {
		t.Run(arch, func(t *testing.T) {
			program := filepath.Join(t.TempDir(), "init")
			if err := os.WriteFile(program, initProgram(arch), 0o755); err != nil {
				t.Fatal(err)
			}
			argv := []string{program}
			if arch != runtime.GOARCH {
				argv = []string{testneed.Program(t, emulators[arch]), program}
			}
			for script, want := range map[string]int{
				"exit 0":                      0,
				"exit 7":                      7,
				"kill -9 $$":                  128 + 9,
				"kill -ABRT $$":               128 + 6,
				"(sleep 0.1 &) ; exit 3":      3,
				`test "$0 $*" = "name a b"`:   0,
				`test "$KEPT" = "from above"`: 0,
			} {
				cmd := exec.Command(argv[0], append(argv[1:], "/bin/sh", "-c", script, "name", "a", "b")...)
				cmd.Env = append(os.Environ(), "KEPT=from above")
				err := cmd.Run()
				var exit *exec.ExitError
				if err != nil && !errors.As(err, &exit) {
					t.Fatal(err)
				}
				if got := cmd.ProcessState.ExitCode(); got != want {
					t.Errorf("%s: %d, want %d", script, got, want)
				}
			}
			if err := exec.Command(argv[0], append(argv[1:], "/nowhere/at/all")...).Run(); err == nil || err.Error() != "exit status 127" {
				t.Errorf("no program: %v", err)
			}
		})
	}
}
