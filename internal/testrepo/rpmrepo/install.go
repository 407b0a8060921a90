package rpmrepo

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/cfbuild/cfbuild/internal/testneed"
)

// Install makes a root of packages with this machine's own dnf, signatures checked:
// what to compare with. It needs root; /dev has the usual nodes.
func Install(t testing.TB, r Repo, names ...string) string {
	t.Helper()
	// Not t.TempDir: capabilities and devices are wanted as they are on disk.
	root, err := os.MkdirTemp("", "cfbuild-rpm-root-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(root) })
	if err := os.Chmod(root, 0o755); err != nil {
		t.Fatal(err)
	}
	dev := filepath.Join(root, "dev")
	if err := os.Mkdir(dev, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, n := range []struct {
		name         string
		major, minor int
	}{{"null", 1, 3}, {"zero", 1, 5}, {"random", 1, 8}, {"urandom", 1, 9}} {
		if err := syscall.Mknod(filepath.Join(dev, n.name), syscall.S_IFCHR|0o666, n.major<<8|n.minor); err != nil {
			t.Fatal(err)
		}
		os.Chmod(filepath.Join(dev, n.name), 0o666)
	}
	home := t.TempDir()
	put(t, filepath.Join(home, ".rpmmacros"), []byte("%_dbpath /var/lib/rpm\n"))
	put(t, filepath.Join(home, "dnf.conf"), []byte("[main]\nreposdir="+home+"/none\ncachedir="+home+"/cache\nlogdir="+home+"\n"+
		"[test]\nname=test\nbaseurl=file://"+r.Dir+"\ngpgcheck=1\nrepo_gpgcheck=1\ngpgkey=file://"+r.Dir+"/RPM-GPG-KEY\n"))
	args := append([]string{"-y", "-q", "-c", filepath.Join(home, "dnf.conf"), "--installroot", root, "--releasever", "9", "--forcearch", r.Arch,
		"--setopt", "install_weak_deps=False", "install"}, names...)
	cmd := testneed.Alone(testneed.Program(t, "dnf"), args...)
	cmd.Env = append(os.Environ(), "HOME="+home, "LC_ALL=C.UTF-8", fmt.Sprint("SOURCE_DATE_EPOCH=", Made.Unix()))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("dnf: %v\n%s", err, out)
	}
	// dnf's cache and logs, whose paths it takes for paths in the root.
	if err := os.RemoveAll(filepath.Join(root, filepath.Dir(home))); err != nil {
		t.Fatal(err)
	}
	return root
}
