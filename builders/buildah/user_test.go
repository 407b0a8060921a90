//go:build linux && cgo && containers_image_openpgp && exclude_graphdriver_btrfs

package buildah_test

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/cfbuild/cfbuild/builders"
	"github.com/cfbuild/cfbuild/builders/builderstest"
	"github.com/cfbuild/cfbuild/internal/testneed"
)

// asUser runs tests of this binary as an ordinary user and gives their output.
func asUser(t *testing.T, run string, env ...string) string {
	t.Helper()
	testneed.Root(t)
	u := testneed.User(t)
	return elsewhere(t, run, u.UID, u.GID, &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(u.UID), Gid: uint32(u.GID)}},
		append(env, "USER="+u.Name, "LOGNAME="+u.Name)...)
}

// inNamespace runs tests of this binary as root of a user namespace.
func inNamespace(t *testing.T, run string, env ...string) string {
	t.Helper()
	testneed.Root(t)
	const first = 700000
	ids := []syscall.SysProcIDMap{{ContainerID: 0, HostID: first, Size: 65536}}
	return elsewhere(t, run, first, first, &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS, UidMappings: ids, GidMappings: ids,
		GidMappingsEnableSetgroups: true, Credential: &syscall.Credential{}}, env...)
}

// elsewhere runs tests of this binary in another process, with a home of its own.
func elsewhere(t *testing.T, run string, uid, gid int, attr *syscall.SysProcAttr, env ...string) string {
	t.Helper()
	dir, err := os.MkdirTemp("/var/tmp", "cfbuild-user-")
	if err != nil {
		t.Fatal(err)
	}
	// Files of subordinate ids: only root can remove them from outside.
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	exe := filepath.Join(dir, "test")
	copyFile(t, "/proc/self/exe", exe)
	for _, d := range []string{"home", "run", "tmp"} {
		p := filepath.Join(dir, d)
		if err := os.Mkdir(p, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(p, uid, gid); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(exe, "-test.v", "-test.run", run)
	if attr == nil {
		// Inside a mount namespace where parts of /proc are hidden, as containers
		// have it: the kernel then mounts no other /proc below.
		script := "mount -t tmpfs tmpfs /proc/fs && mount --bind /dev/null /proc/keys && exec \"$@\""
		cmd = exec.Command(testneed.Program(t, "unshare"), "-m", "sh", "-c", script, "sh",
			testneed.Program(t, "setpriv"), "--reuid", fmt.Sprint(uid), "--regid", fmt.Sprint(gid), "--clear-groups", exe, "-test.v", "-test.run", run)
	}
	cmd.Dir = dir
	cmd.Env = append([]string{"PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", "HOME=" + dir + "/home",
		"XDG_RUNTIME_DIR=" + dir + "/run", "TMPDIR=" + dir + "/tmp", "CFBUILD_REQUIRE=" + os.Getenv("CFBUILD_REQUIRE")}, env...)
	cmd.SysProcAttr = attr
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("elsewhere: %v\n%s", err, out)
	}
	if strings.Contains(string(out), "no tests to run") || !strings.Contains(string(out), "--- ") {
		t.Errorf("elsewhere: no tests ran\n%s", out)
	}
	return string(out)
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	in, err := os.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(out, in); err != nil {
		t.Fatal(err)
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestConformanceAsUser(t *testing.T) {
	out := asUser(t, "^TestConformance$", builderstest.GuestEnv+"="+sharedGuest(t))
	if !strings.Contains(out, "--- PASS: TestConformance/several_at_once") {
		t.Errorf("the suite did not run:\n%s", out)
	}
}

// TestInContainer: an ordinary user in a container whose /proc is partly hidden.
func TestInContainer(t *testing.T) {
	testneed.Root(t)
	u := testneed.User(t)
	out := elsewhere(t, "^TestConformance$/^(environment|what_steps|what_a_step|network|secrets|a_step_fails|cancelling)", u.UID, u.GID, nil, "USER="+u.Name)
	if !strings.Contains(out, "--- PASS: TestConformance/what_steps_find") {
		t.Errorf("the suite did not run:\n%s", out)
	}
}

// sharedGuest is a guest that other users can read.
func sharedGuest(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/var/tmp", "cfbuild-guest-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	guest := filepath.Join(dir, "guest")
	copyFile(t, builderstest.Guest(t, builderstest.Foreign()), guest)
	return guest
}

// hideBinfmt makes the process's user namespace one without emulators.
const hideBinfmt = "CFBUILD_TEST_HIDE_BINFMT"

// TestForeignWithoutHost: steps of foreign platforms run in a user namespace where
// the machine's registrations do not count.
func TestForeignWithoutHost(t *testing.T) {
	testneed.Program(t, "qemu-aarch64-static")
	out := inNamespace(t, "^(TestOwnRegistration|TestConformance|TestSetuidForeign)$/^(a_foreign.*)?$", hideBinfmt+"=1", builderstest.GuestEnv+"="+sharedGuest(t))
	for _, want := range []string{"PASS: TestOwnRegistration", "PASS: TestConformance/a_foreign_platform", "PASS: TestSetuidForeign"} {
		if !strings.Contains(out, want) {
			t.Errorf("%s is not in\n%s", want, out)
		}
	}
}

// TestSetuidForeign: what we register makes setuid programs work.
func TestSetuidForeign(t *testing.T) {
	if os.Getenv(hideBinfmt) == "" {
		return // runs in TestForeignWithoutHost
	}
	b := opener(builders.Options{})(t)
	caps, err := b.Capabilities(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(caps.Emulated, builderstest.Foreign()) || !slices.ContainsFunc(caps.Detail, func(d string) bool { return strings.Contains(d, "of its own") }) {
		t.Errorf("capabilities %+v", caps)
	}
	if log := builderstest.SetuidForeign(t, b); !strings.Contains(log, "as 33") {
		t.Errorf("log %q", log)
	}
}

var ways = []builders.Options{
	{Isolation: "chroot", Driver: "overlay"},
	{Isolation: "runc", Driver: "overlay"},
	{Isolation: "chroot", Driver: "fuse-overlayfs"},
	{Isolation: "chroot", Driver: "vfs"},
	{Isolation: "runc", Driver: "vfs"},
}

// TestDigests builds one image in every way and logs the digests.
func TestDigests(t *testing.T) {
	first := ""
	for _, o := range ways {
		t.Run(o.Isolation+" "+o.Driver, func(t *testing.T) {
			if o.Isolation == "runc" {
				testneed.Program(t, "runc")
			}
			b := opener(o)(t)
			if caps, err := b.Capabilities(t.Context()); err != nil {
				t.Fatal(err)
			} else if !caps.Available {
				testneed.Skip(t, caps.Reason)
			} else if !slices.ContainsFunc(caps.Detail, func(d string) bool { return strings.HasPrefix(d, "storage: "+o.Driver) }) {
				t.Fatalf("asked for %s, got %q", o.Driver, caps.Detail)
			}
			d := builderstest.Digest(t, b)
			if first == "" {
				first = d
				t.Logf("digest: %s", d)
			}
			if d != first {
				t.Errorf("got %s, want %s", d, first)
			}
		})
	}
}

// TestSameDigestAsUser: root and an ordinary user build the same image.
func TestSameDigestAsUser(t *testing.T) {
	out := asUser(t, "^TestDigests$")
	m := regexp.MustCompile(`digest: (sha256:[0-9a-f]{64})`).FindStringSubmatch(out)
	if m == nil {
		t.Fatalf("no digest in\n%s", out)
	}
	if d := builderstest.Digest(t, opener(builders.Options{})(t)); d != m[1] {
		t.Errorf("root built %s, the user %s", d, m[1])
	}
}
