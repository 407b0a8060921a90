package pool

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/cfbuild/cfbuild/builders"
	"github.com/cfbuild/cfbuild/pipelines"
)

// Capabilities joins what the workers can do. A platform that a list names is there
// also while its worker is not reached: building it then says why, which helps more
// than that nobody runs it. It is emulated where no worker runs it natively.
func (p *Pool) Capabilities(ctx context.Context) (builders.Capabilities, error) {
	p.asking.Lock()
	defer p.asking.Unlock()
	if p.caps == nil {
		caps, err := p.ask(ctx)
		if err != nil {
			return caps, err
		}
		p.caps = &caps
	}
	return *p.caps, nil
}

func (p *Pool) ask(ctx context.Context) (builders.Capabilities, error) {
	errs := make([]error, len(p.workers))
	var wg sync.WaitGroup
	for i, w := range p.workers {
		wg.Go(func() { errs[i] = p.ready(ctx, w) })
	}
	wg.Wait()
	if ctx.Err() != nil {
		return builders.Capabilities{}, context.Cause(ctx)
	}
	var out builders.Capabilities
	var native []pipelines.Platform
	for i, w := range p.workers {
		if errs[i] != nil {
			out.Detail = append(out.Detail, "worker "+w.Address+": "+w.why(errs[i]))
			p.say("worker %s is passed over: %s", w.Address, w.why(errs[i]))
			for _, q := range w.Platforms {
				add1(&out.Platforms, q)
			}
			continue
		}
		out.Available = true
		out.Detail = append(out.Detail, w.tell())
		for _, q := range w.caps.Platforms {
			if !w.For(q) {
				continue
			}
			add1(&out.Platforms, q)
			if slices.Contains(w.caps.Emulated, q) {
				add1(&out.Emulated, q)
			} else {
				add1(&native, q)
			}
		}
		// What a step may ask for it gets where that is to be had: [worker.can].
		out.NetworkNone = out.NetworkNone || w.caps.NetworkNone
		out.Secrets = out.Secrets || w.caps.Secrets
		out.CacheMounts = out.CacheMounts || w.caps.CacheMounts
		out.Roots = out.Roots || w.caps.Roots
	}
	// What is promised of every build holds where all keep it.
	open := p.openWorkers(errs)
	all := func(keeps func(builders.Capabilities) bool) bool {
		return len(open) > 0 && !slices.ContainsFunc(open, func(w *worker) bool { return !keeps(w.caps) })
	}
	out.Xattrs = all(func(c builders.Capabilities) bool { return c.Xattrs })
	out.Links = all(func(c builders.Capabilities) bool { return c.Links })
	out.Sysfs = all(func(c builders.Capabilities) bool { return c.Sysfs })
	out.Emulated = slices.DeleteFunc(out.Emulated, func(q pipelines.Platform) bool { return slices.Contains(native, q) })
	slices.SortFunc(out.Platforms, pipelines.ComparePlatforms)
	slices.SortFunc(out.Emulated, pipelines.ComparePlatforms)
	if !out.Available {
		out.Reason, out.Fix = p.none(errs)
	}
	return out, nil
}

// openWorkers are those without an error.
func (p *Pool) openWorkers(errs []error) (out []*worker) {
	for i, w := range p.workers {
		if errs[i] == nil {
			out = append(out, w)
		}
	}
	return out
}

// none words that no worker answers.
func (p *Pool) none(errs []error) (reason, fix string) {
	var all []string
	for i, err := range errs {
		all = append(all, p.workers[i].Address+": "+p.workers[i].why(err))
		var h interface{ Hint() string }
		if fix == "" && errors.As(err, &h) {
			fix = h.Hint()
		}
	}
	return "no worker answers: " + strings.Join(all, "; "), fix
}

// why is an error of the worker where the worker is named already.
func (w *worker) why(err error) string {
	s := err.Error()
	var un *builders.UnavailableError
	if errors.As(err, &un) {
		s = un.Reason
	}
	return strings.TrimPrefix(s, "buildkit "+w.Address+": ")
}

func (w *worker) tell() string {
	s := "worker " + w.Address + ":"
	for _, q := range w.caps.Platforms {
		if !w.For(q) {
			continue
		}
		s += " " + w.tells(q)
	}
	return s
}

func (p *Pool) say(format string, args ...any) {
	if p.log != nil {
		fmt.Fprintf(p.log, format+"\n", args...)
	}
}

func add1(to *[]pipelines.Platform, q pipelines.Platform) {
	if !slices.Contains(*to, q) {
		*to = append(*to, q)
	}
}
