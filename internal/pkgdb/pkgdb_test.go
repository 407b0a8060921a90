package pkgdb

import (
	"archive/tar"
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cfbuild/cfbuild/internal/rootfs"
	"github.com/cfbuild/cfbuild/internal/testneed"
)

// image is a filesystem with these files; a value that begins with "->" is a link.
func image(t *testing.T, files map[string]string) *rootfs.FS {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for name, body := range files {
		h := &tar.Header{Name: name, Typeflag: tar.TypeReg, Size: int64(len(body))}
		to, isLink := strings.CutPrefix(body, "->")
		if isLink {
			h.Typeflag, h.Linkname, h.Size = tar.TypeSymlink, to, 0
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if !isLink {
			io.WriteString(w, body)
		}
	}
	w.Close()
	f := rootfs.New(rootfs.Options{Keep: Keep})
	if err := f.Add(t.Context(), &b); err != nil {
		t.Fatal(err)
	}
	return f
}

func TestTextDatabases(t *testing.T) {
	const status = "Package: curl\nStatus: install ok installed\nArchitecture: amd64\nSource: curl-src\nVersion: 7.88.1-10\nDescription: get\n more\n .\n\n" +
		"Package: gone\nStatus: deinstall ok config-files\nVersion: 1\n\n\nPackage: held\nStatus: hold ok installed\nArchitecture: all\nVersion: 1:2\n"
	const installed = "C:Q1abc=\nP:musl\nV:1.2.5-r0\nA:x86_64\no:musl\nF:lib\nR:ld-musl.so\nZ:Q1x=\n\nP:busybox\nV:1.36-r1\nA:x86_64\n"
	for name, c := range map[string]struct {
		files map[string]string
		want  string
	}{
		"dpkg":       {map[string]string{"var/lib/dpkg/status": status}, "dpkg[{curl 7.88.1-10 amd64 curl-src} {held 1:2 all }]"},
		"distroless": {map[string]string{"var/lib/dpkg/status.d/base": "Package: base\nVersion: 12\n", "var/lib/dpkg/status.d/base.md5sums": "x"}, "dpkg[{base 12  }]"},
		"apk":        {map[string]string{"lib/apk/db/installed": installed}, "apk[{musl 1.2.5-r0 x86_64 musl} {busybox 1.36-r1 x86_64 }]"},
		// From Alpine 3.22 on /lib may be a link.
		"apk, merged": {map[string]string{"usr/lib/apk/db/installed": installed, "lib": "->usr/lib"}, "apk[{musl 1.2.5-r0 x86_64 musl} {busybox 1.36-r1 x86_64 }]"},
		"none":        {map[string]string{"etc/passwd": ""}, ""},
		"empty":       {map[string]string{"var/lib/dpkg/status": ""}, "dpkg[]"},
	} {
		got, err := Read(image(t, c.files))
		var text []string
		for _, d := range got {
			text = append(text, d.Manager+fmt.Sprint(d.Packages))
		}
		if err != nil || strings.Join(text, " ") != c.want {
			t.Errorf("%s: %q %v, want %q", name, text, err, c.want)
		}
	}
	if _, err := Read(image(t, map[string]string{"var/lib/dpkg/status": "no field\n"})); !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), "/var/lib/dpkg/status") {
		t.Errorf("a line that is no field: %v", err)
	}
}

const spec = `Name: big
Epoch: 3
Version: 1.0
Release: 2
Summary: s
License: l
BuildArch: noarch
%%description
d
%%package -n no-epoch
Summary: s
Epoch: 0
%%description -n no-epoch
d
%%package -n tiny
Summary: s
%%description -n tiny
d
%%install
mkdir -p %%{buildroot}/usr/share/big
for i in $(seq 700); do echo $i > %%{buildroot}/usr/share/big/a-rather-long-name-for-a-file-$i; done
%%files
/usr/share/big
%%files -n no-epoch
%%files -n tiny
`

