package oci

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cfbuild/cfbuild/internal/testneed"
)

// run runs a program and gives its output.
func run(t testing.TB, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(testneed.Program(t, name), args...)
	out, err := cmd.Output()
	if err != nil {
		var ee *exec.ExitError
		if errors.As(err, &ee) {
			out = append(out, ee.Stderr...)
		}
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

func TestDockerArchive(t *testing.T) {
	p := New(Options{})
	path := filepath.Join(t.TempDir(), "out", "base-arm64.docker.tar")
	names := []string{"base:1.0", "registry.example.org/g/base", "base:1.0"}
	part := makePart(t, "base", "linux/arm64", "gzip", 100_000)
	sum, same, err := p.DockerArchive(t.Context(), part, path, names)
	if err != nil || same {
		t.Fatal(same, err)
	}
	if _, same, err := p.DockerArchive(t.Context(), part, path, names); err != nil || !same {
		t.Errorf("the second time: unchanged %v, %v", same, err)
	}
	// The same content in another compression gives the same file.
	for _, kind := range []string{"zstd", "tar"} {
		got, _, err := p.DockerArchive(t.Context(), makePart(t, "base", "linux/arm64", kind, 100_000), path+kind, names)
		if err != nil || got != sum {
			t.Errorf("%s: %s %v, want %s", kind, got, err, sum)
		}
		os.Remove(path + kind)
	}
	// A file that was changed is written again.
	b, _ := os.ReadFile(path)
	b[len(b)/2] ^= 1
	os.WriteFile(path, b, 0o644)
	if got, same, err := p.DockerArchive(t.Context(), part, path, names); err != nil || same || got != sum {
		t.Errorf("a damaged archive: %s unchanged %v, %v", got, same, err)
	}
	if got := entries(t, filepath.Dir(path)); !slices.Equal(got, []string{filepath.Base(path)}) {
		t.Errorf("left behind: %v", got)
	}
	if _, _, err := p.DockerArchive(t.Context(), part, path, []string{"Bad Name"}); err == nil || !strings.Contains(err.Error(), "Bad Name") {
		t.Errorf("error %v", err)
	}
	var oe *OutputError
	if _, _, err := p.DockerArchive(t.Context(), part, t.TempDir(), names); !errors.As(err, &oe) {
		t.Errorf("error %v", err)
	}

	t.Run("skopeo", func(t *testing.T) {
		var got struct {
			Architecture string
			Layers       []string
		}
		if err := json.Unmarshal([]byte(run(t, "skopeo", "inspect", "docker-archive:"+path)), &got); err != nil {
			t.Fatal(err)
		}
		if got.Architecture != "arm64" || len(got.Layers) != 2 {
			t.Errorf("%+v", got)
		}
		// It converts to an OCI layout: skopeo compares every layer with its diff_id.
		run(t, "skopeo", "copy", "--quiet", "docker-archive:"+path+":base:1.0", "oci:"+filepath.Join(t.TempDir(), "l")+":x")
	})
	t.Run("podman", func(t *testing.T) {
		pod := podman(t)
		if out := pod("load", "--quiet", "--input", path); !strings.Contains(out, "base:1.0") || !strings.Contains(out, "registry.example.org/g/base:latest") {
			t.Errorf("podman loaded %q", out)
		}
		if out := pod("image", "inspect", "--format", "{{.Os}}/{{.Architecture}} {{len .RootFS.Layers}}", "localhost/base:1.0"); strings.TrimSpace(out) != "linux/arm64 2" {
			t.Errorf("podman has %q", out)
		}
	})
}

// podman gives a podman with a storage of its own.
func podman(t testing.TB) func(args ...string) string {
	testneed.Root(t)
	testneed.Program(t, "podman")
	dir, err := os.MkdirTemp("", "pod-") // podman wants a short name
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return func(args ...string) string {
		t.Helper()
		return run(t, "podman", append([]string{"--root", dir + "/root", "--runroot", dir + "/run", "--storage-driver", "vfs",
			"--cgroup-manager", "cgroupfs", "--events-backend", "none"}, args...)...)
	}
}
