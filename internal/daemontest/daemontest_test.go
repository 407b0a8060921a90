package daemontest

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/cfbuild/cfbuild/internal/testneed"
)

// script has a daemon that makes processes, and as root mounts and control groups.
const script = `
if [ "$(id -u)" = 0 ]; then
	mount -t tmpfs tmpfs "$1/mounted"
	for g in /sys/fs/cgroup/*/cgroup.procs /sys/fs/cgroup/cgroup.procs; do
		[ ! -e "$g" ] || mkdir -p "${g%/*}/inner"
	done
fi
sleep 876543 &
setsid sleep 876543 &
trap 'echo told to end; exit 0' TERM
touch "$1/up"
while :; do sleep 0.05; done`

func start(t *testing.T) (*Daemon, string) {
	t.Helper()
	dir := Dir(t)
	if err := os.Mkdir(filepath.Join(dir, "mounted"), 0o755); err != nil {
		t.Fatal(err)
	}
	d := Start(t, Spec{Args: []string{"sh", "-euc", script, "daemon", dir}, Env: os.Environ(), Log: filepath.Join(dir, "log")})
	d.WaitFor(func() error { _, err := os.Stat(filepath.Join(dir, "up")); return err })
	return d, dir
}

func TestNothingIsLeft(t *testing.T) {
	testneed.Root(t)
	for name, end := range map[string]func(*Daemon){"stop": (*Daemon).Stop, "kill": (*Daemon).Kill} {
		t.Run(name, func(t *testing.T) {
			d, dir := start(t)
			end(d)
			if told := strings.Contains(d.Tail(), "told to end"); told != (name == "stop") {
				t.Errorf("told to end: %v; %s", told, d.Tail())
			}
			all, _ := filepath.Glob("/proc/[0-9]*/environ")
			for _, f := range all {
				if b, err := os.ReadFile(strings.Replace(f, "environ", "cmdline", 1)); err == nil && string(b) == "sleep\x00876543\x00" {
					t.Errorf("%s still runs", filepath.Dir(f))
				}
			}
			if b, err := os.ReadFile("/proc/self/mountinfo"); err != nil || strings.Contains(string(b), dir) {
				t.Errorf("%v; mounts: %s", err, b)
			}
			if out, err := exec.Command("find", "/sys/fs/cgroup", "-name", d.group).Output(); err != nil || len(out) != 0 {
				t.Errorf("%v; control groups: %s", err, out)
			}
		})
	}
}

// Test helpers of a process that is no more are swept away, those of one that runs are not.
func TestSweep(t *testing.T) {
	testneed.Root(t)
	t.Setenv("TMPDIR", t.TempDir())
	cmd := exec.Command("true")
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	gone := filepath.Join(os.TempDir(), dirs+strconv.Itoa(cmd.Process.Pid)+"-1")
	group := "/sys/fs/cgroup/" + groups + strconv.Itoa(cmd.Process.Pid) + "-1"
	if _, err := os.Stat("/sys/fs/cgroup/cgroup.procs"); err != nil {
		all, _ := filepath.Glob("/sys/fs/cgroup/*/cgroup.procs")
		if len(all) == 0 {
			testneed.Skip(t, "no control groups")
		}
		group = filepath.Join(filepath.Dir(all[0]), filepath.Base(group))
	}
	stranger := filepath.Join(os.TempDir(), dirs+"x")
	for _, dir := range []string{gone, group, stranger} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	ours := Dir(t)
	for dir, want := range map[string]bool{gone: false, group: false, ours: true, stranger: true} {
		if _, err := os.Stat(dir); errors.Is(err, os.ErrNotExist) == want {
			t.Errorf("%s: %v", dir, err)
		}
	}
}
