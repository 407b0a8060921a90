package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cfbuild/cfbuild/bootstrap"
	"github.com/cfbuild/cfbuild/builders"
	"github.com/cfbuild/cfbuild/internal/oci"
	"github.com/cfbuild/cfbuild/pipelines"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

var (
	amd64 = pipelines.Platform{OS: "linux", Architecture: "amd64"}
	arm64 = pipelines.Platform{OS: "linux", Architecture: "arm64"}
	s390x = pipelines.Platform{OS: "linux", Architecture: "s390x"}
)

// fakeBuilder writes a layout whose configuration says what it was asked for.
type fakeBuilder struct {
	builds, running, most atomic.Int32
	fail                  string // jobs whose ID has this fail
	die                   bool   // leave a half-written output behind
	seen                  sync.Map
}

func (f *fakeBuilder) Name() string { return "fake" }
func (f *fakeBuilder) Capabilities(context.Context) (builders.Capabilities, error) {
	return builders.Capabilities{Available: true, Platforms: []pipelines.Platform{amd64, arm64}, NetworkNone: true}, nil
}

func (f *fakeBuilder) Build(ctx context.Context, r builders.Request) (builders.Result, error) {
	f.builds.Add(1)
	f.seen.Store(r.Job, r)
	now := f.running.Add(1)
	for old := f.most.Load(); now > old && !f.most.CompareAndSwap(old, now); old = f.most.Load() {
	}
	defer f.running.Add(-1)
	time.Sleep(20 * time.Millisecond)
	l, err := oci.Create(r.Output)
	if err != nil {
		return builders.Result{}, err
	}
	if f.die {
		return builders.Result{}, errors.New("died half-way")
	}
	if f.fail != "" && strings.Contains(r.Job, f.fail) {
		return builders.Result{}, &builders.StepError{Node: r.Graph.Result(), ExitCode: 3, Tail: []string{"boom"}}
	}
	epoch := r.Epoch
	c, err := l.PutJSON(v1.MediaTypeImageConfig, v1.Image{Created: &epoch, Author: r.Graph.ID(), Platform: oci.ToPlatform(r.Graph.Platform)})
	if err != nil {
		return builders.Result{}, err
	}
	m, err := l.PutJSON(v1.MediaTypeImageManifest, v1.Manifest{MediaType: v1.MediaTypeImageManifest, Config: c})
	if err != nil {
		return builders.Result{}, err
	}
	p := oci.ToPlatform(r.Graph.Platform)
	m.Platform = &p
	return builders.Result{Digest: m.Digest.String(), Size: m.Size}, l.SetIndex(v1.Index{Manifests: []v1.Descriptor{m}})
}

type fakeBoot struct{ epoch time.Time }

func (fakeBoot) Method() string { return "fake" }
func (fakeBoot) Platforms(context.Context, bootstrap.Request) ([]pipelines.Platform, error) {
	return []pipelines.Platform{amd64, arm64, s390x}, nil
}
func (f fakeBoot) Make(_ context.Context, r bootstrap.Request) (bootstrap.Root, error) {
	return bootstrap.Root{Layout: "/root", Digest: "sha256:" + strings.Repeat("a", 64), Epoch: f.epoch,
		Configure: []pipelines.Run{{Shell: "configure " + r.Platform.String()}}}, nil
}

// stageBoot makes a root in a first stage for another platform.
type stageBoot struct{ fakeBoot }

func (stageBoot) Make(context.Context, bootstrap.Request) (bootstrap.Root, error) {
	return bootstrap.Root{Layout: "/stage", Digest: "sha256:" + strings.Repeat("b", 64), Subtree: "/target", StagePlatform: amd64,
		Configure: []pipelines.Run{{Shell: "install"}}}, nil
}

func target(name string) pipelines.Target {
	return pipelines.Target{Name: name, Build: func(p pipelines.Platform) pipelines.Image {
		return pipelines.From(p, pipelines.Bootstrap{Method: "fake", Sources: []pipelines.PackageSource{{Repository: "r", Suite: "s"}}}).
			Then(pipelines.Run{Shell: "true " + name})
	}}
}

