package rpmrepo

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/cfbuild/cfbuild/internal/testneed"
)

// Write makes a repository of packages in dir: Packages/NEVRA.rpm, and repodata
// by createrepo_c, signed with key (nil: not signed). date is the revision and the
// time stamp of the metadata. Packages that are there already stay.
func Write(t testing.TB, dir string, key *Key, date time.Time, rpms ...RPM) {
	t.Helper()
	pkgs := filepath.Join(dir, "Packages")
	if err := os.MkdirAll(pkgs, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, r := range rpms {
		put(t, filepath.Join(pkgs, r.NEVRA()+".rpm"), r.Build(t))
	}
	Index(t, dir, key, date)
}

// Index makes the metadata of a repository anew, from the packages below dir.
func Index(t testing.TB, dir string, key *Key, date time.Time, args ...string) {
	t.Helper()
	if err := os.RemoveAll(filepath.Join(dir, "repodata")); err != nil {
		t.Fatal(err)
	}
	// Its time is in the metadata.
	files, err := filepath.Glob(filepath.Join(dir, "Packages", "*.rpm"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if err := os.Chtimes(f, Made, Made); err != nil {
			t.Fatal(err)
		}
	}
	args = append([]string{"-q", "--no-database", "--workers", "2", "--revision", strconv.FormatInt(date.Unix(), 10), "--set-timestamp-to-revision"}, args...)
	cmd := exec.Command(testneed.Program(t, "createrepo_c"), append(args, dir)...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("createrepo_c: %v\n%s", err, out)
	}
	// Servers tell a change by whole seconds.
	if err := os.Chtimes(filepath.Join(dir, "repodata/repomd.xml"), date, date); err != nil {
		t.Fatal(err)
	}
	if key != nil {
		Sign(t, dir, key)
	}
}

// Sign signs repomd.xml as it is.
func Sign(t testing.TB, dir string, key *Key) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, "repodata/repomd.xml"))
	if err != nil {
		t.Fatal(err)
	}
	put(t, filepath.Join(dir, "repodata/repomd.xml.asc"), key.Detached(t, data))
}

// Tamper changes one byte in the middle of the file that fits the pattern below dir.
func Tamper(t testing.TB, dir, pattern string) {
	t.Helper()
	Edit(t, dir, pattern, func(b []byte) []byte {
		b = bytes.Clone(b)
		b[len(b)/2] ^= 0x20
		return b
	})
}

// Edit rewrites the file that fits the pattern below dir.
func Edit(t testing.TB, dir, pattern string, edit func([]byte) []byte) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, pattern))
	if err != nil || len(files) != 1 {
		t.Fatalf("%s: %v %v", pattern, files, err)
	}
	data, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	put(t, files[0], edit(data))
}

// put writes a file anew: it may be a hard link to one of another repository.
func put(t testing.TB, path string, data []byte) {
	t.Helper()
	err := os.MkdirAll(filepath.Dir(path), 0o755)
	if err == nil {
		if err = os.Remove(path); os.IsNotExist(err) {
			err = nil
		}
	}
	if err == nil {
		err = os.WriteFile(path, data, 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
}
