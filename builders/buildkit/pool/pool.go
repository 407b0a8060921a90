// Package pool makes one builder of several daemons: each image is built by a worker
// on which its platform is native, else where it is emulated, and a worker that is
// lost in the middle of a build is replaced by another one that can.
//
// A list says which platforms each worker is for. What no entry names is not built;
// when none of the workers of a platform answers, any other one that can stands in,
// which is said.
package pool

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"

	"github.com/cfbuild/cfbuild/builders"
	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/moby/buildkit/util/grpcerrors"
	"google.golang.org/grpc/codes"
)

// Open makes the builder of one daemon.
type Open func(ctx context.Context, address string) (builders.Builder, error)

// Options of [New].
type Options struct {
	// Name is the backend's, which artifacts are kept under: the same with one worker
	// and with several.
	Name    string
	Workers []Worker
	Open    Open
	// Log takes what is said outside of builds; nil drops it.
	Log io.Writer
}

// Pool is a [builders.Builder] in front of several.
type Pool struct {
	name    string
	open    Open
	log     io.Writer
	workers []*worker

	mu sync.Mutex // of the workers' load, down and told

	asking sync.Mutex
	caps   *builders.Capabilities
}

// worker is a daemon and what is known of it.
type worker struct {
	Worker

	opening sync.Mutex
	builder builders.Builder
	caps    builders.Capabilities

	load int   // builds that are on
	down error // why it was not to be used last time
	told bool  // that it is passed over
}

// New makes a pool; nothing is opened before it is asked for.
func New(o Options) *Pool {
	p := &Pool{name: o.Name, open: o.Open, log: o.Log}
	for _, w := range o.Workers {
		p.workers = append(p.workers, &worker{Worker: w})
	}
	return p
}

// Name is the backend's.
func (p *Pool) Name() string { return p.name }

// ready opens a worker, once; one that could not be opened is tried again.
func (p *Pool) ready(ctx context.Context, w *worker) error {
	w.opening.Lock()
	defer w.opening.Unlock()
	if w.builder != nil {
		return nil
	}
	b, err := p.open(ctx, w.Address)
	var caps builders.Capabilities
	if err == nil {
		caps, err = b.Capabilities(ctx)
	}
	if err == nil && !caps.Available {
		err = &builders.UnavailableError{Builder: p.name, Reason: caps.Reason, Fix: caps.Fix}
	}
	if err == nil {
		err = w.fits(p.name, caps)
	}
	if err == nil {
		p.mu.Lock()
		w.builder, w.caps = b, caps
		p.mu.Unlock()
	}
	p.mark(w, err)
	return err
}

// fits wants a worker to be able to do what the list says of it.
func (w *worker) fits(name string, caps builders.Capabilities) error {
	for _, q := range w.Platforms {
		if !caps.CanRun(q) {
			return &builders.UnavailableError{Builder: name, Reason: fmt.Sprintf("worker %s is listed for %s, which it can neither run nor emulate", w.Address, q),
				Fix: "correct the list, or install an emulator on that machine (docker run --privileged tonistiigi/binfmt, or apt-get install qemu-user-static)"}
		}
	}
	return nil
}

// isLost says whether an error is the worker's and not the build's: another worker may
// do better. A step that failed fails everywhere.
func isLost(err error) bool {
	var step *builders.StepError
	var un *builders.UnsupportedError
	if errors.As(err, &step) || errors.As(err, &un) || errors.Is(err, pipelines.ErrInvalid) {
		return false
	}
	return errors.Is(err, builders.ErrUnavailable) || grpcerrors.Code(err) == codes.Unavailable
}

// Build builds on the best worker there is, and on the next one when that is lost.
// Each worker is tried once.
func (p *Pool) Build(ctx context.Context, r builders.Request) (builders.Result, error) {
	events := newOnce(r.Events)
	res, err := p.build(ctx, r, events)
	events.settle(err)
	return res, err
}

func (p *Pool) build(ctx context.Context, r builders.Request, events *once) (builders.Result, error) {
	var gone []*worker
	var lost []error
	for {
		w, err := p.take(ctx, r.Graph, gone)
		p.tellDown(r, events)
		switch {
		case err != nil && len(lost) > 0 && ctx.Err() == nil: // what happened before is the answer
			return builders.Result{}, p.exhausted(r, lost)
		case err != nil:
			return builders.Result{}, err
		case len(lost) > 0, !w.For(r.Graph.Platform):
			events.warn(r.Job, fmt.Sprintf("%s is built at worker %s instead", w.tells(r.Graph.Platform), w.Address))
		}
		attempt := r
		attempt.Events = events.sink()
		res, err := w.builder.Build(ctx, attempt)
		p.release(w)
		if err == nil || ctx.Err() != nil || !isLost(err) {
			p.mark(w, nil)
			return res, err
		}
		p.mark(w, err)
		gone, lost = append(gone, w), append(lost, err)
		events.warn(r.Job, fmt.Sprintf("worker %s is lost: %s", w.Address, w.why(err)))
	}
}

// tellDown says once which workers of the platform are not reached.
func (p *Pool) tellDown(r builders.Request, events *once) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, w := range p.workers {
		if w.down != nil && !w.told && w.builder == nil && w.For(r.Graph.Platform) {
			w.told = true
			events.warn(r.Job, fmt.Sprintf("worker %s is passed over: %s", w.Address, w.why(w.down)))
		}
	}
}

func (p *Pool) mark(w *worker, down error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	w.down = down
}

func (p *Pool) exhausted(r builders.Request, errs []error) error {
	last := errs[len(errs)-1]
	if len(errs) == 1 {
		return fmt.Errorf("no other worker can build %s: %w", r.Graph.Platform, last)
	}
	return fmt.Errorf("%d workers were lost, no other can build %s: %w", len(errs), r.Graph.Platform, last)
}

// take chooses a worker, opens it and counts the build.
func (p *Pool) take(ctx context.Context, g pipelines.Graph, gone []*worker) (*worker, error) {
	gone, errs := p.openAll(ctx, g, slices.Clone(gone))
	for {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		w, err := p.best(g, gone)
		switch {
		case err != nil:
			return nil, errors.Join(append(errs, err)...)
		case w == nil && len(errs) > 0:
			return nil, errors.Join(errs...)
		case w == nil: // all are in the caller's gone
			return nil, p.nobody(g)
		}
		if err = p.ready(ctx, w); err == nil {
			return w, nil
		}
		p.release(w)
		gone, errs = append(gone, w), append(errs, fmt.Errorf("worker %s: %w", w.Address, err))
	}
}

func (p *Pool) release(w *worker) {
	p.mu.Lock()
	defer p.mu.Unlock()
	w.load--
}

// openAll opens, all at once, workers that were never asked. Those that do not answer
// join gone; the errors are of those that are listed for the graph's platform.
func (p *Pool) openAll(ctx context.Context, g pipelines.Graph, gone []*worker) ([]*worker, []error) {
	errs := make([]error, len(p.workers))
	var wg sync.WaitGroup
	for i, w := range p.workers {
		p.mu.Lock()
		fresh := w.down == nil
		p.mu.Unlock()
		if fresh && !slices.Contains(gone, w) {
			wg.Go(func() { errs[i] = p.ready(ctx, w) })
		}
	}
	wg.Wait()
	var why []error
	for i, err := range errs {
		if err == nil {
			continue
		}
		gone = append(gone, p.workers[i])
		if p.workers[i].For(g.Platform) {
			why = append(why, fmt.Errorf("worker %s: %w", p.workers[i].Address, err))
		}
	}
	return gone, why
}