func plan(t *testing.T, ps []pipelines.Platform, names ...string) pipelines.Plan {
	t.Helper()
	out := pipelines.Plan{Version: 1}
	for _, n := range names {
		for _, p := range ps {
			j, err := pipelines.NewJob(target(n), p)
			if err != nil {
				t.Fatal(err)
			}
			out.Jobs = append(out.Jobs, j)
		}
	}
	return out
}

var bootEpoch = time.Unix(1700000000, 0).UTC()

func engineIn(t *testing.T, b builders.Builder) *Engine {
	t.Helper()
	return &Engine{Builder: b, Bootstrappers: []bootstrap.Bootstrapper{fakeBoot{bootEpoch}}, StateDir: t.TempDir(), Now: time.Now(), Jobs: 2}
}

func TestSecondRunBuildsNothing(t *testing.T) {
	b := &fakeBuilder{}
	e := engineIn(t, b)
	pl := plan(t, []pipelines.Platform{amd64, arm64}, "one", "two")
	first, err := e.Run(t.Context(), pl)
	if err != nil {
		t.Fatal(err)
	}
	if b.builds.Load() != 4 || b.most.Load() > 2 {
		t.Errorf("%d builds, %d at once; want 4 and at most 2", b.builds.Load(), b.most.Load())
	}
	r, _ := b.seen.Load("one-arm64")
	req := r.(builders.Request)
	if !req.Epoch.Equal(bootEpoch) {
		t.Errorf("epoch %v, want the bootstrap's", req.Epoch)
	}
	if _, ok := req.Graph.Nodes[0].Op.(pipelines.Layout); !ok || len(req.Graph.Nodes) != 3 {
		t.Errorf("the bootstrap was not lowered: %+v", req.Graph.Nodes)
	}
	second, err := e.Run(t.Context(), pl)
	if err != nil || b.builds.Load() != 4 {
		t.Fatalf("second run: %v, %d builds", err, b.builds.Load())
	}
	for i := range first.Artifacts {
		if first.Artifacts[i].Digest != second.Artifacts[i].Digest || !second.Artifacts[i].Cached {
			t.Errorf("%s: %+v", first.Artifacts[i].Job, second.Artifacts[i])
		}
	}
	e.NoCache = true
	if _, err := e.Run(t.Context(), pl); err != nil || b.builds.Load() != 8 {
		t.Errorf("--no-cache: %v, %d builds", err, b.builds.Load())
	}
}

// A root below a directory of a throw-away first stage is copied into an empty
// image, also where the stage is for another platform.
func TestSubtreeOfAFirstStage(t *testing.T) {
	b := &fakeBuilder{}
	e := engineIn(t, b)
	e.Bootstrappers = []bootstrap.Bootstrapper{stageBoot{}}
	if _, err := e.Run(t.Context(), plan(t, []pipelines.Platform{arm64}, "one")); err != nil {
		t.Fatal(err)
	}
	r, _ := b.seen.Load("one-arm64")
	g := r.(builders.Request).Graph
	if _, ok := g.Base().Op.(pipelines.Scratch); !ok || g.Platform != arm64 {
		t.Errorf("base %+v for %s", g.Base(), g.Platform)
	}
	at := slices.IndexFunc(g.Nodes, func(n pipelines.Node) bool { _, ok := n.Op.(pipelines.Copy); return ok })
	if at < 0 || g.Nodes[at].Op.(pipelines.Copy).Src[0] != "/target/" {
		t.Fatalf("%+v", g.Nodes)
	}
	stage, _ := g.Node(g.Nodes[at].Inputs[1])
	if run, ok := stage.Op.(pipelines.Run); !ok || run.Shell != "install" || stage.Platform != amd64 {
		t.Errorf("stage %+v", stage)
	}
}

func TestADamagedArtifactIsBuiltAgain(t *testing.T) {
	b := &fakeBuilder{}
	e := engineIn(t, b)
	pl := plan(t, []pipelines.Platform{amd64}, "one")
	got, err := e.Run(t.Context(), pl)
	if err != nil {
		t.Fatal(err)
	}
	blobs, _ := filepath.Glob(filepath.Join(got.Artifacts[0].Path, "blobs/sha256/*"))
	for _, f := range blobs {
		if err := os.Truncate(f, 3); err != nil {
			t.Fatal(err)
		}
	}
	if again, err := e.Run(t.Context(), pl); err != nil || again.Artifacts[0].Cached || b.builds.Load() != 2 {
		t.Errorf("%v, %+v", err, again)
	}
}

