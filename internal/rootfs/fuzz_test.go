package rootfs

import (
	"bytes"
	"io"
	"path"
	"strings"
	"testing"
)

// Two archives, whatever they hold, give an error or a filesystem in which every
// entry is found under its own path, below directories only.
func FuzzAdd(f *testing.F) {
	f.Add(archive(f, dir("d/"), file("d/a", "x"), hard("b", "d/a"), link("l", "../..")), archive(f, file("d/.wh.a", ""), file("l/x", ""), file("d/.wh..wh..opq", "")))
	f.Add(archive(f, file("a", ""), file("a/b", "")), archive(f, file(".wh..wh..opq", ""), file(".", "")))
	f.Add(archive(f, file("../a", "")), []byte("x"))
	f.Fuzz(func(t *testing.T, one, two []byte) {
		visited := 0
		fs := New(Options{MaxEntries: 1000, KeepBytes: 1 << 16, Keep: func(*Entry) bool { return true },
			Visit: func(_ int, _ *Entry, r io.Reader) error {
				visited++
				_, err := io.Copy(io.Discard, io.LimitReader(r, 1<<20))
				return err
			}})
		for _, b := range [][]byte{one, two} {
			if err := fs.Add(t.Context(), bytes.NewReader(b)); err != nil {
				return
			}
		}
		for _, e := range fs.List() {
			if e.Path != path.Clean(e.Path) || !strings.HasPrefix(e.Path, "/") {
				t.Errorf("path %q", e.Path)
			}
			if got, ok := fs.Lookup(e.Path); !ok || got != e {
				t.Errorf("%q is %+v", e.Path, got)
			}
			if up, ok := fs.Lookup(path.Dir(e.Path)); ok && up.Type != Dir && e.Path != "/" {
				t.Errorf("%q is below a %s", e.Path, up.Type)
			}
			if r, err := fs.Resolve(e.Path); err == nil && r.Type == Symlink {
				t.Errorf("%q leads to a link", e.Path)
			}
			if e.Type == File && e.Hard == "" {
				visited--
			}
		}
		if visited < 0 {
			t.Errorf("%d files were not visited", -visited)
		}
	})
}
