package lint

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/cfbuild/cfbuild/internal/testneed"
)

// A layer whose packages a later one removes, in the database of the real rpm.
func TestPackagesUndoneRPM(t *testing.T) {
	testneed.Program(t, "rpm")
	rpmbuild := testneed.Program(t, "rpmbuild")
	dir := t.TempDir()
	run := func(name string, args ...string) {
		t.Helper()
		cmd := exec.Command(name, args...)
		cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir}
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", name, err, out)
		}
	}
	spec := "Name: kept\nVersion: 1\nRelease: 1\nSummary: s\nLicense: MIT\nBuildArch: noarch\n%description\nd\n%files\n%package -n gone\nSummary: s\n%description -n gone\nd\n%files -n gone\n"
	if err := os.WriteFile(filepath.Join(dir, "kept.spec"), []byte(spec), 0o644); err != nil {
		t.Fatal(err)
	}
	run(rpmbuild, "-bb", "--quiet", "--define", "_topdir "+dir, filepath.Join(dir, "kept.spec"))
	db := []string{"--dbpath", filepath.Join(dir, "db"), "--define", "_db_backend sqlite", "--justdb", "--nodeps"}
	table := func() string {
		b, err := os.ReadFile(filepath.Join(dir, "db", "rpmdb.sqlite"))
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	run("rpm", append(db, "-i", filepath.Join(dir, "RPMS", "noarch", "kept-1-1.noarch.rpm"), filepath.Join(dir, "RPMS", "noarch", "gone-1-1.noarch.rpm"))...)
	first := table()
	run("rpm", append(db, "-e", "gone")...)

	b := sound()
	b.add(entry{name: "usr/lib/sysimage/rpm/rpmdb.sqlite", data: first})
	b.top(entry{name: "usr/lib/sysimage/rpm/rpmdb.sqlite", data: table()})
	l, d := b.write(t)
	all, err := Image(t.Context(), l, d, ImageOptions{Name: "image", Now: today})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range all {
		if f.Rule == PackagesUndone {
			got = append(got, f.Subject)
		}
	}
	if len(got) != 1 || got[0] != "gone" {
		t.Errorf("undone: %q, want gone", got)
	}
}
