package rpm_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/cfbuild/cfbuild/internal/recipetest"
	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/cfbuild/cfbuild/recipes/rpm"
)

func TestTrustScript(t *testing.T) {
	cas := lab().ImageCAs()
	both := string(cas[0].PEM) + string(cas[1].PEM)
	const bundle, link = "etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem", "etc/pki/tls/certs/ca-bundle.crt"

	// No package: a bundle of its own where programs look, the same after a second
	// time.
	root := t.TempDir()
	for range 2 {
		recipetest.Play(t, root, rpm.Trust(cas))
		for _, path := range []string{bundle, link} {
			if got, err := os.ReadFile(filepath.Join(root, path)); err != nil || string(got) != both {
				t.Errorf("%s is %v\n%s", path, err, got)
			}
		}
	}

	// A bundle without the tool that made it keeps what it holds.
	root = t.TempDir()
	recipetest.Put(t, filepath.Join(root, bundle), []byte("public\n"), 0o600)
	recipetest.Put(t, filepath.Join(root, link), []byte("of a package\n"), 0o644)
	recipetest.Play(t, root, rpm.Trust(cas))
	if got, _ := os.ReadFile(filepath.Join(root, bundle)); string(got) != "public\n"+both {
		t.Errorf("bundle is\n%s", got)
	}
	if info, _ := os.Stat(filepath.Join(root, bundle)); info.Mode().Perm() != 0o644 {
		t.Errorf("bundle has mode %o: not everyone can read it", info.Mode().Perm())
	}
	if got, _ := os.ReadFile(filepath.Join(root, link)); string(got) != "of a package\n" {
		t.Errorf("%s was replaced", link)
	}

	// With the package its own tool does it, and only that.
	root = t.TempDir()
	recipetest.Put(t, filepath.Join(root, "usr/bin/update-ca-trust"), []byte("#!/bin/sh\n{ echo \"$@\"; ls "+root+"/etc/pki/ca-trust/source/anchors; } > "+root+"/ran\n"), 0o755)
	recipetest.Play(t, root, rpm.Trust(cas))
	if ran, _ := os.ReadFile(filepath.Join(root, "ran")); string(ran) != "extract\nlab-root.pem\nother.pem\n" {
		t.Errorf("the tool saw %q", ran)
	}
	if _, err := os.Stat(filepath.Join(root, bundle)); err == nil {
		t.Error("the bundle was written besides")
	}

	// No authority, no step.
	if g, err := pipelines.From(amd64, pipelines.Scratch{}).With(rpm.Trust(nil)).Graph(); err != nil || len(g.Nodes) != 1 {
		t.Errorf("%v, %d nodes", err, len(g.Nodes))
	}
}
