package rootfs

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cfbuild/cfbuild/internal/layertest"
	"github.com/cfbuild/cfbuild/internal/oci"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

type h = layertest.Member

func file(name, body string) h {
	return h{Header: tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644}, Data: body}
}
func dir(name string) h { return h{Header: tar.Header{Name: name, Typeflag: tar.TypeDir, Mode: 0o755}} }
func link(name, to string) h {
	return h{Header: tar.Header{Name: name, Typeflag: tar.TypeSymlink, Linkname: to}}
}
func hard(name, to string) h {
	return h{Header: tar.Header{Name: name, Typeflag: tar.TypeLink, Linkname: to}}
}

func archive(t testing.TB, hs ...h) []byte { return layertest.Tar(t, hs...) }

// layout writes an image whose layers are packed in turn with gzip, zstd and not at all.
func layout(t testing.TB, layers ...[]byte) (*oci.Layout, v1.Descriptor) {
	t.Helper()
	l := layertest.Layout(t)
	c := v1.Image{Platform: v1.Platform{OS: "linux", Architecture: "amd64"}, RootFS: v1.RootFS{Type: "layers"}}
	var packed []v1.Descriptor
	for i, plain := range layers {
		packed = append(packed, layertest.Blob(t, l, plain, []string{layertest.Gzip, layertest.Zstd, layertest.Plain}[i%3]))
		c.RootFS.DiffIDs = append(c.RootFS.DiffIDs, digest.FromBytes(plain))
		c.History = append(c.History, v1.History{CreatedBy: fmt.Sprint("layer ", i)}, v1.History{EmptyLayer: true})
	}
	return l, layertest.Put(t, l, c, packed)
}

