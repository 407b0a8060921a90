package scaffold

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

const fakeMod = `module github.com/cfbuild/cfbuild

go 1.26.8

require (
	example.org/a v1.0.0
	example.org/b v2.0.0 // indirect
)

require example.org/c v3.0.0
`

func TestGoMod(t *testing.T) {
	got, err := GoMod(Options{Name: "mine", GoMod: fakeMod, Replace: "/a dir"})
	if err != nil {
		t.Fatal(err)
	}
	want := `module example.org/mine

go 1.26.8

require github.com/cfbuild/cfbuild v0.0.0

require (
	example.org/a v1.0.0 // indirect
	example.org/b v2.0.0 // indirect
	example.org/c v3.0.0 // indirect
)

replace github.com/cfbuild/cfbuild => "/a dir"
`
	if got != want {
		t.Errorf("got\n%s", got)
	}
	if _, err := GoMod(Options{GoMod: "module x\n"}); err == nil {
		t.Error("a go.mod without requirements passes")
	}
}

// A released version needs its own two lines in go.sum; the hash of go.mod is the
// one the go command computes.
func TestGoSum(t *testing.T) {
	// From golang.org/x/mod's documentation of the checksum database: the go.mod of
	// rsc.io/quote v1.5.2.
	const quoteMod = "module \"rsc.io/quote\"\n\nrequire \"rsc.io/sampler\" v1.3.0\n"
	if got := modHash(quoteMod); got != "h1:LzX7hefJvL54yjefDEDHNONDjII0t9xZLPXsUe+TKr0=" {
		t.Errorf("modHash = %s", got)
	}
	got := goSum(Options{GoMod: quoteMod, GoSum: "rest\n", Version: "v1.0.0", Sum: "h1:x="})
	want := "github.com/cfbuild/cfbuild v1.0.0 h1:x=\ngithub.com/cfbuild/cfbuild v1.0.0/go.mod h1:LzX7hefJvL54yjefDEDHNONDjII0t9xZLPXsUe+TKr0=\nrest\n"
	if got != want {
		t.Errorf("got\n%s", got)
	}
}

func TestName(t *testing.T) {
	for in, want := range map[string]string{"/x/My Images": "my-images", "base": "base", "/": "images", "ünï": "n", "a_b.c-1": "a_b.c-1", "--": "images"} {
		if got := Name(in); got != want {
			t.Errorf("Name(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestWriteIsWholeOrNothing(t *testing.T) {
	files := map[string][]byte{"a": []byte("1"), "b": []byte("2")}
	parent := t.TempDir()
	dir := filepath.Join(parent, "new", "one")
	if err := Write(dir, files, false); err != nil {
		t.Fatal(err)
	}
	if err := Write(dir, files, false); !errors.Is(err, ErrNotEmpty) {
		t.Errorf("a second time: %v", err)
	}
	empty := filepath.Join(parent, "empty")
	if err := os.Mkdir(empty, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := Write(empty, map[string][]byte{"no/dir": nil}, false); err == nil {
		t.Error("a file in a directory that is not there passes")
	}
	if all, _ := os.ReadDir(empty); len(all) != 0 {
		t.Errorf("%d files left by a failure", len(all))
	}
	if err := Write(empty, files, false); err != nil {
		t.Error(err)
	}
	for _, d := range []string{dir, empty} {
		st, err := os.Stat(d)
		if err != nil || st.Mode().Perm() != 0o755 {
			t.Errorf("%s: %v %v", d, st.Mode(), err)
		}
		if b, err := os.ReadFile(filepath.Join(d, "b")); err != nil || string(b) != "2" {
			t.Errorf("%s: %q %v", d, b, err)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(parent, ".init-*")); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}
