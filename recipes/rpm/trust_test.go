package rpm_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/cfbuild/cfbuild/recipes/rpm"
	"github.com/cfbuild/cfbuild/site"
)

// play does the steps of Trust below a directory, with this machine's shell.
func play(t *testing.T, root string, cas []site.Certificate) {
	t.Helper()
	g, err := pipelines.From(amd64, pipelines.Scratch{}).With(rpm.Trust(cas)).Graph()
	if err != nil {
		t.Fatal(err)
	}
	private := strings.NewReplacer("/usr/", root+"/usr/", "/etc/", root+"/etc/")
	for _, n := range g.Nodes {
		switch o := n.Op.(type) {
		case pipelines.File:
			write(t, filepath.Join(root, o.Path), o.Data, 0o644)
		case pipelines.Run:
			if out, err := exec.Command("sh", "-c", private.Replace(o.Shell)).CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
		}
	}
}

func write(t *testing.T, path string, data []byte, mode os.FileMode) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, mode); err != nil {
		t.Fatal(err)
	}
}

func TestTrustScript(t *testing.T) {
	cas := lab().ImageCAs()
	both := string(cas[0].PEM) + string(cas[1].PEM)
	const bundle, link = "etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem", "etc/pki/tls/certs/ca-bundle.crt"

	// No package: a bundle of its own where programs look, the same after a second
	// time.
	root := t.TempDir()
	for range 2 {
		play(t, root, cas)
		for _, path := range []string{bundle, link} {
			if got, err := os.ReadFile(filepath.Join(root, path)); err != nil || string(got) != both {
				t.Errorf("%s is %v\n%s", path, err, got)
			}
		}
	}

	// A bundle without the tool that made it keeps what it holds.
	root = t.TempDir()
	write(t, filepath.Join(root, bundle), []byte("public\n"), 0o600)
	write(t, filepath.Join(root, link), []byte("of a package\n"), 0o644)
	play(t, root, cas)
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
	write(t, filepath.Join(root, "usr/bin/update-ca-trust"), []byte("#!/bin/sh\n{ echo \"$@\"; ls "+root+"/etc/pki/ca-trust/source/anchors; } > "+root+"/ran\n"), 0o755)
	play(t, root, cas)
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
