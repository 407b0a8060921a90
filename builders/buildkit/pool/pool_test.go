package pool

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/cfbuild/cfbuild/builders"
	"github.com/cfbuild/cfbuild/pipelines"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

var (
	amd64 = pipelines.Platform{OS: "linux", Architecture: "amd64"}
	arm64 = pipelines.Platform{OS: "linux", Architecture: "arm64"}
	s390x = pipelines.Platform{OS: "linux", Architecture: "s390x"}
)

// fake is the builder of one worker.
type fake struct {
	address string
	caps    builders.Capabilities
	build   func(ctx context.Context, r builders.Request) error
	mu      sync.Mutex
	built   []string // jobs
}

func (f *fake) Name() string { return "buildkit" }

func (f *fake) Capabilities(context.Context) (builders.Capabilities, error) { return f.caps, nil }

func (f *fake) Build(ctx context.Context, r builders.Request) (builders.Result, error) {
	f.mu.Lock()
	f.built = append(f.built, r.Job)
	f.mu.Unlock()
	if f.build != nil {
		if err := f.build(ctx, r); err != nil {
			return builders.Result{}, err
		}
	}
	return builders.Result{Digest: f.address}, nil
}

// can gives capabilities: the first platform is native, the others are emulated.
func can(ps ...pipelines.Platform) builders.Capabilities {
	return builders.Capabilities{Available: true, Platforms: ps, Emulated: ps[1:], Secrets: true}
}

// lab opens fakes by address; what is missing refuses the connection.
type lab struct {
	mu      sync.Mutex
	workers map[string]*fake
	opened  map[string]int
}

func (l *lab) open(_ context.Context, address string) (builders.Builder, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.opened == nil {
		l.opened = map[string]int{}
	}
	l.opened[address]++
	f, ok := l.workers[address]
	if !ok {
		return nil, &builders.UnavailableError{Builder: "buildkit", Reason: address + ": connection refused", Fix: "start it"}
	}
	f.address = address
	return f, nil
}

func (l *lab) pool(t *testing.T, list string) *Pool {
	t.Helper()
	ws, err := Parse(list, nil)
	if err != nil {
		t.Fatal(err)
	}
	return New(Options{Name: "buildkit", Workers: ws, Open: l.open})
}

func request(t *testing.T, p pipelines.Platform, steps ...pipelines.Step) builders.Request {
	t.Helper()
	g, err := pipelines.From(p, pipelines.Scratch{}).Then(append([]pipelines.Step{pipelines.Run{Shell: "true"}}, steps...)...).Graph()
	if err != nil {
		t.Fatal(err)
	}
	return builders.Request{Job: "x-" + p.Short(), Graph: g}
}

// at gives the worker that built a platform.
func at(t *testing.T, p *Pool, pf pipelines.Platform) string {
	t.Helper()
	r, err := p.Build(t.Context(), request(t, pf))
	if err != nil {
		t.Fatalf("%s: %v", pf, err)
	}
	return r.Digest
}

func TestNativeBeforeEmulatedBeforeUnreached(t *testing.T) {
	l := &lab{workers: map[string]*fake{"a": {caps: can(amd64, arm64, s390x)}, "b": {caps: can(arm64, amd64)}}}
	for list, want := range map[string]string{
		"a,b":                                "amd64:a arm64:b s390x:a",
		"b,a":                                "amd64:a arm64:b s390x:a",
		"*=a,linux/arm64=b":                  "amd64:a arm64:b s390x:a",
		"linux/arm64=a,linux/amd64=b,*=down": "amd64:b arm64:a",
		"linux/arm64=down,*=a":               "amd64:a arm64:a s390x:a",
		"down,a":                             "amd64:a arm64:a s390x:a",
		"linux/amd64=a,linux/arm64=down":     "amd64:a arm64:a", // a stands in
		"linux/arm64=b,linux/amd64=down":     "amd64:b arm64:b",
	} {
		p := l.pool(t, list)
		var got []string
		for _, pf := range []pipelines.Platform{amd64, arm64, s390x} {
			if strings.Contains(want, pf.Architecture) {
				got = append(got, pf.Architecture+":"+at(t, p, pf))
			}
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: %v, want %s", list, got, want)
		}
	}
}

