package apkrepo

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha1" //nolint:gosec // the format's own
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"
)

// Pkg is a package. Zero fields get ordinary values.
type Pkg struct {
	Name, Version, Arch                    string // default version 1.0-r0, arch x86_64
	Desc, URL, License, Origin             string
	Maintainer, Commit                     string
	Built                                  time.Time
	Depends, Provides, InstallIf, Replaces []string
	ReplacesPriority, ProviderPriority     int
	Triggers                               []string
	// Scripts by kind: "pre-install", "post-install", "trigger", …
	Scripts map[string]string
	Files   []Entry
	// Raw leaves out the directories above files that are not listed, and the
	// checksums.
	Raw bool
	// Wrong makes the control part lie about the hash of the data.
	Wrong bool
}

// Entry is a file of a package.
type Entry struct {
	tar.Header
	Data []byte
}

// Stamp is the time of all entries made here.
var Stamp = time.Unix(1_600_000_000, 0)

func head(kind byte, name string, mode int64) tar.Header {
	return tar.Header{Typeflag: kind, Name: name, Mode: mode, Uname: "root", Gname: "root", ModTime: Stamp}
}

// File is a regular file of mode 0644.
func File(name, data string) Entry { return Entry{head(tar.TypeReg, name, 0o644), []byte(data)} }

// Program is a regular file of mode 0755.
func Program(name, data string) Entry { return Entry{head(tar.TypeReg, name, 0o755), []byte(data)} }

// Dir is a directory.
func Dir(name string, mode int64) Entry { return Entry{Header: head(tar.TypeDir, name, mode)} }

// Link is a symbolic link.
func Link(name, target string) Entry {
	e := Entry{Header: head(tar.TypeSymlink, name, 0o777)}
	e.Linkname = target
	return e
}

// HardLink is a hard link to a file before it.
func HardLink(name, target string) Entry {
	e := Entry{Header: head(tar.TypeLink, name, 0o644)}
	e.Linkname = target
	return e
}

// Owned gives an entry another owner, by name and number.
func Owned(e Entry, user string, uid int, group string, gid int) Entry {
	e.Uname, e.Uid, e.Gname, e.Gid = user, uid, group, gid
	return e
}

// Xattr gives an entry an extended attribute.
func Xattr(e Entry, name, value string) Entry {
	e.PAXRecords = maps.Clone(e.PAXRecords)
	if e.PAXRecords == nil {
		e.PAXRecords = map[string]string{}
	}
	e.PAXRecords["SCHILY.xattr."+name] = value
	return e
}

func (p Pkg) defaults() Pkg {
	or := func(s *string, v string) {
		if *s == "" {
			*s = v
		}
	}
	or(&p.Version, "1.0-r0")
	or(&p.Arch, "x86_64")
	or(&p.Desc, "test package")
	or(&p.URL, "https://example.org")
	or(&p.License, "MIT")
	if p.Built.IsZero() {
		p.Built = Stamp
	}
	return p
}

// entries are the files with the directories above them, in order.
func (p Pkg) entries() []Entry {
	if p.Raw {
		return p.Files
	}
	seen := map[string]bool{}
	var out []Entry
	for _, e := range p.Files {
		name := strings.TrimSuffix(e.Name, "/")
		for i := range name {
			if name[i] == '/' && !seen[name[:i]] {
				seen[name[:i]] = true
				out = append(out, Dir(name[:i], 0o755))
			}
		}
		if e.Typeflag == tar.TypeDir {
			if seen[name] {
				continue
			}
			seen[name] = true
		}
		out = append(out, e)
	}
	return out
}

