package builderstest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cfbuild/cfbuild/builders"
	"github.com/cfbuild/cfbuild/internal/listing"
	"github.com/cfbuild/cfbuild/internal/oci"
	"github.com/cfbuild/cfbuild/internal/testneed"
	"github.com/cfbuild/cfbuild/pipelines"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// Epoch is the time stamp of what the cases build.
var epoch = time.Date(2024, 2, 29, 12, 0, 0, 0, time.UTC)

// Run runs all cases. open gives a builder with empty caches each time it is
// called; it is closed, if at all, with the test.
func Run(t *testing.T, open func(t *testing.T) builders.Builder) { RunExcept(t, open, nil) }

// RunExcept leaves cases out, each by its name and with the reason: what a backend that
// drives another program cannot do. A name that no case has fails.
func RunExcept(t *testing.T, open func(t *testing.T) builders.Builder, except map[string]string) {
	b := open(t)
	caps, err := b.Capabilities(t.Context())
	if err != nil {
		t.Fatalf("capabilities: %v", err)
	}
	if !caps.Available {
		testneed.Skip(t, b.Name()+" is not available: "+caps.Reason)
	}
	host := pipelines.HostPlatform()
	if !caps.CanRun(host) {
		t.Fatalf("cannot run the machine's own platform %s: %v", host, caps.Platforms)
	}
	s := &suite{b: b, open: open, caps: caps, p: host, base: busyboxBase(t, host)}
	left := maps.Clone(except)
	for _, c := range slices.Concat(opCases, copyCases, runCases, cacheCases, failureCases, foreignCases, trustCases, outsideCases) {
		if why, ok := left[c.name]; ok {
			t.Logf("left out: %s: %s", c.name, why)
			delete(left, c.name)
			continue
		}
		t.Run(c.name, func(t *testing.T) { c.run(t, s) })
	}
	for name := range left {
		t.Errorf("there is no case %q to leave out", name)
	}
}

type testCase struct {
	name string
	run  func(t *testing.T, s *suite)
}

// suite is what the cases share.
type suite struct {
	b    builders.Builder
	open func(t *testing.T) builders.Builder
	caps builders.Capabilities
	p    pipelines.Platform
	base pipelines.Layout
}

func (s *suite) image() pipelines.Image { return pipelines.From(s.p, s.base) }

// built is a finished build.
type built struct {
	builders.Result
	layout   *oci.Layout
	manifest v1.Manifest
	config   v1.Image
	entries  []listing.Entry
	events   *recorder
}

