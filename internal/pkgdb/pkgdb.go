// Package pkgdb reads which packages an image has from its own databases, without
// running anything: dpkg's status file, apk's list, and rpm's database in the three
// forms that releases in use have (SQLite, ndb, and Berkeley DB's hash).
package pkgdb

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/cfbuild/cfbuild/internal/rootfs"
)

// Package is one installed package.
type Package struct {
	Name string
	// Version as the package manager writes it: dpkg [EPOCH:]VERSION[-REVISION],
	// rpm [EPOCH:]VERSION-RELEASE, apk VERSION-rN.
	Version string
	// Arch in the distribution's terms; empty where it is not written down.
	Arch string
	// Source is the source package, as it is written down; may be empty.
	Source string
}

// Database is one database that an image has.
type Database struct {
	// Manager is dpkg, rpm or apk.
	Manager string
	// Path of the file, or of the directory, in the image.
	Path string
	// Packages in the order of the file.
	Packages []Package
}

// ErrFormat: a database is not in the format it should be in.
var ErrFormat = errors.New("malformed package database")

// maxFile bounds the size of a database in bytes.
const maxFile = 1 << 30

// rpmDirs are the places of rpm's database: the usual one, and where Fedora, SUSE
// and image-based systems moved it.
var rpmDirs = []string{"/var/lib/rpm", "/usr/lib/sysimage/rpm", "/usr/share/rpm"}

// Keep is a predicate for [rootfs.Options]: the files that [Read] will look at.
func Keep(e *rootfs.Entry) bool {
	switch e.Path {
	case "/var/lib/dpkg/status", "/lib/apk/db/installed", "/usr/lib/apk/db/installed":
		return true
	}
	dir, base := path.Split(e.Path)
	switch base {
	case "rpmdb.sqlite", "rpmdb.sqlite-wal", "Packages.db", "Packages":
		for _, d := range rpmDirs {
			if dir == d+"/" {
				return true
			}
		}
	}
	return dir == "/var/lib/dpkg/status.d/"
}

// Read gives the databases of an image; none is no error.
func Read(f *rootfs.FS) ([]Database, error) {
	var out []Database
	seen := map[string]bool{} // one file may be reached by two of the paths
	for _, r := range readers {
		e, err := f.Resolve(r.path)
		if err != nil || e.Type != r.kind || seen[e.Path] {
			continue
		}
		seen[e.Path] = true
		ps, err := r.read(f, e.Path)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", r.path, err)
		}
		if len(ps) > 0 || r.kind == rootfs.File {
			out = append(out, Database{r.manager, r.path, ps})
		}
	}
	return out, nil
}

type reader struct {
	manager, path string
	kind          rootfs.Type
	read          func(f *rootfs.FS, p string) ([]Package, error)
}

var readers = []reader{
	{"dpkg", "/var/lib/dpkg/status", rootfs.File, whole(dpkg)},
	{"dpkg", "/var/lib/dpkg/status.d", rootfs.Dir, statusDir},
	{"apk", "/lib/apk/db/installed", rootfs.File, whole(apk)},
	{"apk", "/usr/lib/apk/db/installed", rootfs.File, whole(apk)},
	{"rpm", rpmDirs[0] + "/rpmdb.sqlite", rootfs.File, rpmSQLite},
	{"rpm", rpmDirs[0] + "/Packages.db", rootfs.File, whole(rpmNDB)},
	{"rpm", rpmDirs[0] + "/Packages", rootfs.File, whole(rpmBDB)},
	{"rpm", rpmDirs[1] + "/rpmdb.sqlite", rootfs.File, rpmSQLite},
	{"rpm", rpmDirs[1] + "/Packages.db", rootfs.File, whole(rpmNDB)},
	{"rpm", rpmDirs[1] + "/Packages", rootfs.File, whole(rpmBDB)},
	{"rpm", rpmDirs[2] + "/rpmdb.sqlite", rootfs.File, rpmSQLite},
}