// A root that is configured with the help of native tools goes to where those are.
func TestHelpersAreNative(t *testing.T) {
	l := &lab{workers: map[string]*fake{"b": {caps: can(arm64, amd64, s390x)}, "a": {caps: can(amd64, arm64, s390x)}, "c": {caps: can(s390x)}}}
	tools := pipelines.From(amd64, pipelines.Scratch{}).Then(pipelines.File{Path: "/bin/sh"})
	r := request(t, s390x, pipelines.Run{Shell: "true", Mounts: []pipelines.Mount{{From: tools, Src: "/", Target: "/tools"}}})
	p := l.pool(t, "b,a")
	if res, err := p.Build(t.Context(), r); err != nil || res.Digest != "a" {
		t.Errorf("%v %v", res, err)
	}
	// One that is native for the image and cannot run the tools cannot build it.
	p = l.pool(t, "c,b")
	if res, err := p.Build(t.Context(), r); err != nil || res.Digest != "b" {
		t.Errorf("%v %v", res, err)
	}
	_, err := l.pool(t, "c").Build(t.Context(), r)
	var un *builders.UnsupportedError
	if !errors.As(err, &un) || !strings.Contains(un.What, "linux/amd64") {
		t.Errorf("%v", err)
	}
}

func TestLeastLoaded(t *testing.T) {
	hold := make(chan struct{})
	var started sync.WaitGroup
	wait := func(context.Context, builders.Request) error { started.Done(); <-hold; return nil }
	a, b, c := &fake{caps: can(amd64), build: wait}, &fake{caps: can(amd64), build: wait}, &fake{caps: can(arm64, amd64), build: wait}
	l := &lab{workers: map[string]*fake{"a": a, "b": b, "c": c}}
	p := l.pool(t, "a,b,c")
	started.Add(6)
	var wg sync.WaitGroup
	for range 6 {
		wg.Go(func() { at(t, p, amd64) })
	}
	started.Wait()
	close(hold)
	wg.Wait()
	if len(a.built) != 3 || len(b.built) != 3 || len(c.built) != 0 {
		t.Errorf("%d, %d, and %d where it is emulated", len(a.built), len(b.built), len(c.built))
	}
}

func TestLostWorkerIsReplaced(t *testing.T) {
	for name, err := range map[string]error{
		"unavailable": fmt.Errorf("solve: %w", &builders.UnavailableError{Builder: "buildkit", Reason: "the daemon is gone"}),
		"transport":   fmt.Errorf("solve: %w", status.Error(codes.Unavailable, "error reading from server: EOF")),
	} {
		t.Run(name, func(t *testing.T) {
			a := &fake{caps: can(amd64), build: func(_ context.Context, r builders.Request) error {
				ev := r.Events.With(r.Job, "")
				ev.Send(pipelines.Event{Kind: pipelines.EventStart, Step: "1"})
				ev.Send(pipelines.Event{Kind: pipelines.EventDone, Step: "1"})
				ev.Send(pipelines.Event{Kind: pipelines.EventStart, Step: "2"})
				ev.Send(pipelines.Event{Kind: pipelines.EventFailed, Step: "2", Text: "EOF"})
				return err
			}}
			b := &fake{caps: can(arm64, amd64), build: func(_ context.Context, r builders.Request) error {
				ev := r.Events.With(r.Job, "")
				for _, s := range []string{"1", "2", "3"} {
					ev.Send(pipelines.Event{Kind: pipelines.EventStart, Step: s})
					ev.Send(pipelines.Event{Kind: pipelines.EventDone, Step: s})
				}
				return nil
			}}
			l := &lab{workers: map[string]*fake{"a": a, "b": b}}
			p := l.pool(t, "a,b")
			r := request(t, amd64)
			var seen []string
			var mu sync.Mutex
			r.Events = func(e pipelines.Event) {
				mu.Lock()
				defer mu.Unlock()
				seen = append(seen, strings.TrimSpace(string(e.Kind)+" "+e.Step+e.Text))
			}
			res, err := p.Build(t.Context(), r)
			if err != nil || res.Digest != "b" {
				t.Fatalf("%v %v", res, err)
			}
			got := strings.Join(seen, "\n")
			for _, want := range []string{"start 1", "done 1", "start 2", "done 2", "start 3", "done 3"} {
				if strings.Count(got, want) != 1 {
					t.Errorf("%q is there %d times", want, strings.Count(got, want))
				}
			}
			if strings.Contains(got, "failed") || !strings.Contains(got, "warning worker a is lost: ") || !strings.Contains(got, "warning linux/amd64 (emulated) is built at worker b instead") {
				t.Errorf("%s", got)
			}
			// It is passed over from now on, also though it is the native one.
			if at(t, p, amd64) != "b" || len(a.built) != 1 {
				t.Error("a lost worker is used while there is another")
			}
		})
	}
}

