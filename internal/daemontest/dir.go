package daemontest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// dirs is what names of directories begin with; a process's number follows. It is short:
// paths of sockets are at most 107 bytes long.
const dirs = "cfb-"

// Dir makes a directory for a daemon's state and sockets. It ends with the test; mounts in
// it are seen in the daemon's cage alone.
func Dir(t testing.TB) string {
	t.Helper()
	sweep()
	dir, err := os.MkdirTemp("", fmt.Sprintf("%s%d-", dirs, os.Getpid()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Errorf("the daemon's directory: %v", err)
		}
	})
	// Other accounts have their sockets in it.
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// sweep takes away what tests have left that were killed. Their daemons ended with them.
func sweep() {
	all, _ := filepath.Glob(filepath.Join(os.TempDir(), dirs+"*"))
	for _, dir := range all {
		st, err := os.Lstat(dir)
		if err == nil && st.IsDir() && st.Sys().(*syscall.Stat_t).Uid == uint32(os.Getuid()) && dead(filepath.Base(dir), dirs) {
			_ = os.RemoveAll(dir)
		}
	}
	if os.Geteuid() != 0 {
		return
	}
	// Below each hierarchy and where the processes of this one are; deeper ones are theirs.
	left, _ := filepath.Glob("/sys/fs/cgroup/*/" + groups + "*")
	more, _ := filepath.Glob("/sys/fs/cgroup/" + groups + "*")
	for _, g := range append(left, more...) {
		if name := filepath.Base(g); dead(name, groups) {
			_ = removeGroups("/sys/fs/cgroup", name)
		}
	}
}

// dead: the process that a name tells of is no more.
func dead(name, prefix string) bool {
	number, _, _ := strings.Cut(strings.TrimPrefix(name, prefix), "-")
	pid, err := strconv.Atoi(number)
	return err == nil && pid > 0 && errors.Is(syscall.Kill(pid, 0), syscall.ESRCH)
}
