package rpmrepo

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cfbuild/cfbuild/internal/testneed"
)

// TestDistributionRuns installs it with this machine's own dnf and runs it.
func TestDistributionRuns(t *testing.T) {
	testneed.Root(t)
	d := Distribution(t, "x86_64")
	for _, name := range []string{"bash", "dnf", "rpm", "glibc", "setup", "filesystem", "centos-stream-release", "fixture"} {
		if !slices.Contains(d.Names, name) {
			t.Errorf("it has no %s: %s", name, strings.Join(d.Names, " "))
		}
	}
	root := Install(t, d, "bash", "coreutils", "dnf", "rpm", "centos-stream-release", "ca-certificates", "fixture")
	for _, c := range []struct{ cmd, want string }{
		{"rpm -q --qf '%{NAME} %{EVR}' centos-stream-release", "centos-stream-release 9.0-26.el9"},
		{"rpm -Va --nomtime --noghost --noconfig && echo fine", "fine"},
		{"stat -c '%U %G %a' /usr/share/fixture/owned", "fixture fixture 640"},
		{"stat -c '%h %s' /usr/share/fixture/hard-1", "2 5"},
		{"cat /etc/fixture/made-by-post", "/usr/share/fixture/data"},
		{"cat /etc/fixture/made-by-lua", "Lua 5."},
		{"dnf --version | tail -1", ""},
		{"test $(wc -l </etc/ssl/certs/ca-certificates.crt) -gt 1000 && echo many", "many"},
	} {
		out, err := exec.Command(testneed.Program(t, "chroot"), root, "/bin/sh", "-c", c.cmd).CombinedOutput()
		if err != nil || !strings.Contains(string(out), c.want) {
			t.Errorf("%s: %v\n%s", c.cmd, err, out)
		}
	}
}

// TestForeignDistribution is about its making only.
func TestForeignDistribution(t *testing.T) {
	d := Distribution(t, "aarch64")
	bash, err := filepath.Glob(filepath.Join(d.Dir, "Packages/bash-*.aarch64.rpm"))
	if err != nil || len(bash) != 1 {
		t.Fatalf("%v %v", bash, err)
	}
	out, err := exec.Command(testneed.Program(t, "rpm"), "-qp", "--nosignature", "--qf", "%{ARCH}", bash[0]).Output()
	if err != nil || string(out) != "aarch64" {
		t.Errorf("rpm -qp: %v %s", err, out)
	}
}

// TestCopy: what is changed in a copy does not change the original.
func TestCopy(t *testing.T) {
	d := Distribution(t, "x86_64")
	c := d.Copy(t, t.TempDir())
	Tamper(t, c.Dir, "Packages/leaf-*.rpm")
	name := filepath.Join("Packages", "leaf-1.0-1.el9.noarch.rpm")
	a, err1 := os.ReadFile(filepath.Join(d.Dir, name))
	b, err2 := os.ReadFile(filepath.Join(c.Dir, name))
	if err1 != nil || err2 != nil || string(a) == string(b) {
		t.Errorf("the same: %v %v", err1, err2)
	}
}