// rpms builds packages, one with a header of many pages.
func rpms(t *testing.T) []string {
	t.Helper()
	rpmbuild := testneed.Program(t, "rpmbuild")
	dir := t.TempDir()
	file := filepath.Join(dir, "big.spec")
	if err := os.WriteFile(file, fmt.Appendf(nil, spec), 0o644); err != nil {
		t.Fatal(err)
	}
	run(t, dir, rpmbuild, "-bb", "--quiet", "--nodeps", "--define", "_topdir "+dir, "--define", "debug_package %{nil}", "--define", "__os_install_post %{nil}", file)
	out, err := filepath.Glob(filepath.Join(dir, "RPMS", "*", "*.rpm"))
	if err != nil || len(out) != 3 {
		t.Fatalf("%v %v", out, err)
	}
	return out
}

func run(t *testing.T, home, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + home}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
	return string(out)
}

// database makes a database with rpm itself and gives what rpm says is in it.
func database(t *testing.T, pkgs []string) (dir string, want []string) {
	t.Helper()
	rpm := testneed.Program(t, "rpm")
	dir = t.TempDir()
	db := []string{"--dbpath", dir, "--define", "_db_backend sqlite"}
	run(t, dir, rpm, append(append(db, "-i", "--justdb", "--nodeps", "--noscripts"), pkgs...)...)
	for line := range strings.Lines(run(t, dir, rpm, append(db, "-qa", "--qf", `%{name} %|epoch?{%{epoch}:}|%{version}-%{release} %{arch} %{sourcerpm}\n`)...)) {
		want = append(want, strings.TrimSpace(line))
	}
	slices.Sort(want)
	if len(want) != len(pkgs) {
		t.Fatalf("rpm says %q", want)
	}
	return dir, want
}

