package debian_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/cfbuild/cfbuild/internal/recipetest"
	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/cfbuild/cfbuild/recipes/debian"
)

func TestTrustScript(t *testing.T) {
	cas := lab().ImageCAs()
	both := string(cas[0].PEM) + string(cas[1].PEM)
	bundle := "etc/ssl/certs/ca-certificates.crt"
	read := func(root string) string {
		b, err := os.ReadFile(filepath.Join(root, bundle))
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}

	// No package: a bundle of its own, the same after a second time.
	root := t.TempDir()
	for range 2 {
		recipetest.Play(t, root, debian.Trust(cas))
		if got := read(root); got != both {
			t.Errorf("bundle is\n%s", got)
		}
	}

	// A bundle without the tool that made it keeps what it holds.
	root = t.TempDir()
	if err := os.MkdirAll(filepath.Dir(filepath.Join(root, bundle)), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, bundle), []byte("public\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	recipetest.Play(t, root, debian.Trust(cas))
	if got := read(root); got != "public\n"+both {
		t.Errorf("bundle is\n%s", got)
	}
	if info, _ := os.Stat(filepath.Join(root, bundle)); info.Mode().Perm() != 0o644 {
		t.Errorf("bundle has mode %o: not everyone can read it", info.Mode().Perm())
	}

	// With the package its own tool does it, and only that.
	root = t.TempDir()
	tool := filepath.Join(root, "usr/sbin/update-ca-certificates")
	if err := os.MkdirAll(filepath.Dir(tool), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(tool, []byte("#!/bin/sh\nls "+root+"/usr/local/share/ca-certificates > "+root+"/ran\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	recipetest.Play(t, root, debian.Trust(cas))
	if ran, _ := os.ReadFile(filepath.Join(root, "ran")); string(ran) != "lab-root.crt\nother.crt\n" {
		t.Errorf("the tool saw %q", ran)
	}
	if _, err := os.Stat(filepath.Join(root, bundle)); err == nil {
		t.Error("the bundle was written besides")
	}

	// No authority, no step.
	img := pipelines.From(amd64, pipelines.Scratch{})
	if g, err := img.With(debian.Trust(nil)).Graph(); err != nil || len(g.Nodes) != 1 {
		t.Errorf("%v, %d nodes", err, len(g.Nodes))
	}
}
