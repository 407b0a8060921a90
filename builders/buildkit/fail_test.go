//go:build !no_buildkit && linux && cgo && containers_image_openpgp && exclude_graphdriver_btrfs

package buildkit_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cfbuild/cfbuild/builders"
	"github.com/cfbuild/cfbuild/builders/builderstest"
	"github.com/cfbuild/cfbuild/builders/buildkit"
	"github.com/cfbuild/cfbuild/internal/buildkitdtest"
	"github.com/cfbuild/cfbuild/internal/daemontest"
	"github.com/cfbuild/cfbuild/internal/registrytest"
	"github.com/cfbuild/cfbuild/internal/testneed"
	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/cfbuild/cfbuild/site"
	"go.podman.io/image/v5/copy"
	"go.podman.io/image/v5/docker"
	"go.podman.io/image/v5/oci/layout"
	"go.podman.io/image/v5/signature"
	"go.podman.io/image/v5/types"
	"golang.org/x/sys/unix"
)

// request is a build of an image, with what its steps say.
func request(t *testing.T, img pipelines.Image) (builders.Request, *events) {
	t.Helper()
	g, err := img.Graph()
	if err != nil {
		t.Fatal(err)
	}
	ev := &events{}
	return builders.Request{Job: "job", Graph: g, Output: filepath.Join(t.TempDir(), "out"), Events: ev.sink}, ev
}

type events struct {
	mu   sync.Mutex
	all  []pipelines.Event
	hook func(pipelines.Event)
}

func (e *events) sink(ev pipelines.Event) {
	e.mu.Lock()
	e.all = append(e.all, ev)
	hook := e.hook
	e.mu.Unlock()
	if hook != nil {
		hook(ev)
	}
}

func busybox(t *testing.T) pipelines.Image {
	return pipelines.From(pipelines.HostPlatform(), builderstest.Busybox(t))
}

func unavailable(t *testing.T, err error) {
	t.Helper()
	var hint interface{ Hint() string }
	if !errors.Is(err, builders.ErrUnavailable) || !errors.As(err, &hint) || hint.Hint() == "" {
		t.Errorf("got %v, want that the builder is unavailable, with a hint", err)
	}
}

