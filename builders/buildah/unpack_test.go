//go:build linux && cgo && containers_image_openpgp && exclude_graphdriver_btrfs

package buildah

import (
	"archive/tar"
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cfbuild/cfbuild/internal/listing"
)

// makeTar writes a layer; names that end in a slash are directories, "a->b" is a
// link, "a=>b" a hard link, everything else a file.
func makeTar(t *testing.T, names ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, n := range names {
		h := &tar.Header{Name: n, Typeflag: tar.TypeReg, Mode: 0o640, Size: 1, Uid: os.Getuid(), Gid: os.Getgid(), ModTime: time.Unix(1e9, 0)}
		if at, target, ok := strings.Cut(n, "->"); ok {
			h.Name, h.Linkname, h.Typeflag, h.Size = at, target, tar.TypeSymlink, 0
		} else if at, target, ok := strings.Cut(n, "=>"); ok {
			h.Name, h.Linkname, h.Typeflag, h.Size = at, target, tar.TypeLink, 0
		} else if strings.HasSuffix(n, "/") {
			h.Typeflag, h.Mode, h.Size = tar.TypeDir, 0o755, 0
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if h.Size > 0 {
			if _, err := w.Write([]byte("x")); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// tree lists paths with their kinds.
func tree(t *testing.T, dir string) []string {
	t.Helper()
	var out []string
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || p == dir {
			return err
		}
		rel, _ := filepath.Rel(dir, p)
		out = append(out, rel+" "+d.Type().String())
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(out)
	return out
}

func TestUnpackLayers(t *testing.T) {
	layers := [][]byte{
		makeTar(t, "./", "d/", "d/a", "d/b", "d/sub/", "d/sub/x", "e/", "e/old", "e/in/", "e/in/deep", "l->d", "f", "g/", "g/h", "gone", "implied/dir/file", "c=>f"),
		makeTar(t, "d/.wh.a", "d/sub/.wh.x", "e/", "e/new", "e/in/", "e/in/new", "e/.wh..wh..opq", "l/", "l/own", "f->d/b", "g", ".wh.gone", ".wh.never", "d/.wh..wh.plnk"),
		makeTar(t, "g/", "g/again", "f", "e/.wh..wh..opq", "e/third", ".wh.implied"),
	}
	dir := t.TempDir()
	var want listing.Tree
	for _, l := range layers {
		if err := unpackTar(bytes.NewReader(l), root(dir), true, false); err != nil {
			t.Fatal(err)
		}
		if err := want.Add(bytes.NewReader(l)); err != nil {
			t.Fatal(err)
		}
	}
	kinds := map[string]string{"dir": fs.ModeDir.String(), "symlink": fs.ModeSymlink.String(), "file": fs.FileMode(0).String()}
	var paths []string
	for _, e := range want.List() {
		if e.Path != "." {
			paths = append(paths, e.Path+" "+kinds[e.Type])
		}
	}
	slices.Sort(paths)
	if got := tree(t, dir); !slices.Equal(got, paths) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(paths, "\n"))
	}
	fi, err := os.Stat(filepath.Join(dir, "d/b"))
	if err != nil || fi.Mode().Perm() != 0o640 || fi.ModTime().Unix() != 1e9 {
		t.Errorf("d/b: %v, %v", fi, err)
	}
	if fi, err := os.Stat(filepath.Join(dir, "g")); err != nil || fi.ModTime().Unix() != 1e9 {
		t.Errorf("a directory's time was lost: %v, %v", fi, err)
	}
}

// TestUnpackHostile: no name and no link leads out of the root.
func TestUnpackHostile(t *testing.T) {
	for name, l := range map[string][]byte{
		"dots":          makeTar(t, "../out", "a/../../out", "/../../out"),
		"absolute":      makeTar(t, "/out"),
		"link up":       makeTar(t, "up->../..", "up/out"),
		"link absolute": makeTar(t, "abs->OUTSIDE", "abs/out"),
		"link chain":    makeTar(t, "a->b", "b->c/..", "c->OUTSIDE", "a/out", "c/sub/out"),
		"link to file":  makeTar(t, "victim->OUTSIDE/victim", "victim"),
		"hard link out": makeTar(t, "OUTSIDE/victim", "h=>OUTSIDE/victim", "h"),
		"hard by link":  makeTar(t, "dir->OUTSIDE", "h=>dir/victim", "h"),
		"whiteout":      makeTar(t, "dir->OUTSIDE", "dir/.wh.victim", "dir/.wh..wh..opq", ".wh..", "sub/.wh..."),
		"chown a link":  makeTar(t, "l->OUTSIDE/victim"),
	} {
		t.Run(name, func(t *testing.T) {
			outside := t.TempDir()
			victim := filepath.Join(outside, "victim")
			if err := os.WriteFile(victim, []byte("precious"), 0o600); err != nil {
				t.Fatal(err)
			}
			dir := filepath.Join(outside, "deep/er/root")
			if err := os.MkdirAll(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			before := tree(t, outside)
			// The name has to be as long as the directory's for the checksum's sake:
			// so the layer is made anew.
			var names []string
			tr := tar.NewReader(bytes.NewReader(l))
			for h, err := tr.Next(); err == nil; h, err = tr.Next() {
				n := strings.ReplaceAll(h.Name, "OUTSIDE", outside)
				target := strings.ReplaceAll(h.Linkname, "OUTSIDE", outside)
				switch h.Typeflag {
				case tar.TypeSymlink:
					n += "->" + target
				case tar.TypeLink:
					n += "=>" + target
				}
				names = append(names, n)
			}
			err := unpackTar(bytes.NewReader(makeTar(t, names...)), root(dir), true, false)
			t.Log(err)
			got := slices.DeleteFunc(tree(t, outside), func(p string) bool { return strings.HasPrefix(p, "deep/er/root/") })
			if !slices.Equal(got, before) {
				t.Errorf("outside: %q, was %q", got, before)
			}
			if b, err := os.ReadFile(victim); err != nil || string(b) != "precious" {
				t.Errorf("the file outside: %q, %v", b, err)
			}
			if fi, err := os.Stat(victim); err != nil || fi.Mode().Perm() != 0o600 {
				t.Errorf("the file outside: %v, %v", fi, err)
			}
		})
	}
}