func open(t testing.TB, o Options, layers ...[]byte) *FS {
	t.Helper()
	l, d := layout(t, layers...)
	f, err := Open(t.Context(), l, d, o)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func paths(es []*Entry) string {
	var out []string
	for _, e := range es {
		s := e.Path
		if e.Type == Whiteout || e.Type == Opaque {
			s += "!" + string(e.Type)
		}
		out = append(out, s)
	}
	return strings.Join(out, " ")
}

func TestLayers(t *testing.T) {
	f := open(t, Options{},
		archive(t, dir("./"), dir("etc/"), file("etc/passwd", "root"), dir("gone/"), file("gone/x", ""), dir("o/"), file("o/old", ""),
			file("tmp/deep/f", "x"), link("lib", "usr/lib"), file("usr/lib/libc", "c"), file("a", "1")),
		// A whiteout comes after what it must not hide.
		archive(t, file("o/new", "n"), file("o/.wh..wh..opq", ""), file(".wh.gone", ""), file(".wh..wh.plnk", ""), dir("etc/"),
			file("a", "2"), file("a", "3"), hard("b", "usr/lib/libc")),
		archive(t, file("lib/own", ""), file(".wh.nothing", "")))
	if got, want := paths(f.List()), "/ /a /b /etc /etc/passwd /lib /lib/own /o /o/new /tmp /tmp/deep /tmp/deep/f /usr /usr/lib /usr/lib/libc"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if got, want := paths(f.Layers[1].Entries), "/o/new /o!opaque /gone!whiteout /etc /a /b"; got != want {
		t.Errorf("layer 1: got %s, want %s", got, want)
	}
	if got, want := paths(f.Layers[1].Hidden), "/a /gone /gone/x /o/old"; got != want {
		t.Errorf("layer 1 hides %s, want %s", got, want)
	}
	// A directory that is needed for a path replaces a link in its place.
	if e, _ := f.Lookup("lib"); e.Type != Dir || !e.Implied || paths(f.Layers[2].Hidden) != "/lib" {
		t.Errorf("lib is %+v, layer 2 hides %s", e, paths(f.Layers[2].Hidden))
	}
	if f.Layers[2].CreatedBy != "layer 2" || f.Layers[1].Bytes == 0 || f.Layers[1].Size == 0 || f.Layers[1].DiffID == "" {
		t.Errorf("layers: %+v", f.Layers)
	}
	for p, want := range map[string]string{"/a": "3", "b": "c", "tmp/deep/f": "x", "/etc/passwd": "root", "o/new": "n"} {
		if b, err := f.ReadFile(p, 10); err != nil || string(b) != want {
			t.Errorf("%s: %q %v, want %q", p, b, err, want)
		}
	}
	b, _ := f.Lookup("/b")
	c, _ := f.Lookup("/usr/lib/libc")
	if b.Inode != c.Inode || b.Layer != 1 || b.Hard != "/usr/lib/libc" {
		t.Errorf("hard link %+v to %+v", b, c)
	}
	if b, err := f.Read(f.Layers[1].Hidden[0], 10); err != nil || string(b) != "1" {
		t.Errorf("a hidden file: %q %v", b, err)
	}
}

func TestEntry(t *testing.T) {
	when := time.Unix(1700000000, 0)
	f := open(t, Options{}, archive(t,
		h{Header: tar.Header{Name: "su", Typeflag: tar.TypeReg, Mode: 0o4755, Uid: 7, Gid: 3000000, ModTime: when,
			PAXRecords: map[string]string{"SCHILY.xattr.security.capability": "\x01\x00x"}}, Data: "#!"},
		h{Header: tar.Header{Typeflag: tar.TypeXGlobalHeader, Name: "pax_global_header", PAXRecords: map[string]string{"comment": "a commit"}}},
		h{Header: tar.Header{Name: "null", Typeflag: tar.TypeChar, Mode: 0o666, Devmajor: 1, Devminor: 3}},
		h{Header: tar.Header{Name: "p", Typeflag: tar.TypeFifo, Mode: 0o600}}))
	e, ok := f.Lookup("/su")
	if !ok || e.Mode != 0o4755 || e.UID != 7 || e.GID != 3000000 || e.Size != 2 || !e.ModTime.Equal(when) || e.Xattrs["security.capability"] != "\x01\x00x" {
		t.Errorf("%+v", e)
	}
	if e, _ := f.Lookup("null"); e.Type != Char || e.Dev != "1:3" {
		t.Errorf("%+v", e)
	}
	if got := paths(f.List()); got != "/null /p /su" {
		t.Errorf("entries: %s", got)
	}
	if b, err := f.ReadFile("su", 2); err != nil || string(b) != "#!" {
		t.Errorf("%q %v", b, err)
	}
	if e, _ := f.Lookup("p"); e.Type != Fifo {
		t.Errorf("%+v", e)
	}
	if _, err := f.ReadFile("null", 1); !errors.Is(err, ErrNotFile) {
		t.Errorf("reading a device: %v", err)
	}
	if _, err := f.ReadFile("su", 1); !errors.Is(err, ErrLarge) {
		t.Errorf("reading beyond the limit: %v", err)
	}
}

func TestResolve(t *testing.T) {
	f := open(t, Options{}, archive(t, dir("usr/"), dir("usr/bin/"), file("usr/bin/sh", "x"), link("bin", "usr/bin"), link("abs", "/bin/sh"),
		link("up", "../../../../usr/./bin/../bin/sh"), link("loop", "loop2"), link("loop2", "loop"), link("void", "nowhere"), link("usr/rel", "../bin")))
	for p, want := range map[string]string{"/bin/sh": "/usr/bin/sh", "abs": "/usr/bin/sh", "/up": "/usr/bin/sh", "usr/rel/sh": "/usr/bin/sh",
		"bin": "/usr/bin", "bin/../..": "/", "/": "/", "usr/bin/": "/usr/bin"} {
		e, err := f.Resolve(p)
		if err != nil || e.Path != want {
			t.Errorf("%s: %v %v, want %s", p, e, err, want)
		}
	}
	for p, want := range map[string]error{"loop": ErrLoop, "void": fs.ErrNotExist, "bin/sh/x": ErrNotDir, "nope": fs.ErrNotExist} {
		if _, err := f.Resolve(p); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", p, err, want)
		}
	}
	for p, want := range map[string]string{"bin/sh": "/usr/bin/sh", "up": "/up", "usr/rel/sh": "/usr/bin/sh", "bin": "/bin", "void": "/void"} {
		if e, err := f.ResolveLink(p); err != nil || e.Path != want {
			t.Errorf("not following %s: %v %v, want %s", p, e, err, want)
		}
	}
	if es, err := f.ReadDir("bin"); err != nil || paths(es) != "/usr/bin/sh" {
		t.Errorf("%v %v", paths(es), err)
	}
	if _, err := f.ReadDir("abs"); !errors.Is(err, ErrNotDir) {
		t.Errorf("a file as a directory: %v", err)
	}
	var seen []*Entry
	err := f.Walk("/", func(e *Entry) error {
		seen = append(seen, e)
		if e.Path == "/usr" {
			return fs.SkipDir
		}
		return nil
	})
	if err != nil || strings.Contains(paths(seen), "/usr/") || !strings.Contains(paths(seen), "/void") {
		t.Errorf("%s %v", paths(seen), err)
	}
}

