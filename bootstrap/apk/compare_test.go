package apk_test

import (
	"archive/tar"
	"bufio"
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cfbuild/cfbuild/bootstrap/apk/apktest"
	"github.com/cfbuild/cfbuild/internal/testneed"
	"github.com/cfbuild/cfbuild/internal/testrepo/apkrepo"
	"github.com/cfbuild/cfbuild/pipelines"
)

// extras are packages with what Alpine's own small set does not have.
func extras() []apkrepo.Pkg {
	suid := apkrepo.Program("usr/bin/lift", "#!/bin/sh\n")
	suid.Mode = 0o4755
	return []apkrepo.Pkg{
		{Name: "daemon", Depends: []string{"/bin/sh", "alpine-baselayout"}, Provides: []string{"cmd:daemon=1.0-r0"},
			Scripts: map[string]string{
				"pre-install": "#!/bin/sh\naddgroup -S daemons\nadduser -S -D -H -h /var/lib/daemon -s /sbin/nologin -G daemons -g daemon daemond && exit 0\n" +
					// Debian's busybox has no adduser.
					"echo daemons:x:102:daemond >>/etc/group\necho daemond:x:101:102:daemon:/var/lib/daemon:/sbin/nologin >>/etc/passwd\n",
				"post-install": "#!/bin/sh\necho \"installed $1\" > /etc/daemon.installed\n",
			},
			Files: []apkrepo.Entry{
				apkrepo.Program("usr/sbin/daemon", "#!/bin/sh\necho daemon\n"),
				apkrepo.Owned(apkrepo.Dir("var/lib/daemon", 0o750), "daemond", 77, "daemons", 78),
				apkrepo.Owned(apkrepo.File("var/lib/daemon/state file", "x\n"), "daemond", 77, "daemons", 78),
				apkrepo.Owned(suid, "root", 0, "daemons", 78),
				// A group of another package, with another number there: the name counts.
				apkrepo.Owned(apkrepo.File("etc/daemon.secret", "x\n"), "root", 0, "shadow", 1042),
				apkrepo.Owned(apkrepo.File("etc/nobodys", "x\n"), "unheard-of", 4711, "unheard-of", 4712),
			}},
		{Name: "daemon-doc", InstallIf: []string{"daemon=1.0-r0", "docs"}, Files: []apkrepo.Entry{apkrepo.File("usr/share/doc/daemon", "read me\n")}},
		{Name: "docs"},
		{Name: "links", Files: []apkrepo.Entry{
			apkrepo.File("usr/share/links/b", "one content\n"), apkrepo.HardLink("usr/share/links/a", "usr/share/links/b"),
			apkrepo.Link("usr/share/links/c", "../links/a"), apkrepo.Dir("usr/share/links/empty", 0o700),
			apkrepo.File("usr/share/links/empty/.keep_this", ""),
			apkrepo.Xattr(apkrepo.Program("usr/bin/ping-ish", "#!/bin/sh\n"), "security.capability", "\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"),
		}},
		{Name: "old-tool", Origin: "old", Files: []apkrepo.Entry{apkrepo.File("usr/share/tool/shared", "old\n"), apkrepo.File("usr/share/tool/own", "old\n")}},
		{Name: "new-tool", Origin: "new", Depends: []string{"old-tool"}, Replaces: []string{"old-tool"},
			Files: []apkrepo.Entry{apkrepo.File("usr/share/tool/shared", "new\n")}},
		{Name: "watcher", Depends: []string{"/bin/sh"}, Triggers: []string{"/usr/share/*", "/none/*"},
			Scripts: map[string]string{"trigger": "#!/bin/sh\nfor d in \"$@\"; do echo \"$d\"; done | sort > /etc/watcher.saw\n"},
			Files:   []apkrepo.Entry{apkrepo.File("etc/watcher.conf", "x\n")}},
	}
}

// world are the packages to ask for: all but those that others bring.
func world(pkgs []apkrepo.Pkg) []string {
	var out []string
	for _, p := range pkgs {
		if p.Name != "daemon-doc" && p.Name != "old-tool" {
			out = append(out, p.Name)
		}
	}
	slices.Sort(out)
	return out
}

