package dockerdtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cfbuild/cfbuild/bootstrap"
	"github.com/cfbuild/cfbuild/bootstrap/deb"
	"github.com/cfbuild/cfbuild/internal/oci"
	"github.com/cfbuild/cfbuild/internal/testneed"
	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/cfbuild/cfbuild/site"
)

// suite is the release whose Docker is the newer one.
const suite = "trixie"

// newer gives a root filesystem with that release's Docker.
func newer(t testing.TB) string {
	t.Helper()
	return unpacked(t, "docker-"+suite, "docker.io", "ca-certificates")
}

// NewerClient gives the directory of a root filesystem with that release's docker and its
// buildx. Both are run where they are: they need no more of it than a libc that this
// machine has as well.
func NewerClient(t testing.TB) string {
	t.Helper()
	return unpacked(t, "docker-client-"+suite, "docker-cli", "docker-buildx")
}

// unpacked gives a root filesystem with packages of that release, unpacked by our own
// bootstrap from the mirror this machine takes Debian from. No package of the machine is
// touched.
func unpacked(t testing.TB, name string, packages ...string) string {
	t.Helper()
	testneed.Root(t)
	return testneed.Kept(t, name, func(dir string) error {
		if _, err := os.Stat(dir); err == nil {
			return nil
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
		defer cancel()
		work, err := os.MkdirTemp(filepath.Dir(dir), "docker-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(work)
		mirror, err := mirrorOf(ctx)
		if err != nil {
			return err
		}
		root, err := deb.New(deb.Options{}).Make(ctx, bootstrap.Request{Job: name, CacheDir: filepath.Join(work, "cache"), Now: time.Now(),
			Platform: pipelines.Platform{OS: "linux", Architecture: "amd64"}, Events: func(pipelines.Event) {},
			Site: site.Site{Mirrors: map[string][]site.Mirror{"debian": {{URL: mirror}}}},
			Op: pipelines.Bootstrap{Method: "deb", Include: packages,
				Sources: []pipelines.PackageSource{{Repository: "debian", Suite: suite}}}})
		if err != nil {
			return err
		}
		layer, err := layerOf(root)
		if err != nil {
			return err
		}
		made := filepath.Join(work, "root")
		if err := os.Mkdir(made, 0o755); err != nil {
			return err
		}
		if out, err := exec.CommandContext(ctx, "tar", "-xpf", layer, "--numeric-owner", "-C", made).CombinedOutput(); err != nil {
			return fmt.Errorf("tar: %w: %s", err, out)
		}
		return os.Rename(made, dir)
	})
}

// mirrorOf gives the mirror that apt here has Debian from.
func mirrorOf(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages", "Origin: Debian").Output()
	if err != nil {
		return "", fmt.Errorf("apt-get indextargets: %w", err)
	}
	for _, u := range strings.Fields(string(out)) {
		if !strings.Contains(u, "security") {
			return u, nil
		}
	}
	return "", errors.New("apt has no source of Debian")
}

// layerOf gives the path of a root's one layer.
func layerOf(root bootstrap.Root) (string, error) {
	l, err := oci.Open(root.Layout)
	if err != nil {
		return "", err
	}
	images, err := l.Images()
	if err != nil || len(images) != 1 {
		return "", fmt.Errorf("root: %d images: %w", len(images), err)
	}
	m, _, err := l.Image(images[0])
	if err != nil || len(m.Layers) != 1 {
		return "", fmt.Errorf("root: %d layers: %w", len(m.Layers), err)
	}
	return l.BlobPath(m.Layers[0].Digest), nil
}
