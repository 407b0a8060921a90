package unpack

import (
	"archive/tar"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/cfbuild/cfbuild/bootstrap/deb/debtest"
)

func content(m map[string]*tar.Header, path string) string {
	if m[path] == nil {
		return "(missing)"
	}
	return m[path].PAXRecords["content"]
}

func TestDatabase(t *testing.T) {
	base := debtest.Deb{Name: "base-passwd", Arch: "amd64", Fields: []string{"Essential: yes", "Pre-Depends: libc6"},
		Files: []*tar.Header{debtest.File("usr/share/base-passwd/passwd.master", "root:*:0:0::/root:/bin/sh\n"),
			debtest.File("usr/share/base-passwd/group.master", "root:*:0:\n"), debtest.File("etc/base.conf", "base")},
		Control: map[string]string{"conffiles": "/etc/base.conf\n", "preinst": "#!/bin/sh\n", "md5sums": "as shipped\n"}}
	libc := debtest.Deb{Name: "libc6", Arch: "amd64", Fields: []string{"Multi-Arch: same"},
		Files:   []*tar.Header{debtest.File("usr/lib/libc.so", "libc")},
		Control: map[string]string{"triggers": "# comment\nactivate-noawait ldconfig\ninterest /usr/lib/x\n", "shlibs": "libc 6\n"}}
	app := debtest.Deb{Name: "app", Fields: []string{"Homepage: https://example.org/ ", "X-Empty:"},
		Files: []*tar.Header{debtest.File("etc/app.conf", "app"), debtest.File("etc/app.d/two", "two"),
			debtest.File("usr/bin/app", "app"), debtest.HardLink("usr/bin/app2", "usr/bin/app"), debtest.Link("usr/bin/app3", "app")},
		Control: map[string]string{"conffiles": "/etc/app.conf\n/etc/app.d/two\nremove-on-upgrade /etc/app.old\n",
			"triggers": "interest-noawait appcache\n", "postinst": "#!/bin/sh\nexit 0\n"}}
	got, s := must(t, Options{}, base, libc, app)

	for path, want := range map[string]string{
		"var/lib/dpkg/arch":                       "amd64\n",
		"var/lib/dpkg/info/format":                "1\n",
		"var/lib/dpkg/info/libc6:amd64.list":      "/.\n/usr\n/usr/lib\n/usr/lib/libc.so\n",
		"var/lib/dpkg/info/libc6:amd64.shlibs":    "libc 6\n",
		"var/lib/dpkg/info/libc6:amd64.md5sums":   "e5823ba08cf6f8acc6662017ec572078  usr/lib/libc.so\n",
		"var/lib/dpkg/info/base-passwd.md5sums":   "as shipped\n",
		"var/lib/dpkg/info/app.md5sums":           "d2a57dc1d883fd21fb9951699df71cc7  usr/bin/app\nd2a57dc1d883fd21fb9951699df71cc7  usr/bin/app2\n",
		"var/lib/dpkg/info/app.list":              "/.\n/etc\n/etc/app.conf\n/etc/app.d\n/etc/app.d/two\n/usr\n/usr/bin\n/usr/bin/app\n/usr/bin/app2\n/usr/bin/app3\n",
		"var/lib/dpkg/triggers/File":              "/usr/lib/x libc6:amd64\n",
		"var/lib/dpkg/triggers/appcache":          "app/noawait\n",
		"var/lib/dpkg/triggers/Unincorp":          "",
		"etc/passwd":                              "root:*:0:0::/root:/bin/sh\n",
		"etc/group":                               "root:*:0:\n",
		"etc/app.conf.dpkg-new":                   "app",
		"etc/app.d/two.dpkg-new":                  "two",
		"etc/app.conf":                            "(missing)",
		"etc/base.conf":                           "base", // of the base: in place, too
		"etc/base.conf.dpkg-new":                  "base",
		"var/lib/apt/extended_states":             "(missing)", // no apt here
		"var/lib/dpkg/triggers/ldconfig":          "(missing)", // activated, nobody interested
		"var/lib/dpkg/info/base-passwd.control":   "(missing)",
		"var/lib/dpkg/info/app.postinst":          "#!/bin/sh\nexit 0\n",
		"var/lib/dpkg/info/libc6:amd64.triggers":  libc.Control["triggers"],
		"var/lib/dpkg/info/base-passwd.conffiles": "/etc/base.conf\n",
		"var/lib/dpkg/info/libc6:amd64.conffiles": "(missing)",
		"var/lib/dpkg/status": `Package: app
Status: install ok unpacked
Version: 1.0-1
Architecture: all
Maintainer: nobody <nobody@example.org>
Installed-Size: 6
Homepage: https://example.org/ 
X-Empty:
Description: test
 more of it
Conffiles:
 /etc/app.conf newconffile
 /etc/app.d/two newconffile
 /etc/app.old newconffile remove-on-upgrade

Package: base-passwd
Status: install ok unpacked
Version: 1.0-1
Architecture: amd64
Maintainer: nobody <nobody@example.org>
Installed-Size: 4
Essential: yes
Pre-Depends: libc6
Description: test
 more of it
Conffiles:
 /etc/base.conf newconffile

Package: libc6
Status: install ok unpacked
Version: 1.0-1
Architecture: amd64
Maintainer: nobody <nobody@example.org>
Installed-Size: 2
Multi-Arch: same
Description: test
 more of it

`,
	} {
		if c := content(got, path); c != want {
			t.Errorf("%s:\n%s\nwant\n%s", path, c, want)
		}
	}
	if m := got["var/lib/dpkg/info/app.postinst"].Mode; m != 0o755 {
		t.Errorf("postinst has mode %o", m)
	}
	for _, d := range []string{"alternatives", "parts", "updates"} {
		if h := got["var/lib/dpkg/"+d]; h == nil || h.Typeflag != tar.TypeDir {
			t.Errorf("no directory %s", d)
		}
	}
	if len(s.Phases) != 1 || len(s.Phases[0].Preinst) != 1 || s.Phases[0].Preinst[0] != (Script{"base-passwd", "base-passwd", "amd64"}) {
		t.Errorf("phases %+v", s.Phases)
	}
}

