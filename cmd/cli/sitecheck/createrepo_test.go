package sitecheck

import (
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/cfbuild/cfbuild/bootstrap/deb/archivetest"
	"github.com/cfbuild/cfbuild/internal/testneed"
)

const spec = `Name: tiny
Version: 1
Release: 1
Summary: a package for a test
License: none
BuildArch: noarch
%description
A package for a test.
%files
`

// A repository as createrepo_c makes it, out of a package of rpmbuild's, in each form
// of compression that Debian's has.
func TestCreaterepo(t *testing.T) {
	for _, tool := range []string{"rpmbuild", "createrepo_c"} {
		testneed.Program(t, tool)
	}
	key := archivetest.NewKey(t, now.AddDate(0, -1, 0))
	dir := t.TempDir()
	do := func(name string, args ...string) {
		t.Helper()
		cmd := exec.Command(name, args...)
		cmd.Env = append(os.Environ(), "HOME="+dir)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", name, err, out)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "tiny.spec"), []byte(spec), 0o644); err != nil {
		t.Fatal(err)
	}
	do("rpmbuild", "-bb", "--quiet", "--define", "_topdir "+dir, "--define", "_dbpath "+dir+"/db", filepath.Join(dir, "tiny.spec"))
	for _, form := range []string{"gz", "bz2", "xz"} {
		base := filepath.Join(t.TempDir(), "9", "BaseOS", "x86_64", "os")
		if err := os.MkdirAll(filepath.Join(base, "Packages"), 0o755); err != nil {
			t.Fatal(err)
		}
		do("cp", filepath.Join(dir, "RPMS", "noarch", "tiny-1-1.noarch.rpm"), filepath.Join(base, "Packages"))
		do("createrepo_c", "--quiet", "--no-database", "--general-compress-type="+form, base)
		repomd, err := os.ReadFile(filepath.Join(base, "repodata", "repomd.xml"))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(base, "repodata", "repomd.xml.asc"), archivetest.Detached(t, repomd, now, key), 0o644); err != nil {
			t.Fatal(err)
		}
		srv := httptest.NewServer(http.FileServer(http.Dir(filepath.Dir(filepath.Dir(filepath.Dir(filepath.Dir(base)))))))
		t.Cleanup(srv.Close)
		g := run(t, Input{Site: mirrors("example", key.Keyring(t), srv.URL), Pipeline: pipeline("rpm", "example", "9/BaseOS/$basearch/os")})
		if m := g.Mirrors[0]; m.Status != OK || m.Signature != "verified" || m.Package != "tiny-1-1.noarch.rpm" || m.Date == nil {
			t.Errorf("%s: %s: %s", form, m.Status, m.text())
		}
	}
}