func TestErrorsOfTheBuildAreNotRetried(t *testing.T) {
	boom := &builders.StepError{Node: pipelines.Node{Name: "x"}, ExitCode: 3}
	for name, err := range map[string]error{
		"step":        boom,
		"step, gone":  errors.Join(boom, &builders.UnavailableError{Builder: "buildkit", Reason: "gone"}),
		"unsupported": &builders.UnsupportedError{Builder: "buildkit", What: "no"},
		"invalid":     &pipelines.InvalidError{What: "x", Cause: "y"},
		"other":       errors.New("disk full here"),
	} {
		a := &fake{caps: can(amd64), build: func(_ context.Context, r builders.Request) error {
			r.Events.Send(pipelines.Event{Kind: pipelines.EventStart, Step: "1"})
			r.Events.Send(pipelines.Event{Kind: pipelines.EventFailed, Step: "1"})
			r.Events.Send(pipelines.Event{Kind: pipelines.EventStart, Step: "2"})
			return err
		}}
		b := &fake{caps: can(amd64)}
		l := &lab{workers: map[string]*fake{"a": a, "b": b}}
		r := request(t, amd64)
		var ends []string
		r.Events = func(e pipelines.Event) {
			if e.Kind == pipelines.EventFailed {
				ends = append(ends, e.Step)
			}
		}
		if _, got := l.pool(t, "a,b").Build(t.Context(), r); got != err || len(b.built) != 0 {
			t.Errorf("%s: %v", name, got)
		}
		if !slices.Equal(ends, []string{"1", "2"}) {
			t.Errorf("%s: %q failed", name, ends)
		}
	}
}

func TestNobodyIsLeft(t *testing.T) {
	gone := &builders.UnavailableError{Builder: "buildkit", Reason: "the daemon is gone", Fix: "start it again"}
	die := func(context.Context, builders.Request) error { return gone }
	l := &lab{workers: map[string]*fake{"a": {caps: can(amd64), build: die}, "b": {caps: can(amd64), build: die}, "c": {caps: can(arm64)}}}
	_, err := l.pool(t, "a,b,c").Build(t.Context(), request(t, amd64))
	if !errors.Is(err, builders.ErrUnavailable) || !strings.Contains(err.Error(), "2 workers were lost, no other can build linux/amd64") {
		t.Errorf("%v", err)
	}
	_, err = l.pool(t, "linux/arm64=c,linux/s390x=down").Build(t.Context(), request(t, amd64))
	var un *builders.UnsupportedError
	if !errors.As(err, &un) || !strings.Contains(un.Error(), "no worker is listed for linux/amd64") {
		t.Errorf("%v", err)
	}
	_, err = l.pool(t, "linux/arm64=c,linux/s390x=down").Build(t.Context(), request(t, s390x))
	if !errors.Is(err, builders.ErrUnavailable) || !strings.Contains(err.Error(), "worker down: ") {
		t.Errorf("%v", err)
	}
	_, err = l.pool(t, "linux/s390x=c").Build(t.Context(), request(t, s390x))
	if !errors.Is(err, builders.ErrUnavailable) || !strings.Contains(err.Error(), "listed for linux/s390x, which it can neither run nor emulate") {
		t.Errorf("%v", err)
	}
	_, err = l.pool(t, "c").Build(t.Context(), request(t, s390x))
	if !errors.As(err, &un) {
		t.Errorf("%v", err)
	}
}