// TestSameAsApk compares a configured root with the one that the real apk makes of the
// same repository: every path's type, mode, owner, link, extended attributes and
// content, apk's database included. What may differ is in testdata/differences, each
// line with its reason; a line that is not needed fails the test.
func TestSameAsApk(t *testing.T) {
	tool := apkrepo.NewApk(t)
	t.Run("x86_64", func(t *testing.T) { sameAsApk(t, tool, amd64, "x86_64", append(apkrepo.Alpine(t), extras()...)) })
	// The scripts are emulated, ours and apk's.
	t.Run("aarch64", func(t *testing.T) {
		emulated(t)
		sameAsApk(t, tool, arm64, "aarch64", append(apktest.Small(t, "aarch64", "3.24"), extras()...))
	})
}

func emulated(t *testing.T) {
	t.Helper()
	if _, err := os.Stat("/proc/sys/fs/binfmt_misc/qemu-aarch64"); err != nil {
		testneed.Skip(t, "needs binfmt_misc for arm64 (make setup registers it)")
	}
}

func sameAsApk(t *testing.T, tool apkrepo.Apk, platform pipelines.Platform, arch string, pkgs []apkrepo.Pkg) {
	testneed.Root(t)
	world := world(pkgs)
	key := apkrepo.NewKey(t, "test-1.rsa.pub")
	dir := t.TempDir()
	apkrepo.Repo{Key: key, Date: now.Add(-time.Hour), Arch: arch, Pkgs: pkgs}.Write(t, dir)
	m := apkrepo.Serve(t, dir, "127.0.0.1")

	want := filepath.Join(t.TempDir(), "want")
	keys := filepath.Join(t.TempDir(), "keys")
	for _, d := range []string{want, keys} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(keys, key.Name), key.Public(t), 0o644); err != nil {
		t.Fatal(err)
	}
	args := []string{"--root", want, "--initdb", "--arch", arch, "--keys-dir", keys, "--repositories-file", "/dev/null", "--no-cache", "--no-progress",
		"-X", m.URL + "/v3.24/main", "add"}
	if out, err := tool.Run(append(args, append(world, "!links-extra", "!zlib-dev")...)...); err != nil {
		t.Fatalf("apk: %v\n%s", err, out)
	}

	r := request(t, key, []string{m.URL}, world...)
	r.Platform = platform
	r.Op.Exclude = []string{"zlib-dev", "links-extra"}
	root := makeRoot(t, r)
	got := configured(t, root)
	compare(t, scan(t, want), scan(t, got))

	// What apk itself thinks of our root.
	own := func(args ...string) string {
		t.Helper()
		out, err := tool.Run(append([]string{"--root", got, "--keys-dir", keys, "--repositories-file", "/dev/null", "--no-cache", "--no-progress", "-X", m.URL + "/v3.24/main"}, args...)...)
		if err != nil {
			t.Errorf("apk %s: %v\n%s", args, err, out)
		}
		return strings.TrimSpace(out)
	}
	for _, mode := range [][]string{{"audit", "--system"}, {"audit", "--backup"}} {
		theirs, err := tool.Run(append([]string{"--root", want}, mode...)...)
		if out := own(mode...); err != nil || out != strings.TrimSpace(theirs) {
			t.Errorf("apk %s says of ours:\n%s\nof its own (%v):\n%s", mode, out, err, theirs)
		}
	}
	theirs, _ := tool.Run("--root", want, "info", "-v")
	if ours, err := tool.Run("--root", got, "info", "-v"); err != nil || sorted(ours) != sorted(theirs) {
		t.Errorf("apk info -v (%v):\n%s\nits own:\n%s", err, ours, theirs)
	}
	for _, cmd := range [][]string{{"fix"}, {"upgrade"}, {"add", "busybox"}} {
		if out := own(cmd...); strings.Contains(out, "nstalling") || strings.Contains(out, "pgrading") || !strings.Contains(out, "OK: ") {
			t.Errorf("apk %s does something:\n%s", cmd, out)
		}
	}
	compare(t, scan(t, want), scan(t, got)) // still
	if out := own("del", "new-tool"); !strings.Contains(out, "Purging old-tool") {
		t.Errorf("apk del:\n%s", out)
	}

	if len(root.Packages) != len(pkgs) {
		t.Errorf("%d packages", len(root.Packages))
	}
	why := map[string]string{}
	for _, p := range root.Packages {
		why[p.Name] = p.Why
	}
	if why["daemon-doc"] != "installed with: daemon, docs" || why["busybox"] != "requested" || why["old-tool"] != "depends: new-tool" {
		t.Errorf("reasons: %v", why)
	}
}