func same(t *testing.T, f *rootfs.FS, want []string) {
	t.Helper()
	got, err := Read(f)
	if err != nil || len(got) != 1 || got[0].Manager != "rpm" {
		t.Fatalf("%v %v", got, err)
	}
	var lines []string
	for _, p := range got[0].Packages {
		lines = append(lines, strings.Join([]string{p.Name, p.Version, p.Arch, p.Source}, " "))
	}
	slices.Sort(lines)
	if !slices.Equal(lines, want) {
		t.Errorf("got  %q\nwant %q", lines, want)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestRPMDatabases(t *testing.T) {
	pkgs := rpms(t)
	dir, want := database(t, pkgs)
	table := read(t, filepath.Join(dir, "rpmdb.sqlite"))
	t.Run("sqlite", func(t *testing.T) {
		same(t, image(t, map[string]string{"var/lib/rpm/rpmdb.sqlite": table, "var/lib/rpm/rpmdb.sqlite-wal": ""}), want)
		same(t, image(t, map[string]string{"usr/lib/sysimage/rpm/rpmdb.sqlite": table, "var/lib/rpm": "->../../usr/lib/sysimage/rpm"}), want)
	})
	t.Run("ndb", func(t *testing.T) {
		db := writeNDB(headers(t, table))
		same(t, image(t, map[string]string{"usr/lib/sysimage/rpm/Packages.db": db}), want)
		spoiled(t, rpmNDB, db)
	})
	t.Run("bdb", func(t *testing.T) {
		hash := loadBDB(t, table)
		same(t, image(t, map[string]string{"var/lib/rpm/Packages": hash}), want)
		spoiled(t, rpmBDB, hash)
	})
	spoiled(t, func(b []byte) ([]Package, error) { return rpmTable(b, nil) }, table)
}

// headers gives the blobs of a table.
func headers(t *testing.T, table string) (out [][]byte) {
	t.Helper()
	s, err := openSQLite([]byte(table), nil)
	if err != nil {
		t.Fatal(err)
	}
	root := 0
	s.table(1, func(_ int64, row []any) error {
		if row[1] == "Packages" {
			root = int(row[3].(int64))
		}
		return nil
	})
	if err := s.table(root, func(_ int64, row []any) error { out = append(out, row[1].([]byte)); return nil }); err != nil {
		t.Fatal(err)
	}
	return out
}

// writeNDB writes Packages.db with one page of slots, a free one between those in
// use. Debian's rpm is built without this form.
func writeNDB(blobs [][]byte) string {
	le := binary.LittleEndian
	page := append([]byte("RpmP"), make([]byte, ndbPage-4)...)
	le.PutUint32(page[12:], 1)
	for at := 32; at < ndbPage; at += 16 {
		copy(page[at:], "Slot")
	}
	var data []byte
	for i, b := range blobs {
		slot := page[32+32*i:]
		le.PutUint32(slot[4:], uint32(i+1))
		le.PutUint32(slot[8:], uint32((ndbPage+len(data))/ndbBlock))
		data = append(data, "BlbS"...)
		data = le.AppendUint32(data, uint32(i+1))
		data = le.AppendUint32(data, 9) // generation
		data = le.AppendUint32(data, uint32(len(b)))
		data = append(data, b...)
		data = append(data, make([]byte, 32-len(data)%ndbBlock)...) // the tail, and up to the next block
	}
	return string(page) + string(data)
}

// loadBDB has Berkeley DB's own tool write the headers as rpm before 4.17 would:
// numbers in the machine's byte order, the highest under the number 0.
func loadBDB(t *testing.T, table string) string {
	t.Helper()
	load := testneed.Program(t, "db5.3_load")
	var dump strings.Builder
	fmt.Fprintf(&dump, "VERSION=3\nformat=bytevalue\ntype=hash\ndb_pagesize=4096\nHEADER=END\n 00000000\n 03000000\n")
	for id, h := range headers(t, table) {
		fmt.Fprintf(&dump, " %02x000000\n %s\n", id+1, hex.EncodeToString(h))
	}
	dump.WriteString("DATA=END\n")
	file := filepath.Join(t.TempDir(), "Packages")
	cmd := exec.Command(load, file)
	cmd.Stdin = strings.NewReader(dump.String())
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return read(t, file)
}

// The last transactions may be in the log alone.
func TestWriteAheadLog(t *testing.T) {
	pkgs := rpms(t)
	dir, _ := database(t, pkgs[:1])
	before := read(t, filepath.Join(dir, "rpmdb.sqlite"))
	full, want := database(t, pkgs)
	after := read(t, filepath.Join(full, "rpmdb.sqlite"))
	// A log that turns the first into the second: every page, one commit.
	s, err := openSQLite([]byte(after), nil)
	if err != nil {
		t.Fatal(err)
	}
	wal := append(bytes.Repeat([]byte{1}, 16), "SALTsalt12345678"...)
	pages := len(after) / s.page
	frame := func(n, commit int, salt string) {
		wal = append(wal, byte(n>>24), byte(n>>16), byte(n>>8), byte(n), 0, 0, 0, byte(commit))
		wal = append(wal, salt...)
		wal = append(wal, "checksum"...)
		wal = append(wal, after[(n-1)*s.page:n*s.page]...)
	}
	for n := 1; n <= pages; n++ {
		frame(n, map[bool]int{true: pages}[n == pages], "SALTsalt")
	}
	whole := len(wal)
	frame(1, 1, "oldsalts") // left over
	same(t, image(t, map[string]string{"var/lib/rpm/rpmdb.sqlite": before, "var/lib/rpm/rpmdb.sqlite-wal": string(wal)}), want)
	// Without its commit a transaction did not happen.
	ps, err := rpmTable([]byte(before), wal[:whole-walFrame-s.page])
	if err != nil || len(ps) != 1 {
		t.Errorf("%v %v", ps, err)
	}
}

// spoiled: a database that is cut off or changed gives an error or other packages,
// and nothing worse.
func spoiled(t *testing.T, parse func([]byte) ([]Package, error), good string) {
	t.Helper()
	rnd := rand.New(rand.NewPCG(7, 7))
	for range 3000 {
		b := []byte(good)
		for range 1 + rnd.IntN(8) {
			at := rnd.IntN(len(b))
			if rnd.IntN(2) == 0 {
				at = rnd.IntN(min(len(b), 5000))
			}
			b[at] = byte(rnd.Uint32())
		}
		if rnd.IntN(3) == 0 {
			b = b[:rnd.IntN(len(b))]
		}
		parse(b)
	}
	if _, err := parse([]byte(good)[:64]); !errors.Is(err, ErrFormat) {
		t.Errorf("the first 64 bytes: %v", err)
	}
}