func TestHostile(t *testing.T) {
	for name, a := range map[string][]byte{
		"dots":               archive(t, file("../etc/passwd", "")),
		"dots within":        archive(t, file("a/../../etc/passwd", "")),
		"hard link":          archive(t, file("a", ""), hard("b", "../a")),
		"whiteout of dot":    archive(t, file("d/.wh..", "")),
		"whiteout of dots":   archive(t, file("d/.wh...", "")),
		"whiteout of none":   archive(t, file("d/.wh.", "")),
		"through a link":     archive(t, link("d", "/etc"), file("d/passwd", "")),
		"through a link, ii": archive(t, dir("d/e"), file("d/e/passwd", ""), link("d", "/etc")),
		"the root a file":    archive(t, file(".", "")),
		"the root a link":    archive(t, link(".", "/etc")),
		"below a file":       archive(t, file("d", ""), file("d/passwd", "")),
	} {
		l, d := layout(t, archive(t, dir("d/")), a)
		_, err := Open(t.Context(), l, d, Options{})
		var le *LayerError
		if !errors.Is(err, ErrHostile) || !errors.As(err, &le) || le.Index != 1 {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, a := range map[string][]byte{
		"hard link to nothing":     archive(t, hard("b", "a")),
		"hard link to a directory": archive(t, dir("a"), hard("b", "a")),
		"cut off":                  archive(t, file("a", strings.Repeat("x", 5000)))[:3000],
		"no archive":               bytes.Repeat([]byte("no tar "), 1000),
	} {
		l, d := layout(t, a)
		if _, err := Open(t.Context(), l, d, Options{}); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
	l, d := layout(t, archive(t, file("a", ""), file("b", ""), file("c", "")))
	if _, err := Open(t.Context(), l, d, Options{MaxEntries: 2}); err == nil || !strings.Contains(err.Error(), "more than 2 entries") {
		t.Errorf("too many entries: %v", err)
	}
}

func TestDigestsAreVerified(t *testing.T) {
	for name, spoil := range map[string]func(l *oci.Layout, c *v1.Image, m *v1.Manifest){
		"diff ID": func(_ *oci.Layout, c *v1.Image, _ *v1.Manifest) { c.RootFS.DiffIDs[0] = digest.FromString("other") },
		"count":   func(_ *oci.Layout, c *v1.Image, _ *v1.Manifest) { c.RootFS.DiffIDs = c.RootFS.DiffIDs[:1] },
		"digest":  func(_ *oci.Layout, c *v1.Image, _ *v1.Manifest) { c.RootFS.DiffIDs[1] = "sha256:x" },
		"size":    func(_ *oci.Layout, _ *v1.Image, m *v1.Manifest) { m.Layers[0].Size++ },
		"cut off": func(l *oci.Layout, _ *v1.Image, m *v1.Manifest) {
			p := l.BlobPath(m.Layers[0].Digest)
			st, _ := os.Stat(p)
			os.Truncate(p, st.Size()-20)
		},
		"one bit of the end": func(l *oci.Layout, _ *v1.Image, m *v1.Manifest) {
			p := l.BlobPath(m.Layers[2].Digest) // plain: only digests can tell
			b, _ := os.ReadFile(p)
			b[len(b)-1] ^= 1
			os.WriteFile(p, b, 0o644)
		},
	} {
		l, d := layout(t, archive(t, file("a", "1")), archive(t, file("b", "1")), archive(t, file("c", "1")))
		m, c, err := l.Image(d)
		if err != nil {
			t.Fatal(err)
		}
		spoil(l, &c, &m)
		if _, err := Open(t.Context(), l, layertest.Put(t, l, c, m.Layers), Options{}); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
	l, d := layout(t, archive(t))
	m, _, _ := l.Image(d)
	os.Remove(l.BlobPath(m.Layers[0].Digest))
	if _, err := Open(t.Context(), l, d, Options{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a blob that is not there: %v", err)
	}
}

func TestVisitAndKeep(t *testing.T) {
	layers := [][]byte{archive(t, file("a", "one"), file("secret", "s3"), hard("h", "a")), archive(t, file(".wh.secret", ""), file("a", "two"))}
	var seen []string
	o := Options{Keep: func(e *Entry) bool { return e.Path == "/a" }, KeepBytes: 4,
		Visit: func(layer int, e *Entry, r io.Reader) error {
			b, err := io.ReadAll(io.LimitReader(r, 2)) // less than there is
			seen = append(seen, fmt.Sprint(layer, e.Path, " ", string(b)))
			return err
		}}
	f := open(t, o, layers...)
	if want := []string{"0/a on", "0/secret s3", "1/a tw"}; !slices.Equal(seen, want) {
		t.Errorf("visited %q, want %q", seen, want)
	}
	if first := f.Layers[0].Entries[0]; !first.c.kept || f.kept != 3 {
		t.Errorf("kept %d bytes, the first %v; the second had no room", f.kept, first.c.kept)
	}
	for p, want := range map[string]string{"a": "two", "h": "one"} {
		if b, err := f.ReadFile(p, 9); err != nil || string(b) != want {
			t.Errorf("%s: %q %v", p, b, err)
		}
	}
	stop := errors.New("enough")
	l, d := layout(t, layers...)
	_, err := Open(t.Context(), l, d, Options{Visit: func(int, *Entry, io.Reader) error { return stop }})
	if !errors.Is(err, stop) || errors.Is(err, ErrCorrupt) {
		t.Errorf("the visitor's error: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Open(ctx, l, d, Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// BenchmarkOpen reads an image of 200 MB, a third of which does not compress, in
// 9,000 files.
func BenchmarkOpen(b *testing.B) {
	rnd := rand.New(rand.NewPCG(1, 2))
	var hs []h
	for i := range 9000 {
		body := make([]byte, 22<<10)
		for j := range body {
			body[j] = byte(j / 97)
			if j < len(body)/3 {
				body[j] = byte(rnd.Uint32())
			}
		}
		hs = append(hs, file(fmt.Sprintf("usr/share/d%d/f%d", i%300, i), string(body)))
	}
	plain := archive(b, hs...)
	for _, c := range []struct {
		name   string
		layers [][]byte
	}{{"gzip", [][]byte{plain}}, {"zstd", [][]byte{archive(b), plain}}, {"plain", [][]byte{archive(b), archive(b), plain}}} {
		l, d := layout(b, c.layers...)
		b.Run(c.name, func(b *testing.B) {
			b.SetBytes(int64(len(plain)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Open(b.Context(), l, d, Options{}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
