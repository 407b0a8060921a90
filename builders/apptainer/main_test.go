package apptainer_test

import (
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/cfbuild/cfbuild/builders"
	"github.com/cfbuild/cfbuild/builders/apptainer"
	"github.com/cfbuild/cfbuild/internal/testneed"
)

// guarded in the environment: the tests run where a builder that spoils the host's
// directories spoils stand-ins.
const guarded = "CFBUILD_TEST_GUARDED"

func TestMain(m *testing.M) {
	if apptainer.Child() {
		return
	}
	if os.Geteuid() == 0 && os.Getenv(guarded) == "" {
		// The log is below /tmp, which is another there.
		args := slices.DeleteFunc(os.Args[1:], func(a string) bool { return strings.HasPrefix(a, "-test.testlogfile=") })
		cmd := exec.Command("/proc/self/exe", args...)
		cmd.Env = append(os.Environ(), guarded+"=1")
		cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
		if err := cmd.Run(); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		return
	}
	if os.Getenv(guarded) != "" && os.Geteuid() == 0 {
		if err := guard(); err != nil {
			fmt.Println("guard:", err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

// guard mounts empty directories over those that Apptainer shows to steps.
func guard() error {
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		return err
	}
	for _, dir := range []string{"/tmp", "/var/tmp", "/dev/shm"} {
		if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "mode=1777"); err != nil {
			return fmt.Errorf("%s: %w", dir, err)
		}
	}
	return nil
}

// opener gives builders with a state directory of their own.
func opener(t *testing.T) builders.Builder {
	t.Helper()
	program := testneed.Apptainer(t, "../../scripts/apptainer")
	b, err := apptainer.Backend().Open(t.Context(), builders.Options{Address: program, StateDir: t.TempDir(), Log: testLog{t}})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

type testLog struct{ t *testing.T }

func (l testLog) Write(p []byte) (int, error) {
	l.t.Logf("%s", p)
	return len(p), nil
}
