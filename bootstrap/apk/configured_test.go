package apk_test

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cfbuild/cfbuild/bootstrap/apk/apktest"
	"github.com/cfbuild/cfbuild/internal/golden"
	"github.com/cfbuild/cfbuild/internal/steptrust"
	"github.com/cfbuild/cfbuild/internal/testneed"
	"github.com/cfbuild/cfbuild/internal/testrepo/apkrepo"
	"github.com/cfbuild/cfbuild/pipelines"
)

// TestConfigured makes roots of a small Alpine for two architectures and runs their
// scripts: every path is what testdata/configured.txt says, on both. [TestSameAsApk] has
// the real apk say it, where there is one.
func TestConfigured(t *testing.T) {
	for _, c := range []struct {
		arch     string
		platform pipelines.Platform
	}{{"x86_64", amd64}, {"aarch64", arm64}} {
		t.Run(c.arch, func(t *testing.T) {
			testneed.Root(t)
			if c.arch == "aarch64" {
				emulated(t)
			}
			key := apkrepo.NewKey(t, "test-1.rsa.pub")
			dir := t.TempDir()
			pkgs := append(apktest.Small(t, c.arch, "3.24"), extras()...)
			apkrepo.Repo{Key: key, Date: now.Add(-time.Hour), Arch: c.arch, Pkgs: pkgs}.Write(t, dir)
			r := request(t, key, []string{apkrepo.Serve(t, dir, "127.0.0.1").URL}, world(pkgs)...)
			r.Platform = c.platform
			root := makeRoot(t, r)
			if len(root.Packages) != len(pkgs) || len(root.Configure) != 1 {
				t.Errorf("%d packages, %d steps", len(root.Packages), len(root.Configure))
			}
			got := configured(t, root)
			golden.Check(t, "configured.txt", listing(t, got, c.arch))

			// What the database says of owners that a script has made.
			db, err := os.ReadFile(filepath.Join(got, "lib/apk/db/installed"))
			for _, want := range []string{"F:var/lib/daemon\nM:101:102:750\nR:state file\na:101:102:644\n", "R:lift\na:0:102:4755\n", "R:nobodys\na:4711:4712:644\n", "R:daemon.secret\na:0:42:644\n"} {
				if err != nil || !bytes.Contains(db, []byte(want)) {
					t.Errorf("the database lacks %q: %v", want, err)
				}
			}
			if n := bytes.Count(db, []byte("\nP:")) + bytes.Count(db, []byte("{")); n != len(pkgs) {
				t.Errorf("the database has %d packages and marks, want %d", n, len(pkgs))
			}
			// The scripts have worked on programs of the architecture.
			if out, err := inRoot(t, got, "/bin/sh", "-c", "uname -m; cat /etc/apk/arch"); err != nil || out != c.arch+"\n"+c.arch {
				t.Errorf("uname: %q, %v", out, err)
			}
			if out, err := inRoot(t, got, "ls", "-ld", "/var/lib/daemon"); err != nil || !strings.Contains(out, " daemond  daemons ") {
				t.Errorf("ls: %q, %v", out, err)
			}
		})
	}
}

var (
	// vary are files whose content differs by architecture, with Debian's busybox or with
	// the roots of the day.
	vary = []string{"/bin/busybox", "/etc/apk/arch", "/etc/ssl/certs/ca-certificates.crt", "/lib/apk/db/installed", "/lib/apk/db/triggers",
		"/usr/share/ca-certificates/mozilla.crt"}
	// told are files whose content is in testdata/configured.txt, in place of a hash.
	told = []string{"/etc/apk/world", "/etc/baselayout.nobody", "/etc/daemon.installed", "/etc/group", "/etc/passwd", "/etc/watcher.saw", "/usr/share/tool/shared"}
)

// listing is [scan] as text, without what varies. The links to busybox that it makes
// itself are counted.
func listing(t *testing.T, dir, arch string) []byte {
	t.Helper()
	all := scan(t, dir)
	var b bytes.Buffer
	links := 0
	for _, p := range slices.Sorted(maps.Keys(all)) {
		desc := all[p]
		switch {
		case strings.HasSuffix(desc, " /bin/busybox") && p != "/bin/sh":
			links++
			continue
		case slices.Contains(vary, p):
			desc = desc[:strings.LastIndexByte(desc, ' ')] + " …"
		case slices.Contains(told, p):
			data, err := os.ReadFile(filepath.Join(dir, p))
			if err != nil {
				t.Error(err)
			}
			desc = fmt.Sprintf("%s %q", desc[:strings.LastIndexByte(desc, ' ')], data)
		}
		fmt.Fprintf(&b, "%s %s\n", p, desc)
	}
	if links < 200 {
		t.Errorf("busybox made %d links to itself", links)
	}
	for _, name := range []string{"bin/ls", "usr/bin/id", "sbin/init"} {
		if to, err := os.Readlink(filepath.Join(dir, name)); err != nil || path.Base(to) != "busybox" {
			t.Errorf("%s is a link to %q: %v", name, to, err)
		}
	}
	for name, want := range map[string]string{"etc/apk/arch": arch + "\n", "etc/ssl/certs/ca-certificates.crt": string(steptrust.Mozilla())} {
		if got, _ := os.ReadFile(filepath.Join(dir, name)); string(got) != want {
			t.Errorf("/%s is %.80q", name, got)
		}
	}
	return b.Bytes()
}
