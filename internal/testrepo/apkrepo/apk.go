package apkrepo

import (
	"archive/tar"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/cfbuild/cfbuild/internal/testneed"
)

// Apk is the image's apk, to be run on this machine.
type Apk struct {
	dir string
	// Version is that of apk: "2.10.4".
	Version string
}

// Major says whether apk is of a major version: "2", "2.10".
func (a Apk) Major(version string) bool { return strings.HasPrefix(a.Version, version+".") }

var apkVersionRE = regexp.MustCompile(`^apk-tools ([0-9][^, ]*)`)

// NewApk unpacks the apk of [Root] with the libraries it needs into a directory of the
// test.
func NewApk(t testing.TB) Apk {
	t.Helper()
	root := Root(t)
	if out, err := exec.Command("uname", "-m").Output(); err != nil || strings.TrimSpace(string(out)) != "x86_64" {
		testneed.Skip(t, "the apk to compare with is for x86_64")
	}
	a := Apk{dir: t.TempDir()}
	for _, e := range root {
		lib := strings.HasPrefix(e.Name, "lib/") || strings.HasPrefix(e.Name, "usr/lib/")
		if e.Name != "sbin/apk" && e.Name != "usr/sbin/apk" && !(lib && strings.Contains(e.Name, ".so")) {
			continue
		}
		to := filepath.Join(a.dir, filepath.Base(e.Name))
		var err error
		switch {
		case e.Typeflag == tar.TypeReg:
			err = os.WriteFile(to, e.Data, 0o755)
		case filepath.Base(e.Linkname) != filepath.Base(e.Name): // else: from /usr/lib to /lib
			err = os.Symlink(filepath.Base(e.Linkname), to)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	out, err := a.Run("--version")
	m := apkVersionRE.FindStringSubmatch(out)
	if m == nil {
		t.Fatalf("apk of the image does not say its version: %v\n%s", err, out)
	}
	a.Version = m[1]
	t.Logf("apk %s", a.Version)
	return a
}

// Command is apk with arguments.
func (a Apk) Command(args ...string) *exec.Cmd {
	return exec.Command(filepath.Join(a.dir, "ld-musl-x86_64.so.1"), append([]string{"--library-path", a.dir, filepath.Join(a.dir, "apk")}, args...)...)
}

// Run runs apk and gives what it prints.
func (a Apk) Run(args ...string) (string, error) {
	out, err := a.Command(args...).CombinedOutput()
	return string(out), err
}