func TestAHalfWrittenArtifactIsNeverFound(t *testing.T) {
	b := &fakeBuilder{die: true}
	e := engineIn(t, b)
	pl := plan(t, []pipelines.Platform{amd64}, "one")
	if _, err := e.Run(t.Context(), pl); err == nil {
		t.Fatal("no error")
	}
	// What kill -9 leaves: a .part directory and a lock file.
	left, _ := filepath.Glob(filepath.Join(e.StateDir, "artifacts", "*.lock"))
	if len(left) != 1 {
		t.Fatalf("locks: %v", left)
	}
	part := strings.TrimSuffix(left[0], ".lock") + ".part"
	if err := os.MkdirAll(filepath.Join(part, "blobs"), 0o755); err != nil {
		t.Fatal(err)
	}
	b.die = false
	got, err := e.Run(t.Context(), pl)
	if err != nil || got.Artifacts[0].Cached {
		t.Fatalf("%v %+v", err, got)
	}
	if _, err := os.Stat(part); err == nil {
		t.Error("the .part directory is still there")
	}
}

func TestOneFailureLeavesTheOthers(t *testing.T) {
	b := &fakeBuilder{fail: "two-arm64"}
	e := engineIn(t, b)
	got, err := e.Run(t.Context(), plan(t, []pipelines.Platform{amd64, arm64}, "one", "two"))
	var step *builders.StepError
	var job *JobError
	if !errors.As(err, &step) || step.ExitCode != 3 || !errors.As(err, &job) || job.Job != "two-arm64" {
		t.Fatalf("%v", err)
	}
	if len(got.Artifacts) != 3 || len(got.Failed) != 1 || got.FailedTargets[0] != "two" {
		t.Fatalf("%+v", got)
	}
	p := &fakePublisher{}
	out, err := e.Deliver(t.Context(), p, got, Delivery{Output: t.TempDir(), Formats: []pipelines.Format{pipelines.FormatOCI, pipelines.FormatDocker},
		Push: map[string]string{"one": "r/one", "two": "r/two"}})
	if err != nil {
		t.Fatal(err)
	}
	if len(p.bundled) != 1 || len(p.pushed) != 1 || p.pushed[0] != "r/one" || len(out.Outputs) != 3 {
		t.Errorf("a target with a failed platform was delivered: %+v %+v", p, out)
	}
}

type fakePublisher struct{ bundled, pushed []string }

func (p *fakePublisher) Bundle(_ context.Context, _ []pipelines.Artifact, dir string) (string, bool, error) {
	p.bundled = append(p.bundled, dir)
	return "sha256:b", false, nil
}
func (p *fakePublisher) DockerArchive(context.Context, pipelines.Artifact, string, []string) (string, bool, error) {
	return "sha256:d", false, nil
}
func (p *fakePublisher) Push(_ context.Context, _, _, repo string, _ []string, _ string, _ pipelines.Sink) (pipelines.Receipt, error) {
	p.pushed = append(p.pushed, repo)
	return pipelines.Receipt{Ref: repo}, nil
}