func TestExtendedStates(t *testing.T) {
	got, _ := must(t, Options{Arch: "arm64"}, debtest.Deb{Name: "apt", Arch: "arm64"}, debtest.Deb{Name: "lib", Arch: "all"},
		debtest.Deb{Name: "app", Arch: "arm64"}, debtest.Deb{Name: "lib2", Arch: "arm64"})
	want := "Package: lib\nArchitecture: arm64\nAuto-Installed: 1\n\nPackage: lib2\nArchitecture: arm64\nAuto-Installed: 1\n\n"
	if c := content(got, "var/lib/apt/extended_states"); c != want {
		t.Errorf("%q", c)
	}
}

func TestMergedUsr(t *testing.T) {
	debs := []debtest.Deb{
		{Name: "bash", Arch: "amd64", Files: []*tar.Header{debtest.File("bin/bash", "bash"), debtest.File("etc/x", "")}},
		{Name: "libc6", Arch: "amd64", Files: []*tar.Header{debtest.Link("lib64/ld.so", "/lib/ld.so"), debtest.File("lib/ld.so", "ld")}},
		{Name: "zz", Arch: "amd64", Files: []*tar.Header{debtest.File("usr/sbin/zz", "zz"), debtest.HardLink("sbin/zz2", "usr/sbin/zz")}},
	}
	got, _ := must(t, Options{MergedUsr: true}, debs...)
	for _, l := range []string{"bin", "lib", "sbin", "lib64"} {
		if h := got[l]; h == nil || h.Typeflag != tar.TypeSymlink || h.Linkname != "usr/"+l {
			t.Errorf("%s is %+v", l, h)
		}
		if h := got["usr/"+l]; h == nil || h.Typeflag != tar.TypeDir {
			t.Errorf("usr/%s is %+v", l, h)
		}
	}
	if got["lib32"] != nil || got["libx32"] != nil {
		t.Error("links that nobody needs")
	}
	if content(got, "usr/bin/bash") != "bash" || content(got, "usr/lib/ld.so") != "ld" || got["usr/lib64/ld.so"] == nil ||
		got["usr/sbin/zz2"].Linkname != "usr/sbin/zz" {
		t.Error("files are not below /usr")
	}
	// dpkg's list keeps the names of the package.
	if c := content(got, "var/lib/dpkg/info/bash.list"); !strings.Contains(c, "/bin/bash\n") || strings.Contains(c, "usr") {
		t.Errorf("list %q", c)
	}
	if got, _ = must(t, Options{}, debs...); got["bin"].Typeflag != tar.TypeDir || content(got, "bin/bash") != "bash" {
		t.Error("merged without being asked")
	}
	// base-files of later releases brings the links itself.
	base := debtest.Deb{Name: "base-files", Arch: "amd64", Files: []*tar.Header{
		debtest.Dir("usr/bin"), debtest.Link("bin", "usr/bin"), debtest.Dir("usr/lib64"), debtest.Link("lib64", "usr/lib64")}}
	base.Files[1].ModTime = epoch.Add(-1e9)
	got, _ = must(t, Options{MergedUsr: true}, append(debs, base)...)
	if h := got["bin"]; h.Linkname != "usr/bin" || !h.ModTime.Equal(epoch.Add(-1e9)) {
		t.Errorf("bin is %+v", h)
	}
}

