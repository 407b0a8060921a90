package recipetest

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cfbuild/cfbuild/pipelines"
)

// Play does the File and Run steps of part of a recipe below a directory, with this
// machine's shell; /etc, /usr and /var in scripts mean those of the directory.
func Play(t testing.TB, root string, part func(pipelines.Image) pipelines.Image) {
	t.Helper()
	g, err := pipelines.From(pipelines.HostPlatform(), pipelines.Scratch{}).With(part).Graph()
	if err != nil {
		t.Fatal(err)
	}
	private := strings.NewReplacer("/usr/", root+"/usr/", "/etc/", root+"/etc/", "/var/", root+"/var/")
	for _, n := range g.Nodes {
		switch o := n.Op.(type) {
		case pipelines.File:
			Put(t, filepath.Join(root, o.Path), o.Data, 0o644)
		case pipelines.Run:
			if out, err := exec.Command("sh", "-c", private.Replace(o.Shell)).CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
		}
	}
}

// Put writes a file, with the directories above it.
func Put(t testing.TB, path string, data []byte, mode os.FileMode) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, mode); err != nil {
		t.Fatal(err)
	}
}