func graph(t *testing.T, img pipelines.Image) pipelines.Graph {
	t.Helper()
	g, err := img.Graph()
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func request(t *testing.T, img pipelines.Image) (builders.Request, *recorder) {
	t.Helper()
	rec := &recorder{}
	return builders.Request{Job: "job", Graph: graph(t, img), Output: filepath.Join(t.TempDir(), "out"), Epoch: epoch, Events: rec.sink}, rec
}

// build builds and reads what came out.
func (s *suite) build(t *testing.T, img pipelines.Image, change ...func(*builders.Request)) built {
	t.Helper()
	return buildWith(t, s.b, img, change...)
}

func buildWith(t *testing.T, b builders.Builder, img pipelines.Image, change ...func(*builders.Request)) built {
	t.Helper()
	r, rec := request(t, img)
	for _, f := range change {
		f(&r)
	}
	res, err := b.Build(t.Context(), r)
	if err != nil {
		t.Fatalf("build: %v\nlog:\n%s", err, rec.log())
	}
	out := read(t, r.Output, res, r.Graph.Platform)
	out.events = rec
	return out
}

// read opens an output and checks that it is whole and says the truth.
func read(t *testing.T, dir string, res builders.Result, p pipelines.Platform) built {
	t.Helper()
	out := built{Result: res}
	var err error
	if out.layout, err = oci.Open(dir); err != nil {
		t.Fatal(err)
	}
	idx, err := out.layout.Index()
	if err != nil {
		t.Fatal(err)
	}
	if len(idx.Manifests) != 1 {
		t.Fatalf("the index has %d manifests, want 1", len(idx.Manifests))
	}
	d, err := out.layout.Manifest(p)
	if err != nil {
		t.Fatal(err)
	}
	if d.Digest.String() != res.Digest || d.Size != res.Size {
		t.Fatalf("result says %s (%d bytes), the index %s (%d bytes)", res.Digest, res.Size, d.Digest, d.Size)
	}
	if d.MediaType != v1.MediaTypeImageManifest {
		t.Fatalf("media type %s", d.MediaType)
	}
	if err := out.layout.Verify(d); err != nil {
		t.Fatal(err)
	}
	if out.manifest, out.config, err = out.layout.Image(d); err != nil {
		t.Fatal(err)
	}
	if got := oci.FromPlatform(out.config.Platform); got != p {
		t.Fatalf("config is for %s, want %s", got, p)
	}
	if len(out.config.RootFS.DiffIDs) != len(out.manifest.Layers) {
		t.Fatalf("%d diff ids for %d layers", len(out.config.RootFS.DiffIDs), len(out.manifest.Layers))
	}
	full := 0
	for _, h := range out.config.History {
		if !h.EmptyLayer {
			full++
		}
	}
	if full != len(out.manifest.Layers) {
		t.Fatalf("history has %d layers, the manifest %d", full, len(out.manifest.Layers))
	}
	if out.entries, err = listing.Image(out.layout, d); err != nil {
		t.Fatal(err)
	}
	return out
}

// fail builds what must fail and checks that no output is left.
func (s *suite) fail(t *testing.T, img pipelines.Image, change ...func(*builders.Request)) (error, *recorder) {
	t.Helper()
	r, rec := request(t, img)
	for _, f := range change {
		f(&r)
	}
	_, err := s.b.Build(t.Context(), r)
	if err == nil {
		t.Fatalf("built what cannot be built\nlog:\n%s", rec.log())
	}
	if _, serr := os.Lstat(r.Output); !errors.Is(serr, os.ErrNotExist) {
		t.Errorf("a failed build left its output: %v", serr)
	}
	left, _ := os.ReadDir(filepath.Dir(r.Output))
	for _, e := range left {
		t.Errorf("a failed build left %s beside its output", e.Name())
	}
	return err, rec
}

// want checks entries, written as [listing.Entry.String] without hash: a line must
// begin with it. A line "- path" wants nothing there.
func (b built) want(t *testing.T, lines ...string) {
	t.Helper()
	for _, l := range lines {
		path, rest, _ := strings.Cut(l, " ")
		if path == "-" {
			if e, ok := listing.Find(b.entries, rest); ok {
				t.Errorf("is there: %s", e)
			}
			continue
		}
		e, ok := listing.Find(b.entries, path)
		if !ok {
			t.Errorf("not there: %s", l)
		} else if got := e.String(); !strings.HasPrefix(got+" ", l+" ") {
			t.Errorf("got  %s\nwant %s", got, l)
		}
	}
}

// content checks a file's content.
func (b built) content(t *testing.T, path, want string) {
	t.Helper()
	e, ok := listing.Find(b.entries, path)
	if !ok {
		t.Errorf("not there: %s", path)
	} else if string(e.Data) != want {
		t.Errorf("%s holds %q, want %q", path, e.Data, want)
	}
}

// sameAs wants two images to be the same to the bit.
func (b built) sameAs(t *testing.T, other built, what string) {
	t.Helper()
	if b.Digest == other.Digest {
		return
	}
	t.Errorf("%s: %s and %s", what, b.Digest, other.Digest)
	for _, l := range listing.Diff(b.entries, other.entries) {
		t.Log(l)
	}
	for i := range min(len(b.manifest.Layers), len(other.manifest.Layers)) {
		if x, y := b.manifest.Layers[i].Digest, other.manifest.Layers[i].Digest; x != y {
			t.Logf("layer %d: %s and %s", i, x, y)
		}
	}
	x, _ := json.Marshal(b.config)
	y, _ := json.Marshal(other.config)
	if string(x) != string(y) {
		t.Logf("config\n%s\n%s", x, y)
	}
}

// recorder gathers events.
type recorder struct {
	mu     sync.Mutex
	events []pipelines.Event
	hook   func(pipelines.Event)
}

func (r *recorder) sink(e pipelines.Event) {
	r.mu.Lock()
	r.events = append(r.events, e)
	hook := r.hook
	r.mu.Unlock()
	if hook != nil {
		hook(e)
	}
}

func (r *recorder) all() []pipelines.Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.events)
}

// log is the lines that steps wrote.
func (r *recorder) log() string {
	var b strings.Builder
	for _, e := range r.all() {
		if e.Kind == pipelines.EventLog {
			fmt.Fprintln(&b, e.Text)
		}
	}
	return b.String()
}

// balanced wants every step that started to end once.
func (r *recorder) balanced(t *testing.T) {
	t.Helper()
	state := map[string]pipelines.EventKind{}
	for _, e := range r.all() {
		if e.Job != "job" {
			t.Errorf("event of job %q: %+v", e.Job, e)
		}
		switch e.Kind {
		case pipelines.EventStart:
			if state[e.Step] != "" {
				t.Errorf("step %s starts after %s", e.Name, state[e.Step])
			}
			state[e.Step] = e.Kind
		case pipelines.EventDone, pipelines.EventCached, pipelines.EventFailed:
			if was := state[e.Step]; was != "" && was != pipelines.EventStart {
				t.Errorf("step %s ends twice: %s, %s", e.Name, was, e.Kind)
			}
			state[e.Step] = e.Kind
		}
	}
	for step, kind := range state {
		if kind == pipelines.EventStart {
			t.Errorf("step %s never ended", step)
		}
	}
}

// until gives a context that ends when an event fits.
func (r *recorder) until(t *testing.T, fits func(pipelines.Event) bool) context.Context {
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	r.hook = func(e pipelines.Event) {
		if fits(e) {
			cancel()
		}
	}
	return ctx
}