func TestAWorkerThatComesBack(t *testing.T) {
	l := &lab{workers: map[string]*fake{}}
	p := l.pool(t, "linux/amd64=a")
	var warned int
	r := request(t, amd64)
	r.Events = func(e pipelines.Event) {
		if e.Kind == pipelines.EventWarning {
			warned++
		}
	}
	for range 2 {
		if _, err := p.Build(t.Context(), r); !errors.Is(err, builders.ErrUnavailable) {
			t.Fatal(err)
		}
	}
	if l.opened["a"] != 2 || warned != 1 {
		t.Errorf("opened %d times for two builds, %d warnings", l.opened["a"], warned)
	}
	l.workers["a"] = &fake{caps: can(amd64)}
	if at(t, p, amd64) != "a" || at(t, p, amd64) != "a" || l.opened["a"] != 3 {
		t.Errorf("opened %d times", l.opened["a"])
	}
}

func TestCapabilities(t *testing.T) {
	l := &lab{workers: map[string]*fake{"a": {caps: can(amd64, arm64, s390x)}, "b": {caps: can(arm64, amd64)}}}
	c, err := l.pool(t, "a,linux/arm64=b,linux/riscv64=down").Capabilities(t.Context())
	if err != nil || !c.Available || !c.Secrets || c.Roots {
		t.Fatalf("%+v %v", c, err)
	}
	if got := fmt.Sprint(c.Platforms, c.Emulated); got != "[linux/amd64 linux/arm64 linux/riscv64 linux/s390x] [linux/s390x]" {
		t.Error(got)
	}
	if got := strings.Join(c.Detail, "\n"); !strings.Contains(got, "worker b: linux/arm64") || strings.Contains(got, "b: linux/arm64 linux/amd64") || !strings.Contains(got, "worker down: down: connection refused") {
		t.Error(got)
	}
	c, err = l.pool(t, "down,gone").Capabilities(t.Context())
	if err != nil || c.Available || c.Reason != "no worker answers: down: down: connection refused; gone: gone: connection refused" || c.Fix != "start it" {
		t.Errorf("%+v %v", c, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	p := l.pool(t, "a")
	if _, err := p.Capabilities(ctx); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if c, err := p.Capabilities(t.Context()); err != nil || !c.Available {
		t.Errorf("a cancelled question is remembered: %+v %v", c, err)
	}
}

func TestCancel(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	mine := errors.New("stopped")
	a := &fake{caps: can(amd64), build: func(ctx context.Context, _ builders.Request) error {
		cancel(mine)
		return &builders.UnavailableError{Reason: "cancelled"} // as a broken connection looks
	}}
	b := &fake{caps: can(amd64)}
	l := &lab{workers: map[string]*fake{"a": a, "b": b}}
	if _, err := l.pool(t, "a,b").Build(ctx, request(t, amd64)); err == nil || len(b.built) != 0 {
		t.Errorf("%v; built again: %v", err, b.built)
	}
}

// A capability that is added to the contract is one of the pool's, too: what steps ask for
// where one worker has it, what holds for every build where all have it.
func TestEveryCapability(t *testing.T) {
	promises := []string{"Xattrs", "Links", "Sysfs"}
	kind := reflect.TypeFor[builders.Capabilities]()
	for i := range kind.NumField() {
		f := kind.Field(i)
		if f.Type.Kind() != reflect.Bool || f.Name == "Available" {
			continue
		}
		with, without := can(amd64), can(arm64)
		without.Secrets = false
		reflect.ValueOf(&with).Elem().Field(i).SetBool(true)
		l := &lab{workers: map[string]*fake{"a": {caps: with}, "b": {caps: with}, "c": {caps: without}}}
		has := func(list string) bool {
			c, err := l.pool(t, list).Capabilities(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			return reflect.ValueOf(c).Field(i).Bool()
		}
		if promise := slices.Contains(promises, f.Name); !has("a,b") || has("a,c") == promise || has("c,c2") {
			t.Errorf("%s: both %v, one of two %v, none %v", f.Name, has("a,b"), has("a,c"), has("c,c2"))
		}
	}
}
