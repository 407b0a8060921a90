//go:build linux && cgo && containers_image_openpgp && exclude_graphdriver_btrfs

package buildah_test

import (
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
		if err := os.Chown(p, u.UID, u.GID); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(exe, "-test.v", "-test.run", run)
	cmd.Dir = dir
	cmd.Env = append([]string{"PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", "HOME=" + dir + "/home", "USER=" + u.Name, "LOGNAME=" + u.Name,
		"XDG_RUNTIME_DIR=" + dir + "/run", "TMPDIR=" + dir + "/tmp", "CFBUILD_REQUIRE=" + os.Getenv("CFBUILD_REQUIRE")}, env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(u.UID), Gid: uint32(u.GID)}}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("as %s: %v\n%s", u.Name, err, out)
	}
	if strings.Contains(string(out), "no tests to run") {
		t.Errorf("as %s: no tests ran", u.Name)
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
