package repo

import (
	"errors"
	"strings"
	"testing"

	"github.com/cfbuild/cfbuild/bootstrap/fetch"
	"github.com/cfbuild/cfbuild/bootstrap/rpm/resolve"
	"github.com/cfbuild/cfbuild/pipelines"
)

const sum = "34025727c4dbaa02dc00294b95d79b485b73955ee65a7d49afc734e5e3f342a2"

func repomd(primary string) string {
	return `<?xml version="1.0"?><repomd xmlns="http://linux.duke.edu/metadata/repo"><revision>1772366400</revision><data type="primary">` + primary + `</data></repomd>`
}

func TestRepomd(t *testing.T) {
	good := `<checksum type="sha256">` + sum + `</checksum><location href="repodata/p.xml.zst"/><timestamp>1772366401.25</timestamp><size>10</size><open-size>20</open-size>`
	m, err := parseRepomd([]byte(repomd(good)))
	if err != nil || m.Made().Unix() != 1772366401 || m.files["primary"] != (file{"repodata/p.xml.zst", sum, 10, 20}) {
		t.Errorf("%+v, %v", m, err)
	}
	for _, c := range []struct{ name, text, want string }{
		{"nothing", "", "it is empty"},
		{"a page", "<!DOCTYPE html><html>", "it is an HTML page"},
		{"something else", "hello", "it is no repomd.xml"},
		{"cut short", repomd(good)[:150], "it is no repomd.xml"},
		{"no primary", repomd(good + `</data><data type="other">`)[:0] + strings.Replace(repomd(good), `"primary"`, `"other"`, 1), "names no primary index"},
		{"a weak checksum", repomd(strings.Replace(good, "sha256", "sha", 1)), `checksum of the kind "sha"`},
		{"a short checksum", repomd(strings.Replace(good, sum, sum[:10], 1)), "sha256 is wanted"},
		{"a way out", repomd(strings.Replace(good, "repodata/p", "../../p", 1)), "no path below the repository"},
		{"another server", repomd(strings.Replace(good, "repodata/p", "//evil.test/p", 1)), "no path below the repository"},
		{"a bomb", repomd(strings.Replace(good, ">20<", ">99999999999999<", 1)), "unpacks to 99999999999999"},
		{"a negative size", repomd(strings.Replace(good, ">10<", ">-10<", 1)), "has -10 bytes"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := parseRepomd([]byte(c.text)); !errors.Is(err, fetch.ErrNotMetadata) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %q", err, c.want)
			}
		})
	}
}

func primary(pkg string) string {
	return `<metadata xmlns="http://linux.duke.edu/metadata/common" xmlns:rpm="http://linux.duke.edu/metadata/rpm"><package type="rpm">` + pkg + `</package></metadata>`
}

const goodPackage = `<name>a&amp;</name><arch>x86_64</arch><version epoch="1" ver="2" rel="3.el9"/><checksum type="sha256" pkgid="YES">` + sum + `</checksum>
<size package="10" installed="20" archive="30"/><location href="Packages/a.rpm"/><format>
<rpm:provides><rpm:entry name="a" flags="EQ" epoch="1" ver="2" rel="3.el9"/></rpm:provides>
<rpm:requires><rpm:entry name="rpmlib(X)" flags="LE" ver="3"/><rpm:entry name="b" flags="GE" epoch="0" ver="2"/><rpm:entry name="/bin/sh" pre="1"/><rpm:entry name="(c if d)"/></rpm:requires>
<rpm:recommends><rpm:entry name="weak"/></rpm:recommends><rpm:obsoletes><rpm:entry name="old" flags="LT" ver="2"/></rpm:obsoletes>
<file>/usr/bin/a</file><file type="dir">/etc/a</file></format>`

