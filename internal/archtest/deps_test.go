package archtest

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// light rooms must stay importable anywhere: no tag, no cgo, no backend.
var light = []string{"pipelines", "site", "recipes/...", "ci/...", "builders", "bootstrap"}

// heavy modules come with backends and publishers.
var heavy = []string{"go.podman.io/", "github.com/moby/", "dagger.io/", "github.com/containers/", "github.com/containerd/",
	"github.com/distribution/", "github.com/sylabs/", "gitlab.com/", "google.golang.org/grpc"}

func TestLightRoomsPullInNoBackend(t *testing.T) {
	args := []string{"list", "-deps", "-f", "{{.ImportPath}} {{if .CgoFiles}}cgo{{end}} {{.Standard}}"}
	for _, l := range light {
		args = append(args, module+l)
	}
	cmd := exec.Command("go", args...)
	cmd.Env = append(os.Environ(), "GOFLAGS=-buildvcs=false", "CGO_ENABLED=0")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	n := 0
	for line := range strings.Lines(string(out)) {
		f := strings.Fields(line)
		n++
		for _, h := range heavy {
			if strings.HasPrefix(f[0], h) {
				t.Errorf("a light room depends on %s", f[0])
			}
		}
		if len(f) == 3 && f[2] == "false" {
			t.Errorf("a light room needs cgo: %s", f[0])
		}
	}
	if n < 30 {
		t.Fatalf("only %d packages listed", n)
	}
}

func TestPipelinesIsStandardLibraryOnly(t *testing.T) {
	cmd := exec.Command("go", "list", "-deps", "-f", "{{if not .Standard}}{{.ImportPath}}{{end}}", module+"pipelines")
	cmd.Env = append(os.Environ(), "GOFLAGS=-buildvcs=false")
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.TrimSpace(string(out)); got != module+"pipelines" {
		t.Errorf("pipelines depends on more than the standard library:\n%s", got)
	}
}