func TestSharedPaths(t *testing.T) {
	first := debtest.Dir("usr/share/dir")
	first.Mode = 0o750
	a := debtest.Deb{Name: "a", Files: []*tar.Header{first, debtest.File("usr/share/both", "of a"), debtest.File("usr/share/a", "a")}}
	b := debtest.Deb{Name: "b", Files: []*tar.Header{debtest.Dir("usr/share/dir"), debtest.File("usr/share/both", "of b")}}
	var conflict *ConflictError
	if _, _, err := layer(t, Options{}, a, b); !errors.As(err, &conflict) || conflict.Path != "/usr/share/both" ||
		conflict.First != "a" || conflict.Second != "b" || conflict.Hint() == "" {
		t.Fatalf("%v", err)
	}
	with := func(d debtest.Deb, fields ...string) debtest.Deb {
		d.Fields = fields
		return d
	}
	for _, c := range []struct {
		a, b      debtest.Deb
		want      string
		inA, inB  bool
		conflicts bool
	}{
		{a: a, b: with(b, "Replaces: x, a"), want: "of b", inB: true},
		{a: with(a, "Replaces: b (<< 2)"), b: b, want: "of a", inA: true},
		{a: with(a, "Replaces: b (<< 1.0-1)"), b: b, conflicts: true},
		{a: with(a, "Replaces: virtual"), b: with(b, "Provides: virtual"), want: "of a", inA: true},
		{a: with(a, "Replaces: b"), b: with(b, "Replaces: a"), want: "of b", inB: true},
	} {
		out, _, err := layer(t, Options{}, c.a, c.b)
		if c.conflicts {
			if !errors.As(err, &conflict) {
				t.Errorf("%v %v: %v", c.a.Fields, c.b.Fields, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%v %v: %v", c.a.Fields, c.b.Fields, err)
			continue
		}
		got := read(t, out)
		inA := strings.Contains(content(got, "var/lib/dpkg/info/a.list"), "/both")
		inB := strings.Contains(content(got, "var/lib/dpkg/info/b.list"), "/both")
		if content(got, "usr/share/both") != c.want || inA != c.inA || inB != c.inB {
			t.Errorf("%v %v: %q, in a's list: %v, in b's: %v", c.a.Fields, c.b.Fields, content(got, "usr/share/both"), inA, inB)
		}
		if got["usr/share/dir"].Mode != 0o750 {
			t.Errorf("the directory has the mode of the later package")
		}
	}
	// Files shared by the instances of a Multi-Arch: same package.
	doc := func(arch string) debtest.Deb {
		return debtest.Deb{Name: "lib", Arch: arch, Fields: []string{"Multi-Arch: same"},
			Files: []*tar.Header{debtest.File("usr/share/doc/lib/copyright", "c")}}
	}
	got, _ := must(t, Options{}, doc("amd64"), doc("i386"))
	if got["var/lib/dpkg/info/lib:i386.list"] == nil || got["var/lib/dpkg/info/lib:amd64.list"] == nil {
		t.Error("lists of both instances are not there")
	}
}

// A link to a directory is kept, and files go through it, as with dpkg.
func TestThroughLinks(t *testing.T) {
	got, _ := must(t, Options{},
		debtest.Deb{Name: "base-files", Files: []*tar.Header{debtest.Dir("run"), debtest.Dir("var"), debtest.Link("var/run", "/run"), debtest.Link("var/lock", "../run/lock"), debtest.Dir("run/lock")}},
		debtest.Deb{Name: "app", Files: []*tar.Header{debtest.Dir("var/run"), debtest.File("var/run/app", "app"), debtest.File("var/lock/x", "x")}},
		debtest.Deb{Name: "b", Files: []*tar.Header{debtest.Dir("usr/dir"), debtest.File("usr/dir/f", "f")}},
		debtest.Deb{Name: "c", Files: []*tar.Header{debtest.Link("usr/dir", "elsewhere")}})
	if content(got, "run/app") != "app" || content(got, "run/lock/x") != "x" || got["var/run"].Typeflag != tar.TypeSymlink ||
		got["usr/dir"].Typeflag != tar.TypeDir {
		t.Errorf("run/app %v, run/lock/x %v, var/run %v, usr/dir %v", got["run/app"], got["run/lock/x"], got["var/run"], got["usr/dir"])
	}
}

func TestPhases(t *testing.T) {
	script := map[string]string{"preinst": "#!/bin/sh\n", "postinst": "#!/bin/sh\n"}
	post := map[string]string{"postinst": "#!/bin/sh\n"}
	got, s := must(t, Options{},
		debtest.Deb{Name: "base", Fields: []string{"Essential: yes", "Pre-Depends: libbase"}, Control: script},
		debtest.Deb{Name: "libbase", Control: script},
		debtest.Deb{Name: "plain", Fields: []string{"Depends: late"}},
		debtest.Deb{Name: "needs-base", Fields: []string{"Pre-Depends: libbase, base"}, Control: script},
		debtest.Deb{Name: "helper", Fields: []string{"Depends: helper-data", "Provides: virtual-helper (= 2)"}},
		debtest.Deb{Name: "helper-data", Control: post},
		debtest.Deb{Name: "late", Fields: []string{"Pre-Depends: nothing | virtual-helper (>= 1)"}, Control: script},
		debtest.Deb{Name: "circle-a", Fields: []string{"Pre-Depends: circle-b"}, Control: script},
		debtest.Deb{Name: "circle-b", Fields: []string{"Depends: circle-a"}, Control: script},
	)
	names := func(p Phase) []string {
		var out []string
		for _, s := range p.Preinst {
			out = append(out, s.ID)
		}
		return out
	}
	if len(s.Phases) < 2 {
		t.Fatalf("%d phases: %+v", len(s.Phases), s.Phases)
	}
	if got := names(s.Phases[0]); !slices.Equal(got, []string{"libbase", "base", "needs-base"}) {
		t.Errorf("first phase: %v", got)
	}
	first, second := content(got, "var/lib/dpkg/status"), content(got, s.Phases[1].Status[1:])
	for _, n := range []string{"base", "helper", "helper-data"} {
		if !strings.Contains(first, "Package: "+n+"\n") {
			t.Errorf("%s is not in the first phase", n)
		}
	}
	for _, n := range []string{"late", "plain"} {
		if !strings.Contains(second, "Package: "+n+"\n") {
			t.Errorf("%s is not in the second phase", n)
		}
	}
	all := 0
	for path, h := range got {
		if strings.HasPrefix(path, "var/lib/dpkg/status") {
			all += strings.Count(h.PAXRecords["content"], "Package: ")
		}
	}
	if all != 9 {
		t.Errorf("%d packages in all phases", all)
	}
}