// Parser gives what reads a database that is one file of an image, by its path; nil
// for all other files. What a write-ahead log beside it (SQLite) adds is not read.
func Parser(p string) func([]byte) ([]Package, error) {
	switch dir, base := path.Split(p); base {
	case "status":
		if dir == "/var/lib/dpkg/" {
			return dpkg
		}
	case "installed":
		if dir == "/lib/apk/db/" || dir == "/usr/lib/apk/db/" {
			return apk
		}
	case "rpmdb.sqlite":
		if slices.Contains(rpmDirs, path.Clean(dir)) {
			return func(b []byte) ([]Package, error) { return rpmTable(b, nil) }
		}
	case "Packages.db":
		if slices.Contains(rpmDirs, path.Clean(dir)) {
			return rpmNDB
		}
	case "Packages":
		if slices.Contains(rpmDirs, path.Clean(dir)) {
			return rpmBDB
		}
	}
	return nil
}

func whole(parse func([]byte) ([]Package, error)) func(*rootfs.FS, string) ([]Package, error) {
	return func(f *rootfs.FS, p string) ([]Package, error) {
		b, err := f.ReadFile(p, maxFile)
		if err != nil {
			return nil, err
		}
		return parse(b)
	}
}

// stanzas gives the fields of each paragraph of a file; continued lines are left
// out. sep stands between name and value.
func stanzas(b []byte, sep string, each func(field func(name string) string)) error {
	fields := map[string]string{}
	done := func() {
		if len(fields) > 0 {
			each(func(name string) string { return fields[name] })
			clear(fields)
		}
	}
	s := bufio.NewScanner(bytes.NewReader(b))
	s.Buffer(nil, 16<<20)
	for s.Scan() {
		line := s.Text()
		if strings.TrimSpace(line) == "" {
			done()
			continue
		}
		if line[0] == ' ' || line[0] == '\t' {
			continue
		}
		name, value, ok := strings.Cut(line, sep)
		if !ok {
			return fmt.Errorf("%w: line %q", ErrFormat, line[:min(len(line), 80)])
		}
		if _, again := fields[name]; !again { // of apk's repeated fields the first tells of the package
			fields[name] = strings.TrimSpace(value)
		}
	}
	done()
	return s.Err()
}

// dpkg reads status (dpkg(5), "status"): what is installed, not what is only
// configured, unpacked or removed.
func dpkg(b []byte) ([]Package, error) {
	var out []Package
	err := stanzas(b, ":", func(field func(string) string) {
		if s := strings.Fields(field("Status")); len(s) == 3 && s[2] != "installed" {
			return
		}
		if field("Package") != "" {
			out = append(out, Package{field("Package"), field("Version"), field("Architecture"), field("Source")})
		}
	})
	return out, err
}

// statusDir is how images without dpkg write it down (distroless): a file for each
// package.
func statusDir(f *rootfs.FS, p string) ([]Package, error) {
	es, err := f.ReadDir(p)
	if err != nil {
		return nil, err
	}
	var out []Package
	for _, e := range es {
		if e.Type != rootfs.File || strings.HasSuffix(e.Path, ".md5sums") {
			continue
		}
		b, err := f.Read(e, maxFile)
		if err != nil {
			return nil, err
		}
		ps, err := dpkg(b)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", e.Path, err)
		}
		out = append(out, ps...)
	}
	return out, nil
}

// apk reads installed (apk-tools' database: one letter, a colon, the value).
func apk(b []byte) ([]Package, error) {
	var out []Package
	err := stanzas(b, ":", func(field func(string) string) {
		if field("P") != "" {
			out = append(out, Package{field("P"), field("V"), field("A"), field("o")})
		}
	})
	return out, err
}

// rpmSQLite reads the database with what its write-ahead log adds.
func rpmSQLite(f *rootfs.FS, p string) ([]Package, error) {
	b, err := f.ReadFile(p, maxFile)
	if err != nil {
		return nil, err
	}
	wal, err := f.ReadFile(p+"-wal", maxFile)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return rpmTable(b, wal)
}
