package listing

import (
	"archive/tar"
	"bytes"
	"strings"
	"testing"
)

func layer(t *testing.T, hs ...tar.Header) *bytes.Buffer {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range hs {
		data := h.Uname // the content, carried there for short
		h.Uname = ""
		h.Size = int64(len(data))
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(data)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return &b
}

func TestLayers(t *testing.T) {
	var tree Tree
	for _, l := range []*bytes.Buffer{
		layer(t, tar.Header{Name: "d/", Typeflag: tar.TypeDir, Mode: 0o755},
			tar.Header{Name: "d/a", Typeflag: tar.TypeReg, Mode: 0o644, Uname: "one"},
			tar.Header{Name: "d/b", Typeflag: tar.TypeLink, Linkname: "d/a"},
			tar.Header{Name: "gone/", Typeflag: tar.TypeDir, Mode: 0o755},
			tar.Header{Name: "gone/x", Typeflag: tar.TypeReg, Mode: 0o644},
			tar.Header{Name: "o/", Typeflag: tar.TypeDir, Mode: 0o755},
			tar.Header{Name: "o/old", Typeflag: tar.TypeReg, Mode: 0o644}),
		layer(t, tar.Header{Name: ".wh.gone", Typeflag: tar.TypeReg},
			tar.Header{Name: "o/", Typeflag: tar.TypeDir, Mode: 0o700},
			tar.Header{Name: "o/new", Typeflag: tar.TypeReg, Mode: 0o4755},
			tar.Header{Name: "o/.wh..wh..opq", Typeflag: tar.TypeReg},
			tar.Header{Name: "d", Typeflag: tar.TypeSymlink, Linkname: "o", PAXRecords: map[string]string{"SCHILY.xattr.user.x": "y"}}),
	} {
		if err := tree.Add(l); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	for _, e := range tree.List() {
		got = append(got, e.String())
	}
	const empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	want := []string{`d symlink 0777 0:0 -> o user.x="y"`, "o dir 0700 0:0", "o/new file 4755 0:0 0 " + empty}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Fatalf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestHardLinksAndDiff(t *testing.T) {
	var a, b Tree
	if err := a.Add(layer(t, tar.Header{Name: "a", Typeflag: tar.TypeReg, Uname: "x"}, tar.Header{Name: "b", Typeflag: tar.TypeLink, Linkname: "a"})); err != nil {
		t.Fatal(err)
	}
	if err := b.Add(layer(t, tar.Header{Name: "a", Typeflag: tar.TypeReg, Uname: "x"}, tar.Header{Name: "b", Typeflag: tar.TypeReg, Uname: "x"}, tar.Header{Name: "c", Typeflag: tar.TypeFifo})); err != nil {
		t.Fatal(err)
	}
	d := Diff(a.List(), b.List())
	if len(d) != 3 || !strings.HasPrefix(d[0], "- b") || !strings.Contains(d[0], "= a") || !strings.HasPrefix(d[2], "+ c fifo") {
		t.Fatalf("got %q", d)
	}
	if err := b.Add(layer(t, tar.Header{Name: "z", Typeflag: tar.TypeLink, Linkname: "nowhere"})); err == nil {
		t.Fatal("a hard link to nothing was taken")
	}
}
