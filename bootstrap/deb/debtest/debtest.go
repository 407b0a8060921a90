// Package debtest builds Debian packages for tests, sound ones and hostile ones.
package debtest

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"maps"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/cfbuild/cfbuild/internal/testneed"
)

// Deb is a package. Zero fields get ordinary values.
type Deb struct {
	Name, Version, Arch string
	// Fields are further lines of the control file, "Replaces: b".
	Fields []string
	// Control are further members of control.tar: preinst, conffiles, triggers.
	// Scripts get mode 0755.
	Control map[string]string
	// Files are the entries of data.tar, as they are. Directories above a file
	// that are not listed are put before it.
	Files []*tar.Header
	// Compression of both tars: "" (gz), "none", "xz", "zst".
	Compression string
	// Raw leaves out the directories that are not listed.
	Raw bool
}

// Contents of regular files are given in the header's PAXRecords under this key.
const content = "test.content"

// File is a regular file.
func File(name, data string) *tar.Header {
	return &tar.Header{Typeflag: tar.TypeReg, Name: "./" + name, Mode: 0o644, Size: int64(len(data)),
		ModTime: time.Unix(1_600_000_000, 0), PAXRecords: map[string]string{content: data}}
}

// Dir is a directory.
func Dir(name string) *tar.Header {
	return &tar.Header{Typeflag: tar.TypeDir, Name: "./" + name + "/", Mode: 0o755, ModTime: time.Unix(1_600_000_000, 0)}
}

// Link is a symbolic link.
func Link(name, target string) *tar.Header {
	return &tar.Header{Typeflag: tar.TypeSymlink, Name: "./" + name, Linkname: target, Mode: 0o777, ModTime: time.Unix(1_600_000_000, 0)}
}

// HardLink is a hard link to a file before it.
func HardLink(name, target string) *tar.Header {
	return &tar.Header{Typeflag: tar.TypeLink, Name: "./" + name, Linkname: "./" + target, Mode: 0o644, ModTime: time.Unix(1_600_000_000, 0)}
}

func (d Deb) arch() string {
	if d.Arch == "" {
		return "all"
	}
	return d.Arch
}

func (d Deb) version() string {
	if d.Version == "" {
		return "1.0-1"
	}
	return d.Version
}

// ControlTar is the content of control.tar.
func (d Deb) ControlTar(t testing.TB) []byte {
	t.Helper()
	var size int64 = 1
	for _, f := range d.Files {
		size += f.Size>>10 + 1
	}
	control := fmt.Sprintf("Package: %s\nVersion: %s\nArchitecture: %s\nMaintainer: nobody <nobody@example.org>\nInstalled-Size: %d\n%sDescription: test\n more of it\n",
		d.Name, d.version(), d.arch(), size, strings.Join(append(slices.Clone(d.Fields), ""), "\n"))
	heads := []*tar.Header{Dir(".")}
	heads[0].Name = "./"
	c := maps.Clone(d.Control)
	if c == nil {
		c = map[string]string{}
	}
	c["control"] = control
	for _, name := range slices.Sorted(maps.Keys(c)) {
		h := File(name, c[name])
		if strings.HasSuffix(name, "inst") || strings.HasSuffix(name, "rm") {
			h.Mode = 0o755
		}
		heads = append(heads, h)
	}
	return Tar(t, heads)
}

// DataTar is the content of data.tar.
func (d Deb) DataTar(t testing.TB) []byte {
	t.Helper()
	if d.Raw {
		return Tar(t, d.Files)
	}
	seen := map[string]bool{}
	var all []*tar.Header
	add := func(h *tar.Header) {
		seen[strings.Trim(strings.TrimPrefix(h.Name, "./"), "/")] = true
		all = append(all, h)
	}
	root := Dir("")
	root.Name = "./"
	add(root)
	for _, h := range d.Files {
		name := strings.Trim(strings.TrimPrefix(h.Name, "./"), "/")
		for i := range name {
			if name[i] == '/' && !seen[name[:i]] {
				add(Dir(name[:i]))
			}
		}
		add(h)
	}
	return Tar(t, all)
}

// Tar writes headers with the contents File gave them.
func Tar(t testing.TB, heads []*tar.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range heads {
		c := *h
		data := c.PAXRecords[content]
		c.PAXRecords = maps.Clone(c.PAXRecords)
		delete(c.PAXRecords, content)
		if err := w.WriteHeader(&c); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, data); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// Build makes the file.
func (d Deb) Build(t testing.TB) []byte {
	t.Helper()
	ext := map[string]string{"": ".gz", "none": "", "xz": ".xz", "zst": ".zst"}[d.Compression]
	return AR("debian-binary", "2.0\n",
		"control.tar"+ext, string(Pack(t, ext, d.ControlTar(t))),
		"data.tar"+ext, string(Pack(t, ext, d.DataTar(t))))
}

// Pack compresses by the ending of a member's name.
func Pack(t testing.TB, ext string, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	switch ext {
	case ".gz":
		w := gzip.NewWriter(&b)
		w.Write(data)
		w.Close()
	case ".zst":
		w, err := zstd.NewWriter(&b)
		if err != nil {
			t.Fatal(err)
		}
		w.Write(data)
		w.Close()
	case ".xz":
		cmd := exec.Command(testneed.Program(t, "xz"), "-c")
		cmd.Stdin = bytes.NewReader(data)
		cmd.Stdout = &b
		if err := cmd.Run(); err != nil {
			t.Fatal(err)
		}
	default:
		return data
	}
	return b.Bytes()
}

// AR makes an ar archive of names and contents in turn.
func AR(members ...string) []byte {
	b := []byte("!<arch>\n")
	for i := 0; i+1 < len(members); i += 2 {
		b = fmt.Appendf(b, "%-16s%-12d%-6d%-6d%-8s%-10d`\n", members[i], 0, 0, 0, "100644", len(members[i+1]))
		b = append(b, members[i+1]...)
		if len(members[i+1])&1 == 1 {
			b = append(b, '\n')
		}
	}
	return b
}