func TestPrimary(t *testing.T) {
	good := strings.Replace(goodPackage, "a&amp;", "a", 1)
	got, err := parsePrimary(strings.NewReader(primary(good)), "x86_64", 4)
	if err != nil || len(got) != 1 {
		t.Fatalf("%v, %v", got, err)
	}
	p := got[0]
	if p.String() != "a-1:2-3.el9.x86_64" || p.Size != 10 || p.Installed != 20 || p.Repo != 4 || p.SHA256 != sum || p.Location != "Packages/a.rpm" || len(p.Provides) != 1 ||
		len(p.Requires) != 3 || p.Requires[0].String() != "b >= 2" || p.Requires[2].Name != "(c if d)" || p.Obsoletes[0].String() != "old < 2" || len(p.Files) != 1 {
		t.Errorf("%+v", p)
	}
	for _, arch := range []string{"aarch64", "i686"} {
		if got, err := parsePrimary(strings.NewReader(primary(good)), arch, 0); err != nil || len(got) != 0 {
			t.Errorf("%s: %v, %v", arch, got, err)
		}
	}
	for _, c := range []struct{ name, text, want string }{
		{"a name that is none", primary(goodPackage), `lists the package "a&"`},
		{"an option as name", primary(strings.Replace(good, "<name>a", "<name>-a", 1)), `lists the package "-a"`},
		{"a way out", primary(strings.Replace(good, "Packages/a.rpm", "../a.rpm", 1)), "no path below the repository"},
		{"a weak checksum", primary(strings.Replace(good, `"sha256"`, `"md5"`, 1)), `checksum of the kind "md5"`},
		{"no size", primary(strings.Replace(good, `package="10"`, "", 1)), "has 0 bytes"},
		{"cut short", primary(good)[:400], ""},
		{"garbled", primary("<name>a</nam&"), ""},
	} {
		if _, err := parsePrimary(strings.NewReader(c.text), "x86_64", 0); !errors.Is(err, fetch.ErrMalformed) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %q", c.name, err, c.want)
		}
	}
}

func TestFilelists(t *testing.T) {
	pkgs := []*resolve.Package{{Name: "a", SHA256: sum}}
	text := `<filelists><package pkgid="` + sum + `" name="a"><file>/usr/share/x</file><file>/usr/share/&#121;</file></package><package pkgid="other"><file>/usr/share/x</file></package></filelists>`
	if err := parseFilelists(strings.NewReader(text), pkgs, []string{"/usr/share/y"}); err != nil || len(pkgs[0].Files) != 1 || pkgs[0].Files[0] != "/usr/share/y" {
		t.Errorf("%v, %v", pkgs[0].Files, err)
	}
}

func TestArch(t *testing.T) {
	for in, want := range map[pipelines.Platform]string{{OS: "linux", Architecture: "amd64"}: "x86_64", {OS: "linux", Architecture: "arm64"}: "aarch64", {OS: "linux", Architecture: "s390x"}: "s390x"} {
		if got, err := Arch(in); err != nil || got != want {
			t.Errorf("%s: %s, %v", in, got, err)
		}
	}
	if got := expand("9/$basearch/$arch", "i686"); got != "9/i386/i686" {
		t.Error(got)
	}
}

func FuzzRepomd(f *testing.F) {
	f.Add([]byte(repomd("<size>1</size>")))
	f.Fuzz(func(t *testing.T, b []byte) {
		if m, err := parseRepomd(b); err == nil && (m.files["primary"].size <= 0 || !below(m.files["primary"].path)) {
			t.Errorf("taken: %+v", m)
		}
	})
}

func FuzzPrimary(f *testing.F) {
	f.Add(primary(goodPackage))
	f.Add(primary(strings.Replace(goodPackage, "a&amp;", "a", 1)))
	f.Fuzz(func(t *testing.T, s string) {
		got, _ := parsePrimary(strings.NewReader(s), "x86_64", 0)
		for _, p := range got {
			if !below(p.Location) || !isSHA256(p.SHA256) || p.Size <= 0 {
				t.Errorf("taken: %+v", p)
			}
		}
	})
}
