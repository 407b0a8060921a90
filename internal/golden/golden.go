// Package golden compares what a test got with a file beside it.
package golden

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// update rewrites the files: go test ./PACKAGE -update
var update = flag.Bool("update", false, "rewrite golden files in testdata")

// Updating says whether -update was given.
func Updating() bool { return *update }

// Check compares got with testdata/NAME of the package under test and fails with
// the first line that differs. With -update it writes the file instead.
func Check(t testing.TB, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", filepath.FromSlash(name))
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v (go test -update writes it)", err)
	}
	if d := Diff(string(want), string(got)); d != "" {
		t.Errorf("%s: %s\n(go test -update accepts the change)", path, d)
	}
}

// Diff names the first line in which two texts differ, "" when they are equal.
func Diff(want, got string) string {
	if want == got {
		return ""
	}
	w, g := strings.Split(want, "\n"), strings.Split(got, "\n")
	for i := 0; ; i++ {
		switch {
		case i == len(w):
			return fmt.Sprintf("line %d is new: %q", i+1, g[i])
		case i == len(g):
			return fmt.Sprintf("line %d is missing: %q", i+1, w[i])
		case w[i] != g[i]:
			return fmt.Sprintf("line %d\n want %q\n got  %q", i+1, w[i], g[i])
		}
	}
}