func TestTwoRunsAtOnceBuildOnce(t *testing.T) {
	b := &fakeBuilder{}
	e := engineIn(t, b)
	pl := plan(t, []pipelines.Platform{amd64}, "one")
	var wg sync.WaitGroup
	for range 5 {
		wg.Go(func() {
			if _, err := e.Run(t.Context(), pl); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if b.builds.Load() != 1 {
		t.Errorf("%d builds", b.builds.Load())
	}
}

func TestOffered(t *testing.T) {
	e := engineIn(t, &fakeBuilder{})
	offered, runnable, err := e.Offered(t.Context(), target("x"))
	if err != nil || len(offered) != 3 || len(runnable) != 2 {
		t.Errorf("%v %v %v", offered, runnable, err)
	}
}

func TestUnsupportedPlatformIsSaidBeforeBuilding(t *testing.T) {
	b := &fakeBuilder{}
	e := engineIn(t, b)
	_, err := e.Run(t.Context(), plan(t, []pipelines.Platform{s390x}, "x"))
	var un *builders.UnsupportedError
	if !errors.As(err, &un) || b.builds.Load() != 0 {
		t.Errorf("%v", err)
	}
}

// lackingBoot knows no package.
type lackingBoot struct {
	fakeBoot
	err error
}

func (b lackingBoot) Make(context.Context, bootstrap.Request) (bootstrap.Root, error) {
	return bootstrap.Root{}, b.err
}

func TestErrorsOfABootstrapNameTheAuthorsLine(t *testing.T) {
	for _, c := range []struct {
		err    error
		placed bool
	}{
		{fmt.Errorf("package nowhere: %w", pipelines.ErrInvalid), true},
		{&pipelines.InvalidError{What: "package nowhere", Cause: "is in a module"}, true},
		{errors.New("mirror: connection refused"), false},
	} {
		e := engineIn(t, &fakeBuilder{})
		e.Bootstrappers = []bootstrap.Bootstrapper{lackingBoot{err: c.err}}
		_, err := e.Run(t.Context(), plan(t, []pipelines.Platform{amd64}, "x"))
		if !errors.Is(err, c.err) || strings.Contains(err.Error(), "engine_test.go:") != c.placed {
			t.Errorf("%v: placed should be %v", err, c.placed)
		}
	}
}

func TestPulledReferencesArePinned(t *testing.T) {
	b := &fakeBuilder{}
	e := engineIn(t, b)
	d := "sha256:" + strings.Repeat("c", 64)
	e.Resolve = func(context.Context, string) ([]pipelines.Platform, string, error) {
		return []pipelines.Platform{amd64}, d, nil
	}
	tg := pipelines.Target{Name: "p", Build: func(p pipelines.Platform) pipelines.Image {
		return pipelines.From(p, pipelines.Pull{Ref: "quay.io/x:1"})
	}}
	j, err := pipelines.NewJob(tg, amd64)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.Run(t.Context(), pipelines.Plan{Jobs: []pipelines.Job{j}}); err != nil {
		t.Fatal(err)
	}
	r, _ := b.seen.Load("p-amd64")
	if got := r.(builders.Request).Graph.Nodes[0].Op.(pipelines.Pull).Ref; got != "quay.io/x:1@"+d {
		t.Errorf("ref %s", got)
	}
	j, _ = pipelines.NewJob(tg, arm64)
	if _, err := e.Run(t.Context(), pipelines.Plan{Jobs: []pipelines.Job{j}}); !errors.Is(err, pipelines.ErrInvalid) {
		t.Errorf("a platform the reference lacks: %v", err)
	}
	// A registry that does not answer: the image is built each time, as what the
	// tag means is not known.
	e.Resolve = func(context.Context, string) ([]pipelines.Platform, string, error) {
		return nil, "", errors.New("down")
	}
	j, _ = pipelines.NewJob(tg, amd64)
	before := b.builds.Load()
	for range 2 {
		if _, err := e.Run(t.Context(), pipelines.Plan{Jobs: []pipelines.Job{j}}); err != nil {
			t.Fatal(err)
		}
	}
	if b.builds.Load() != before+2 {
		t.Errorf("an unpinned image came from the cache")
	}
}

func TestLocalContentIsIdentity(t *testing.T) {
	dir := t.TempDir()
	write := func(name, data string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(data), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	pinned := func() string {
		ops, err := pinLocal(pipelines.Node{}, pipelines.Local{Path: dir, Exclude: []string{"*.log"}})
		if err != nil {
			t.Fatal(err)
		}
		return ops[0].(pipelines.Local).Digest
	}
	write("a", "1")
	one := pinned()
	write("x.log", "noise")
	if pinned() != one {
		t.Error("an excluded file counts")
	}
	write("a", "2")
	if pinned() == one {
		t.Error("a changed file does not count")
	}
}

func TestCancel(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := engineIn(t, &fakeBuilder{}).Run(ctx, plan(t, []pipelines.Platform{amd64}, "one")); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}
