//go:build containers_image_openpgp && exclude_graphdriver_btrfs

package main

import (
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/cfbuild/cfbuild/internal/testneed"
)

// within prepares the program to run in a user namespace of the test's own, in
// which all ids are as they are, by a shell script that ends in exec "$@". Settings
// and emulators of that namespace are not the machine's.
func within(w *world, script string, args ...string) *exec.Cmd {
	inner := w.start(args...)
	cmd := exec.Command("sh", append([]string{"-ec", script, "sh"}, inner.Args...)...)
	cmd.Dir, cmd.Env = inner.Dir, inner.Env
	all := []syscall.SysProcIDMap{{ContainerID: 0, HostID: 0, Size: 1<<32 - 1}}
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: all, GidMappings: all, GidMappingsEnableSetgroups: true}
	return cmd
}

// tell runs a command and gives what it said and its exit code.
func tell(cmd *exec.Cmd) (said string, code int) {
	out, _ := cmd.CombinedOutput() // the exit code tells
	return string(out), cmd.ProcessState.ExitCode()
}

// Without any emulator a foreign platform is refused before anything is built,
// with the command that mends it; the machine's own platform still works.
func TestNoEmulator(t *testing.T) {
	testneed.Root(t)
	w := newWorld(t, nil)
	const hide = `mount -t binfmt_misc binfmt_misc /proc/sys/fs/binfmt_misc
for f in /usr/bin/qemu-*-static /usr/libexec/qemu-binfmt/*; do [ ! -e "$f" ] || mount --bind /dev/null "$f"; done
exec "$@"`
	stderr, code := tell(within(w, hide, "run", "debian12", "--site", frozenSite(t), "--platform", "linux/s390x"))
	if code != 4 || !strings.Contains(stderr, "linux/s390x") || !strings.Contains(stderr, "qemu-user-static") {
		t.Errorf("exit code %d\n%s", code, stderr)
	}
	if strings.Contains(stderr, "download packages") {
		t.Error("packages were fetched for an image that cannot be built")
	}
	if stderr, code := tell(within(w, hide, "run", "debian12", "--site", frozenSite(t), "--progress", "plain")); code != 0 {
		t.Errorf("the machine's own platform: exit code %d\n%s", code, stderr)
	}
}

// An ordinary user whom the kernel gives no user namespaces is told which setting
// to change.
func TestNoUserNamespaces(t *testing.T) {
	testneed.Root(t)
	account := testneed.User(t)
	w := newWorld(t, &account)
	// A bound on user namespaces holds in the user namespace it is set in.
	const none = `echo 0 > /proc/sys/user/max_user_namespaces; exec "$@"`
	stderr, code := tell(within(w, none, "run", "debian12", "--site", frozenSite(t)))
	if code != 4 || !strings.Contains(stderr, "user namespace") || !strings.Contains(stderr, "hint: ") {
		t.Errorf("exit code %d\n%s", code, stderr)
	}
	out, code := tell(within(w, none, "doctor", "--site", frozenSite(t)))
	if code != 4 || !strings.Contains(out, "max_user_namespaces") {
		t.Errorf("doctor: exit code %d\n%s", code, out)
	}
}
