package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/cfbuild/cfbuild/builders"
	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/cfbuild/cfbuild/site"
)

// siteFile is read when no site is named.
const siteFile = "cfbuild.toml"

// loadSite gives the site: --site, CFBUILD_SITE, ./cfbuild.toml, public.
func (p *program) loadSite() (site.Site, error) {
	name := p.siteName
	if name == "" {
		name = p.env.Getenv("CFBUILD_SITE")
	}
	if name == "" {
		if _, err := os.Stat(p.env.path(siteFile)); err == nil {
			name = "./" + siteFile
		} else if !errors.Is(err, fs.ErrNotExist) {
			return site.Site{}, err
		}
	}
	s, err := site.Load(name, site.LoadOptions{Getenv: p.env.Getenv, Now: p.env.Now(), Dir: p.env.Dir})
	var bad *site.InvalidError
	if errors.As(err, &bad) && bad.File == "" && strings.HasPrefix(bad.Key, "site ") {
		return s, &usageError{err: err} // the name is wrong, not a file
	}
	return s, err
}

// load gives the site and the targets at it.
func (p *program) load() (site.Site, pipelines.Pipeline, error) {
	s, err := p.loadSite()
	if err != nil {
		return s, pipelines.Pipeline{}, err
	}
	if p.app.Pipeline == nil {
		return s, pipelines.Pipeline{}, nil
	}
	pl := p.app.Pipeline(s)
	return s, pl, pl.Check()
}

// targets finds what the user named, each once.
func (p *program) targets(pl pipelines.Pipeline, names []string) ([]pipelines.Target, error) {
	var out []pipelines.Target
	for _, name := range names {
		t, err := pl.Target(name)
		if err != nil {
			return nil, &usageError{err: err}
		}
		if !slices.ContainsFunc(out, func(o pipelines.Target) bool { return o.Name == t.Name }) {
			out = append(out, t)
		}
	}
	return out, nil
}

// builderFlags choose and set up a builder.
type builderFlags struct {
	builder, isolation, driver string
	jobs                       int
}

// openBuilder gives the builder named by "auto" or NAME[:ADDRESS]. Where there is
// no choice, what it can do is found out meanwhile: asking costs a process, and a
// run that finds everything built need not wait for it. With auto and several
// backends, said takes why others were passed over.
func (p *program) openBuilder(ctx context.Context, f builderFlags, s site.Site, stateDir string, said func(string)) (builders.Builder, error) {
	i, address, err := p.findBackend(f.builder)
	if err != nil {
		return nil, err
	}
	if i >= 0 {
		return p.startBuilder(ctx, p.app.Backends[i], address, f, s, stateDir, said)
	}
	var open []builders.Backend
	var errs []error
	for _, b := range p.app.Backends {
		if b.OnRequest {
			continue
		}
		if b.Open == nil {
			errs = append(errs, &builders.UnavailableError{Builder: b.Name, Reason: "left out of this program: " + b.Stub})
			continue
		}
		open = append(open, b)
	}
	for k, b := range open {
		builder, err := p.startBuilder(ctx, b, "", f, s, stateDir, said)
		if err == nil && k < len(open)-1 {
			err = available(ctx, builder)
		}
		if err == nil {
			for _, e := range errs {
				said(e.Error())
			}
			return p.advised(builder, errs), nil
		}
		if !errors.Is(err, builders.ErrUnavailable) || ctx.Err() != nil {
			return nil, err
		}
		errs = append(errs, err)
	}
	if len(errs) == 0 {
		return nil, &builders.UnavailableError{Builder: "auto", Reason: "this program has no backend", Fix: "list backends in cli.App"}
	}
	return nil, p.noBuilder(errs)
}

func (p *program) noBuilder(errs []error) error {
	return &hintError{errors.Join(errs...), p.app.name() + " doctor says what is missing"}
}

// probed is a builder whose capabilities are asked for already.
type probed struct {
	builders.Builder
	done chan struct{}
	caps builders.Capabilities
	err  error
	// unavailable words the error for a builder that does not work here.
	unavailable func(error) error
}

// startBuilder opens a backend and starts asking what it can do.
func (p *program) startBuilder(ctx context.Context, b builders.Backend, address string, f builderFlags, s site.Site, stateDir string, warn func(string)) (*probed, error) {
	if b.Open == nil {
		return nil, &builders.UnavailableError{Builder: b.Name, Reason: "left out of this program: " + b.Stub}
	}
	o := builders.Options{Address: address, Getenv: p.env.Getenv, Site: s, Warn: warn, StateDir: filepath.Join(stateDir, b.Name), Isolation: f.isolation, Driver: f.driver, Jobs: f.jobs}
	if o.Isolation == "auto" {
		o.Isolation = ""
	}
	if o.Driver == "auto" {
		o.Driver = ""
	}
	builder, err := b.Open(ctx, o)
	if err != nil {
		if address != "" && !errors.Is(err, builders.ErrUnavailable) {
			err = &usageError{err: err} // the address is the user's
		}
		return nil, err
	}
	out := &probed{Builder: builder, done: make(chan struct{}), unavailable: func(err error) error { return err }}
	go func() {
		defer close(out.done)
		out.caps, out.err = builder.Capabilities(ctx)
		if out.err != nil && ctx.Err() == nil {
			out.err = fmt.Errorf("builder %s: %w", b.Name, out.err)
		}
	}()
	return out, nil
}

// Capabilities fails where the builder does not work on this machine: everything
// that asks has use for it.
func (b *probed) Capabilities(ctx context.Context) (builders.Capabilities, error) {
	select {
	case <-b.done:
	case <-ctx.Done():
		return builders.Capabilities{}, context.Cause(ctx)
	}
	if b.err == nil && !b.caps.Available {
		return b.caps, b.unavailable(&builders.UnavailableError{Builder: b.Name(), Reason: b.caps.Reason, Fix: b.caps.Fix})
	}
	return b.caps, b.err
}

func available(ctx context.Context, b builders.Builder) error {
	_, err := b.Capabilities(ctx)
	return err
}

// advised makes the builder's own error tell of those that were tried before.
func (p *program) advised(b *probed, before []error) *probed {
	b.unavailable = func(err error) error { return p.noBuilder(append(slices.Clone(before), err)) }
	return b
}

// findBackend reads --builder; -1 stands for "auto". A list of workers in the
// environment is the address of the backend that has workers, and has auto choose it.
func (p *program) findBackend(flag string) (i int, address string, err error) {
	workers := p.env.Getenv(workersVariable)
	name, address, _ := strings.Cut(flag, ":")
	if name == "auto" {
		if address != "" {
			return -1, "", usagef("name the builder: NAME:"+address, "--builder %q: auto takes no address", flag)
		}
		if workers != "" {
			i = slices.IndexFunc(p.app.Backends, func(b builders.Backend) bool { return b.Workers != nil })
			if i >= 0 {
				return i, workers, nil
			}
		}
		return -1, "", nil
	}
	i = slices.IndexFunc(p.app.Backends, func(b builders.Backend) bool { return b.Name == name })
	if i < 0 {
		names := append([]string{"auto"}, backendNames(p.app.Backends)...)
		return i, "", p.unknown("builder", name, names, "there are: "+strings.Join(names, ", "))
	}
	if address == "" && p.app.Backends[i].Workers != nil {
		address = workers
	}
	return i, address, nil
}

func backendNames(all []builders.Backend) []string {
	var out []string
	for _, b := range all {
		out = append(out, b.Name)
	}
	return out
}
