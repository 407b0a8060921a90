//go:build linux && cgo && containers_image_openpgp && exclude_graphdriver_btrfs

package buildah_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cfbuild/cfbuild/builders"
	"github.com/cfbuild/cfbuild/builders/buildah"
	"github.com/cfbuild/cfbuild/builders/builderstest"
	"github.com/cfbuild/cfbuild/internal/testneed"
	"github.com/cfbuild/cfbuild/pipelines"
)

// The benchmark image: five RUN steps and a COPY on a base that is on this machine.
var benchSteps = []string{
	"mkdir -p /data/src && for i in 1 2 3 4 5 6 7 8; do head -c 500000 /bin/busybox > /data/src/$i; done",
	"cd /work && for f in src/*; do sha256sum $f; done > sums",
	"mkdir /data/out && cp -r /data/src /data/out/copy",
	"rm -r /data/src && gzip -k /data/out/copy/1",
	"find / -xdev | sort > /data/list",
}

// BenchmarkBuild compares with the buildah command on one image, cold (nothing
// kept but the base) and warm (nothing changed):
//
//	go test -run '^$' -bench Build -benchtime 5x -tags … ./builders/buildah
//
// Both start from the same OCI layout; both end with an image that is stored,
// ours with its layers compressed in an OCI layout besides.
func BenchmarkBuild(b *testing.B) {
	base := builderstest.Busybox(b)
	b.Run("cfbuild-cold", func(b *testing.B) {
		for i := 0; b.Loop(); i++ {
			b.StopTimer()
			o := builders.Options{StateDir: stateDir(b, builders.Options{})}
			bd := openBench(b, o)
			// The base is on the machine: unpacked by an earlier build.
			benchBuild(b, bd, base, []string{"true"})
			b.StartTimer()
			benchBuild(b, bd, base, benchSteps)
		}
	})
	b.Run("cfbuild-warm", func(b *testing.B) {
		bd := openBench(b, builders.Options{StateDir: stateDir(b, builders.Options{})})
		benchBuild(b, bd, base, benchSteps)
		for b.Loop() {
			if res := benchBuild(b, bd, base, benchSteps); res.Ran != 0 {
				b.Fatal("not warm")
			}
		}
	})
	peer, err := exec.LookPath("buildah")
	if err != nil {
		testneed.Skip(b, "buildah, the peer, is not installed")
	}
	b.Run("buildah-cold", func(b *testing.B) {
		for b.Loop() {
			b.StopTimer()
			p := newPeer(b, peer, base)
			b.StartTimer()
			p.build(b)
		}
	})
	b.Run("buildah-warm", func(b *testing.B) {
		p := newPeer(b, peer, base)
		p.build(b)
		for b.Loop() {
			p.build(b)
		}
	})
}

func openBench(b *testing.B, o builders.Options) builders.Builder {
	b.Helper()
	bd, err := buildah.Backend().Open(b.Context(), o)
	if err != nil {
		b.Fatal(err)
	}
	return bd
}

func benchBuild(b testing.TB, bd builders.Builder, base pipelines.Layout, steps []string) builders.Result {
	b.Helper()
	img := pipelines.From(pipelines.HostPlatform(), base)
	for _, s := range steps {
		img = img.Then(pipelines.Run{Shell: s})
	}
	g, err := img.Graph()
	if err != nil {
		b.Fatal(err)
	}
	res, err := bd.Build(b.Context(), builders.Request{Graph: g, Output: filepath.Join(b.TempDir(), "out")})
	if err != nil {
		b.Fatal(err)
	}
	return res
}

// peer is the buildah command with a store of its own.
type peer struct {
	program string
	args    []string
	context string
}

func newPeer(b *testing.B, program string, base pipelines.Layout) *peer {
	b.Helper()
	dir := b.TempDir()
	p := &peer{program: program, context: dir,
		args: []string{"--root", dir + "/root", "--runroot", dir + "/run", "--storage-driver", "overlay"}}
	// The name of the pulled image comes from the directory's, which has to be in
	// lower case.
	lower := filepath.Join(os.TempDir(), "cfbuild-bench-"+strings.ToLower(filepath.Base(filepath.Dir(dir)))+filepath.Base(dir))
	if err := os.Symlink(base.Path, lower); err != nil {
		b.Fatal(err)
	}
	defer os.Remove(lower)
	out, err := exec.Command(program, append(p.args, "pull", "-q", "oci:"+lower)...).Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			err = fmt.Errorf("%w: %s", err, exit.Stderr)
		}
		b.Fatalf("pull: %v", err)
	}
	file := "FROM " + strings.TrimSpace(string(out)) + "\n"
	for _, s := range benchSteps {
		file += fmt.Sprintf("RUN %s\n", s)
	}
	if err := os.WriteFile(dir+"/Containerfile", []byte(file), 0o644); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = exec.Command(program, append(p.args, "rmi", "-af")...).Run() })
	return p
}

func (p *peer) build(b *testing.B) {
	b.Helper()
	cmd := exec.Command(p.program, append(p.args, "build", "-q", "--layers", "--isolation", "chroot", "--network", "host", "-t", "bench", p.context)...)
	if out, err := cmd.CombinedOutput(); err != nil {
		b.Fatalf("%v: %v\n%s", cmd.Args, err, out)
	}
}

// BenchmarkProbe is what finding out a machine's capabilities takes.
func BenchmarkProbe(b *testing.B) {
	dir := stateDir(b, builders.Options{})
	for b.Loop() {
		if _, err := openBench(b, builders.Options{StateDir: dir}).Capabilities(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}