func TestNobodyThere(t *testing.T) {
	b, err := buildkit.Backend().Open(t.Context(), builders.Options{Address: "unix://" + filepath.Join(t.TempDir(), "s"), StateDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	if caps, err := b.Capabilities(t.Context()); err != nil || caps.Available || caps.Reason == "" || caps.Fix == "" {
		t.Errorf("capabilities %+v, %v", caps, err)
	}
	r, _ := request(t, busybox(t).Then(pipelines.File{Path: "/x"}))
	_, err = b.Build(t.Context(), r)
	unavailable(t, err)
	// What needs no daemon asks for none.
	r, _ = request(t, busybox(t).Then(pipelines.Configure{Cmd: []string{"/x"}}))
	if _, err := b.Build(t.Context(), r); err != nil {
		t.Errorf("configuration alone: %v", err)
	}
}

// TestDaemonDies: the build fails as the builder's fault, and one on the daemon's
// successor finds what was whole.
func TestDaemonDies(t *testing.T) {
	root := filepath.Join(daemontest.Dir(t), "root")
	d := buildkitdtest.Start(t, buildkitdtest.Options{Root: root})
	b := open(t, d)
	img := busybox(t).Then(pipelines.Run{Shell: "echo first > /first"})
	r, ev := request(t, img.Then(pipelines.Run{Shell: "echo begun; sleep 600"}))
	ev.hook = func(e pipelines.Event) {
		if e.Kind == pipelines.EventLog && e.Text == "begun" {
			go d.Process.Kill()
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	_, err := b.Build(ctx, r)
	unavailable(t, err)
	if _, err := os.Lstat(r.Output); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("there is an output: %v", err)
	}
	next := buildkitdtest.Start(t, buildkitdtest.Options{Root: root})
	r, _ = request(t, img.Then(pipelines.Run{Shell: "echo second > /second"}))
	res, err := open(t, next).Build(t.Context(), r)
	if err != nil || res.Ran != 1 || res.Cached != 1 {
		t.Errorf("after that: %+v, %v; want one step run and one kept", res, err)
	}
}

// TestFullDaemon: a step on a daemon's full disk fails as a step, and once there is room
// again it is built on.
func TestFullDaemon(t *testing.T) {
	testneed.Root(t)
	root := filepath.Join(daemontest.Dir(t), "root")
	if err := os.Mkdir(root, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("tmpfs", root, "tmpfs", 0, "size=64m"); err != nil {
		testneed.Skip(t, "no tmpfs can be mounted: "+err.Error())
	}
	t.Cleanup(func() {
		if err := unix.Unmount(root, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	d := buildkitdtest.Start(t, buildkitdtest.Options{Root: root})
	b := open(t, d)
	r, _ := request(t, busybox(t).Then(pipelines.Run{Shell: "dd if=/dev/zero of=/big bs=1M count=200"}))
	_, err := b.Build(t.Context(), r)
	var step *builders.StepError
	if !errors.As(err, &step) || step.ExitCode != 1 || !strings.Contains(err.Error(), "buildctl prune") {
		t.Errorf("got %v", err)
	}
	prune(t, d)
	r, _ = request(t, busybox(t).Then(pipelines.Run{Shell: "dd if=/dev/zero of=/small bs=1k count=1"}))
	if _, err := b.Build(t.Context(), r); err != nil {
		t.Errorf("what fits: %v", err)
	}
}

// TestPull: the registry is asked from here alone, and for nothing twice.
func TestPull(t *testing.T) {
	reg := registrytest.Start(t)
	ref := reg.Host() + "/some/base:1"
	src, err := layout.ParseReference(builderstest.Busybox(t).Path)
	if err != nil {
		t.Fatal(err)
	}
	dst, err := docker.ParseReference("//" + ref)
	if err != nil {
		t.Fatal(err)
	}
	policy, err := signature.NewPolicyContext(&signature.Policy{Default: signature.PolicyRequirements{signature.NewPRInsecureAcceptAnything()}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := copy.Image(t.Context(), policy, dst, src, &copy.Options{DestinationCtx: &types.SystemContext{DockerInsecureSkipTLSVerify: types.OptionalBoolTrue}, PreserveDigests: true}); err != nil {
		t.Fatal(err)
	}
	b := open(t, buildkitdtest.Start(t, buildkitdtest.Options{}))
	build := func() (builders.Result, error) {
		r, _ := request(t, pipelines.From(pipelines.HostPlatform(), pipelines.Pull{Ref: ref}).Then(pipelines.Run{Shell: "test -u /opt/suid && echo x > /x"}))
		r.Site = site.Site{Registries: []site.Registry{{Prefix: reg.Host(), Insecure: true}}}
		return b.Build(t.Context(), r)
	}
	first, err := build()
	if err != nil {
		t.Fatal(err)
	}
	reg.Forget()
	again, err := build()
	if err != nil || again.Digest != first.Digest || again.Ran != 0 {
		t.Errorf("again: %+v, %v; want %s from the cache", again, err, first.Digest)
	}
	if n := reg.Count("GET", "/v2/some/base/blobs/", ""); n != 0 {
		t.Errorf("%d blobs were fetched again", n)
	}
	reg.Close()
	r, _ := request(t, pipelines.From(pipelines.HostPlatform(), pipelines.Pull{Ref: ref}).Then(pipelines.File{Path: "/x"}))
	_, err = b.Build(t.Context(), r)
	var step *builders.StepError
	if !errors.As(err, &step) || !strings.Contains(err.Error(), "fail_test.go:") {
		t.Errorf("no registry: %v", err)
	}
}

// TestPrune: what is gone is made again.
func TestPrune(t *testing.T) {
	d := buildkitdtest.Start(t, buildkitdtest.Options{})
	o := builders.Options{Address: d.Addr, StateDir: t.TempDir()}
	b, err := buildkit.Backend().Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	img := busybox(t).Then(pipelines.File{Path: "/x", Data: []byte("x")}, pipelines.Run{Shell: "echo y > /y"})
	r, _ := request(t, img)
	first, err := b.Build(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	before, err := buildkit.Size(t.Context(), o)
	if err != nil || before == 0 {
		t.Fatalf("%d bytes, %v", before, err)
	}
	if freed, err := buildkit.Prune(t.Context(), o, time.Hour); err != nil || freed != 0 {
		t.Errorf("freed %d bytes of what was just used, %v", freed, err)
	}
	freed, err := buildkit.Prune(t.Context(), o, 0)
	if err != nil || freed == 0 {
		t.Errorf("freed %d bytes, %v", freed, err)
	}
	if after, err := buildkit.Size(t.Context(), o); err != nil || after >= before {
		t.Errorf("%d bytes left of %d, %v", after, before, err)
	}
	r, _ = request(t, img)
	if again, err := b.Build(t.Context(), r); err != nil || again.Digest != first.Digest || again.Ran != 0 {
		t.Errorf("after pruning: %+v, %v", again, err)
	}
}

// TestBrokenBlob: a layer that this machine's disk spoiled is fetched again.
func TestBrokenBlob(t *testing.T) {
	d := buildkitdtest.Start(t, buildkitdtest.Options{})
	state := t.TempDir()
	b, err := buildkit.Backend().Open(t.Context(), builders.Options{Address: d.Addr, StateDir: state})
	if err != nil {
		t.Fatal(err)
	}
	img := busybox(t).Then(pipelines.Run{Shell: "echo y > /y"})
	r, _ := request(t, img)
	first, err := b.Build(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	blobs, err := filepath.Glob(filepath.Join(state, "content/blobs/sha256/*"))
	if err != nil || len(blobs) == 0 {
		t.Fatal(blobs, err)
	}
	for _, p := range blobs {
		if err := os.WriteFile(p, []byte("spoiled"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.RemoveAll(filepath.Join(state, "layers")); err != nil {
		t.Fatal(err)
	}
	r, _ = request(t, img)
	if again, err := b.Build(t.Context(), r); err != nil || again.Digest != first.Digest {
		t.Errorf("%+v, %v; want %s", again, err, first.Digest)
	}
}
