package alpine_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/cfbuild/cfbuild/internal/recipetest"
	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/cfbuild/cfbuild/recipes/alpine"
)

func put(t *testing.T, path, data string) {
	t.Helper()
	recipetest.Put(t, path, []byte(data), 0o755)
}

func TestTrustScript(t *testing.T) {
	cas := lab().ImageCAs()
	both := string(cas[0].PEM) + string(cas[1].PEM)
	for _, c := range []struct {
		name    string
		prepare func(root string)
		// what the bundle and /etc/ssl/cert.pem hold in the end
		bundle, pem string
	}{
		{"nothing there", func(string) {}, both, both},
		{"a bundle and a link, as the package has them", func(root string) {
			put(t, root+"/etc/ssl/certs/ca-certificates.crt", "public\n")
			if err := os.Symlink("certs/ca-certificates.crt", root+"/etc/ssl/cert.pem"); err != nil {
				t.Fatal(err)
			}
		}, "public\n" + both, "public\n" + both},
		{"a file, as old releases have it", func(root string) { put(t, root+"/etc/ssl/cert.pem", "public\n") }, "public\n" + both, "public\n" + both},
	} {
		root := t.TempDir()
		c.prepare(root)
		for range 2 { // a second time changes nothing
			recipetest.Play(t, root, alpine.Trust(cas))
			for file, want := range map[string]string{"certs/ca-certificates.crt": c.bundle, "cert.pem": c.pem} {
				if got, err := os.ReadFile(filepath.Join(root, "etc/ssl", file)); err != nil || string(got) != want {
					t.Errorf("%s: %s: %v\n%s", c.name, file, err, got)
				}
			}
		}
	}
	// With the package its own tool does it, and only that.
	root := t.TempDir()
	put(t, root+"/usr/sbin/update-ca-certificates", "#!/bin/sh\nls "+root+"/usr/local/share/ca-certificates > "+root+"/ran\n")
	recipetest.Play(t, root, alpine.Trust(cas))
	if ran, _ := os.ReadFile(root + "/ran"); string(ran) != "lab-root.crt\nother.crt\n" {
		t.Errorf("the tool saw %q", ran)
	}
	if _, err := os.Stat(root + "/etc/ssl/certs/ca-certificates.crt"); err == nil {
		t.Error("the bundle was written besides")
	}
	// No authority, no step.
	if g, err := pipelines.From(amd64, pipelines.Scratch{}).With(alpine.Trust(nil)).Graph(); err != nil || len(g.Nodes) != 1 {
		t.Errorf("%v, %d nodes", err, len(g.Nodes))
	}
}