func sorted(s string) string {
	lines := strings.Fields(s)
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// scan describes every path below dir in one line.
func scan(t testing.TB, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	inodes := map[uint64]string{}
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || p == dir {
			return err
		}
		var st syscall.Stat_t
		if err := syscall.Lstat(p, &st); err != nil {
			return err
		}
		rel := strings.TrimPrefix(p, dir)
		desc := fmt.Sprintf("%v %o %d:%d", d.Type(), st.Mode&0o7777, st.Uid, st.Gid)
		switch d.Type() {
		case 0:
			data, err := os.ReadFile(p)
			if err != nil {
				return err
			}
			desc += fmt.Sprintf(" %.12x", sha256.Sum256(normalise(rel, data)))
			if st.Nlink > 1 {
				if inodes[st.Ino] == "" {
					inodes[st.Ino] = rel
				}
				desc += " = " + inodes[st.Ino]
			}
		case fs.ModeSymlink:
			to, err := os.Readlink(p)
			if err != nil {
				return err
			}
			desc += " " + to
		}
		buf := make([]byte, 4096)
		if n, err := syscall.Getxattr(p, "security.capability", buf); err == nil && d.Type() == 0 {
			desc += fmt.Sprintf(" cap %x", buf[:n])
		}
		out[rel] = desc
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// normalise takes out an order that means nothing: apk 2.10 keeps its database in the
// order of installing, later versions by name, as we do.
func normalise(path string, data []byte) []byte {
	switch path {
	case "/lib/apk/db/installed":
		stanzas := strings.Split(strings.TrimSpace(string(data)), "\n\n")
		slices.Sort(stanzas)
		return []byte(strings.Join(stanzas, "\n\n"))
	case "/lib/apk/db/scripts.tar": // names have the package's checksum, in base64 or hex
		var out []string
		for r := tar.NewReader(bytes.NewReader(data)); ; {
			h, err := r.Next()
			if err != nil {
				break
			}
			body, _ := io.ReadAll(r)
			kind := h.Name[strings.LastIndexByte(h.Name, '.')+1:]
			pkg := strings.FieldsFunc(h.Name, func(r rune) bool { return r == '.' })[0]
			out = append(out, fmt.Sprintf("%s %s %o %x", pkg, kind, h.Mode, sha256.Sum256(body)))
		}
		slices.Sort(out)
		return []byte(strings.Join(out, "\n"))
	case "/lib/apk/db/triggers":
		lines := strings.Split(strings.TrimSpace(string(data)), "\n")
		slices.Sort(lines)
		return []byte(strings.Join(lines, "\n"))
	}
	return data
}

// difference is one line of testdata/differences.
type difference struct {
	glob, reason string
	used         bool
}

func differences(t testing.TB) []*difference {
	t.Helper()
	f, err := os.Open(filepath.Join("testdata", "differences"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var out []*difference
	for s := bufio.NewScanner(f); s.Scan(); {
		w := strings.Fields(s.Text())
		if len(w) == 0 || strings.HasPrefix(w[0], "#") {
			continue
		}
		if len(w) < 2 {
			t.Fatalf("testdata/differences: %q has no reason", s.Text())
		}
		out = append(out, &difference{glob: w[0], reason: strings.Join(w[1:], " ")})
	}
	return out
}

func compare(t testing.TB, want, got map[string]string) {
	t.Helper()
	allowed := differences(t)
	all := maps.Clone(want)
	maps.Copy(all, got)
	bad, excused := 0, 0
	for _, p := range slices.Sorted(maps.Keys(all)) {
		if want[p] == got[p] {
			continue
		}
		found := false
		for _, d := range allowed {
			if ok, _ := path.Match(d.glob, p); ok {
				d.used, found = true, true
			}
		}
		if found {
			excused++
			continue
		}
		if bad++; bad <= 50 {
			t.Errorf("%s\n  apk:  %s\n  ours: %s", p, want[p], got[p])
		}
	}
	t.Logf("%d paths, %d differ for a reason, %d for none", len(all), excused, bad)
	for _, d := range allowed {
		if !d.used {
			t.Errorf("testdata/differences: %s is not needed (%s)", d.glob, d.reason)
		}
	}
}
