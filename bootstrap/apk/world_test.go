package apk_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	digest "github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/cfbuild/cfbuild/bootstrap"
	"github.com/cfbuild/cfbuild/bootstrap/apk"
	"github.com/cfbuild/cfbuild/internal/oci"
	"github.com/cfbuild/cfbuild/internal/testrepo/apkrepo"
	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/cfbuild/cfbuild/site"
)

var (
	amd64 = pipelines.Platform{OS: "linux", Architecture: "amd64"}
	arm64 = pipelines.Platform{OS: "linux", Architecture: "arm64"}
	now   = time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)
)

// request asks for packages of branch v3.24, component main, from mirrors.
func request(t testing.TB, key *apkrepo.Key, mirrors []string, include ...string) bootstrap.Request {
	t.Helper()
	r := bootstrap.Request{
		Op: pipelines.Bootstrap{Method: "apk", Include: include,
			Sources: []pipelines.PackageSource{{Repository: "alpine", Suite: "v3.24", Components: []string{"main"}}}},
		Platform: amd64, CacheDir: t.TempDir(), Now: now,
		Site: site.Site{Mirrors: map[string][]site.Mirror{}, Keyrings: map[string]site.Keyring{"alpine": key.Keyring(t)}},
	}
	for _, m := range mirrors {
		r.Site.Mirrors["alpine"] = append(r.Site.Mirrors["alpine"], site.Mirror{URL: m})
	}
	return r
}

func makeRoot(t testing.TB, r bootstrap.Request) bootstrap.Root {
	t.Helper()
	root, err := apk.New(apk.Options{}).Make(context.Background(), r)
	if err != nil {
		t.Fatal(err)
	}
	return root
}

// layerOf is the path of a root's one layer.
func layerOf(t testing.TB, root bootstrap.Root) string {
	t.Helper()
	l, err := oci.Open(root.Layout)
	if err != nil {
		t.Fatal(err)
	}
	idx, err := l.Index()
	if err != nil || len(idx.Manifests) != 1 || idx.Manifests[0].Digest.String() != root.Digest {
		t.Fatalf("%v, index %v", err, idx.Manifests)
	}
	m, _, err := l.Image(v1.Descriptor{MediaType: v1.MediaTypeImageManifest, Digest: digest.Digest(root.Digest), Size: idx.Manifests[0].Size})
	if err != nil || len(m.Layers) != 1 {
		t.Fatalf("%v, %d layers", err, len(m.Layers))
	}
	return l.BlobPath(m.Layers[0].Digest)
}

// configured extracts a root and runs its steps, as a builder would.
func configured(t testing.TB, root bootstrap.Root) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "root")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	run(t, "tar", "-C", dir, "--numeric-owner", "--xattrs", "--xattrs-include=*", "-xpzf", layerOf(t, root))
	for _, s := range root.Configure {
		args := []string{"-m", "-n", "-p", "-f", "/bin/sh", "-e", "-c", isolate, "sh", dir, "-i"}
		for k, v := range s.Env {
			args = append(args, k+"="+v)
		}
		run(t, "unshare", append(args, "/bin/sh", "-e", "-c", s.Shell)...)
	}
	return dir
}

// isolate gives the root a /proc and a /dev, as builders do.
const isolate = `mount -t proc proc "$1/proc"
mount -t tmpfs -o mode=755 tmpfs "$1/dev"
mknod -m 666 "$1/dev/null" c 1 3
mknod -m 666 "$1/dev/urandom" c 1 9
root=$1
shift
exec chroot "$root" /bin/busybox env "$@"`

func run(t testing.TB, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", name, err, out[max(0, len(out)-4000):])
	}
	return string(out)
}

// inRoot runs a command in a root.
func inRoot(t testing.TB, dir string, args ...string) (string, error) {
	t.Helper()
	cmd := exec.Command("chroot", append([]string{dir}, args...)...)
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin"}
	out, err := cmd.CombinedOutput()
	return strings.TrimSpace(string(out)), err
}