// Tar is a tar of entries; with sums each file has its checksum, as abuild-tar adds
// it. end writes the end of the archive, which only the data part has.
func Tar(t testing.TB, entries []Entry, sums, end bool) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		h := e.Header
		h.Size = int64(len(e.Data))
		if h.Typeflag == tar.TypeDir && !strings.HasSuffix(h.Name, "/") {
			h.Name += "/"
		}
		h.PAXRecords = maps.Clone(h.PAXRecords)
		text := e.Data
		if h.Typeflag == tar.TypeSymlink {
			text = []byte(h.Linkname)
		}
		if sums && (h.Typeflag == tar.TypeReg || h.Typeflag == tar.TypeSymlink) && h.PAXRecords["APK-TOOLS.checksum.SHA1"] == "" {
			if h.PAXRecords == nil {
				h.PAXRecords = map[string]string{}
			}
			sum := sha1.Sum(text) //nolint:gosec // see above
			h.PAXRecords["APK-TOOLS.checksum.SHA1"] = hex.EncodeToString(sum[:])
		}
		if h.PAXRecords != nil {
			h.Format = tar.FormatPAX
		}
		err := w.WriteHeader(&h)
		if err == nil {
			_, err = w.Write(e.Data)
		}
		if err != nil {
			t.Fatalf("%s: %v", h.Name, err)
		}
	}
	err := w.Flush()
	if end {
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// Gzip is one gzip member.
func Gzip(t testing.TB, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	w.Write(data)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// Built is a package as a file, and its stanza of an index.
type Built struct {
	File string // NAME-VERSION.apk
	Data []byte
	// Parts are the gzip members of Data: signature, control, data.
	Parts [][]byte
	// Stanza is the package's entry in an index, without an empty line.
	Stanza string
}

// Build makes the package's file, signed.
func (p Pkg) Build(t testing.TB, key *Key) Built {
	t.Helper()
	p = p.defaults()
	entries := p.entries()
	var size int64
	for _, e := range entries {
		size += (int64(len(e.Data)) + 4095) &^ 4095
	}
	data := Gzip(t, Tar(t, entries, !p.Raw, true))
	hash := sha256.Sum256(data)
	if p.Wrong {
		hash[0]++
	}
	info := fmt.Sprintf("# made by apkrepo\npkgname = %s\npkgver = %s\npkgdesc = %s\nurl = %s\nbuilddate = %d\nsize = %d\narch = %s\nlicense = %s\n",
		p.Name, p.Version, p.Desc, p.URL, p.Built.Unix(), size, p.Arch, p.License)
	line := func(key string, values ...string) {
		for _, v := range values {
			if v != "" && v != "0" {
				info += key + " = " + v + "\n"
			}
		}
	}
	line("origin", p.Origin)
	line("maintainer", p.Maintainer)
	line("commit", p.Commit)
	line("replaces_priority", fmt.Sprint(p.ReplacesPriority))
	line("provider_priority", fmt.Sprint(p.ProviderPriority))
	line("depend", p.Depends...)
	line("provides", p.Provides...)
	line("install_if", strings.Join(p.InstallIf, " "))
	line("replaces", p.Replaces...)
	line("triggers", strings.Join(p.Triggers, " "))
	line("datahash", hex.EncodeToString(hash[:]))
	control := []Entry{File(".PKGINFO", info)}
	for _, kind := range slices.Sorted(maps.Keys(p.Scripts)) {
		control = append(control, Program("."+kind, p.Scripts[kind]))
	}
	ctrl := Gzip(t, Tar(t, control, false, false))
	parts := [][]byte{key.Sign(t, ctrl), ctrl, data}
	all := bytes.Join(parts, nil)
	sum := sha1.Sum(ctrl) //nolint:gosec // see above
	return Built{
		File: p.Name + "-" + p.Version + ".apk", Data: all, Parts: parts,
		Stanza: p.stanza("Q1"+base64.StdEncoding.EncodeToString(sum[:]), len(all), size),
	}
}

func (p Pkg) stanza(sum string, size int, installed int64) string {
	var b strings.Builder
	line := func(key, value string) {
		if value != "" && value != "0" {
			b.WriteString(key + ":" + value + "\n")
		}
	}
	line("C", sum)
	line("P", p.Name)
	line("V", p.Version)
	line("A", p.Arch)
	line("S", fmt.Sprint(size))
	fmt.Fprintf(&b, "I:%d\n", installed)
	line("T", p.Desc)
	line("U", p.URL)
	line("L", p.License)
	line("o", p.Origin)
	line("m", p.Maintainer)
	line("t", fmt.Sprint(p.Built.Unix()))
	line("c", p.Commit)
	line("k", fmt.Sprint(p.ProviderPriority))
	line("D", strings.Join(p.Depends, " "))
	line("p", strings.Join(p.Provides, " "))
	line("i", strings.Join(p.InstallIf, " "))
	return b.String()
}
