package assemble_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/cfbuild/cfbuild/internal/assemble"
	"github.com/cfbuild/cfbuild/internal/layertest"
)

func three(t *testing.T) *lab {
	return newLab(t, layertest.Tar(t, baseTar...)).
		raw(layertest.Tar(t, m("one:1", later), m("f:changed")), layertest.Gzip).
		raw(layertest.Tar(t, m("d/a:1"), m("f:changed", later)), layertest.Zstd).
		raw(layertest.Tar(t, m("two=>one"), m(".wh.f:")), layertest.Plain)
}

func glob(t *testing.T, parts ...string) []string {
	t.Helper()
	out, err := filepath.Glob(filepath.Join(parts...))
	if err != nil || len(out) == 0 {
		t.Fatalf("%q: %q, %v", parts, out, err)
	}
	return out
}

// TestKept: what was made once is there again without its sources being read.
func TestKept(t *testing.T) {
	l := three(t)
	first := l.must()
	for _, g := range l.spec.Groups {
		if err := os.WriteFile(l.spec.Raw.BlobPath(g.Raw.Digest), []byte("gone"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if again := l.must(); again.Digest != first.Digest {
		t.Errorf("%s and %s", first.Digest, again.Digest)
	}
}

// TestReadAhead: what is in the base is kept, and is what Write would have found.
func TestReadAhead(t *testing.T) {
	l := three(t)
	if err := assemble.ReadAhead(t.Context(), *l.spec.Base, amd64, l.spec.Cache); err != nil {
		t.Fatal(err)
	}
	kept := glob(t, l.spec.Cache, "items/*")
	want := three(t)
	if got := l.must(); len(kept) != 1 || got.Digest != want.must().Digest {
		t.Errorf("kept %q, made %s", kept, got.Digest)
	}
	if all := glob(t, want.spec.Cache, "items/"+filepath.Base(kept[0])); len(all) != 1 {
		t.Errorf("Write keeps the base elsewhere: %q", all)
	}
}

// TestChangedOnTop: only the layer above what is kept is made, on trees out of the
// cache, and comes out as without a cache.
func TestChangedOnTop(t *testing.T) {
	l := three(t)
	l.must()
	for _, g := range l.spec.Groups {
		if err := os.Remove(l.spec.Raw.BlobPath(g.Raw.Digest)); err != nil {
			t.Fatal(err)
		}
	}
	top := layertest.Tar(t, m("three=>two"), m("d/.wh.a:"), m("one:1", later.Add(time.Hour)))
	got := l.raw(top, layertest.Gzip).must()
	if want := three(t).raw(top, layertest.Gzip).must(); got.Digest != want.Digest {
		t.Errorf("%s, without a cache %s", got.Digest, want.Digest)
	}
}

// TestBrokenCache: what is broken is made again.
func TestBrokenCache(t *testing.T) {
	for name, harm := range map[string]func(p string) error{
		"torn":  func(p string) error { fi, err := os.Stat(p); _ = err; return os.Truncate(p, fi.Size()/2) },
		"empty": func(p string) error { return os.Truncate(p, 0) },
		"gone":  os.Remove,
		"rotten": func(p string) error {
			b, err := os.ReadFile(p)
			if err == nil && len(b) > 0 {
				b[len(b)/2] ^= 0x10
				err = os.WriteFile(p, b, 0o644)
			}
			return err
		},
		"garbage": func(p string) error { return os.WriteFile(p, []byte(`{"digest":"x"}`), 0o600) },
	} {
		for _, what := range []string{"meta/*", "items/*", "blobs/blobs/sha256/*", "blobs/oci-layout", "*/*", "*/blobs/sha256/*"} {
			t.Run(name+" "+what, func(t *testing.T) {
				l := three(t)
				want := l.must()
				for _, p := range glob(t, l.spec.Cache, what) {
					if fi, err := os.Stat(p); err != nil || fi.IsDir() {
						continue
					}
					if err := harm(p); err != nil {
						t.Fatal(err)
					}
				}
				top := layertest.Tar(t, m("three=>two"), m("d/.wh.a:"))
				if name == "rotten" && what != "*/*" { // that shows where a layer is read again
					if err := os.RemoveAll(filepath.Join(l.spec.Cache, "items")); err != nil {
						t.Fatal(err)
					}
					if got, want := l.raw(top, layertest.Gzip).must(), three(t).raw(top, layertest.Gzip).must(); got.Digest != want.Digest {
						t.Errorf("%s, without a cache %s", got.Digest, want.Digest)
					}
					return
				}
				got := l.must()
				if got.Digest != want.Digest {
					t.Errorf("%s, was %s", got.Digest, want.Digest)
				}
				if got, want := l.raw(top, layertest.Gzip).must(), three(t).raw(top, layertest.Gzip).must(); got.Digest != want.Digest {
					t.Errorf("%s, without a cache %s", got.Digest, want.Digest)
				}
			})
		}
	}
}

// TestKey: the same raw layer is another one for another epoch, or above something
// else.
func TestKey(t *testing.T) {
	archive := layertest.Tar(t, m("n:1", later), m("d/a:1"))
	a := newLab(t, layertest.Tar(t, baseTar...)).raw(archive, layertest.Gzip)
	one := a.must()
	b := newLab(t, layertest.Tar(t, m("d/"))).raw(archive, layertest.Gzip)
	b.spec.Cache = a.spec.Cache
	two := b.must()
	a.spec.Epoch = epoch.Add(-time.Hour)
	three := a.must()
	if x, y, z := one.config.RootFS.DiffIDs[1], two.config.RootFS.DiffIDs[1], three.config.RootFS.DiffIDs[1]; x == y || x == z || y == z {
		t.Errorf("%s, %s, %s", x, y, z)
	}
}

func TestPrune(t *testing.T) {
	l := three(t)
	want := l.must()
	leftover := filepath.Join(l.spec.Cache, "meta", ".tmp-x")
	if err := os.WriteFile(leftover, []byte("1234"), 0o600); err != nil {
		t.Fatal(err)
	}
	if n, err := assemble.Prune(t.Context(), l.spec.Cache, time.Hour); err != nil || n != 4 {
		t.Errorf("pruned %d bytes of what is young, %v", n, err)
	}
	for _, g := range l.spec.Groups {
		if err := os.Remove(l.spec.Raw.BlobPath(g.Raw.Digest)); err != nil {
			t.Fatal(err)
		}
	}
	if got := l.must(); got.Digest != want.Digest {
		t.Errorf("%s, was %s", got.Digest, want.Digest)
	}
	past := time.Now().Add(-2 * time.Hour)
	for _, p := range append(glob(t, l.spec.Cache, "meta/*"), glob(t, l.spec.Cache, "items/*")...) {
		if err := os.Chtimes(p, past, past); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := assemble.Prune(t.Context(), l.spec.Cache, time.Hour); err != nil || n == 0 {
		t.Errorf("pruned %d bytes of what is old, %v", n, err)
	}
	for _, d := range []string{"meta", "items", "blobs/blobs/sha256"} {
		if left, err := os.ReadDir(filepath.Join(l.spec.Cache, d)); err != nil || len(left) > 0 {
			t.Errorf("%s: %v, %v", d, left, err)
		}
	}
	if n, err := assemble.Prune(t.Context(), t.TempDir(), 0); err != nil || n != 0 {
		t.Errorf("no cache: %d, %v", n, err)
	}
}
