package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/cfbuild/cfbuild/cmd/cli/cache"
	"github.com/cfbuild/cfbuild/cmd/cli/progress"
	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/cfbuild/cfbuild/pipelines/engine"
)

// showing hands work a sink whose events are shown on stderr as --progress asks;
// afterwards the terminal is ours again. An interruption joins work's error.
func (p *program) showing(ctx context.Context, how string, work func(pipelines.Sink) error) error {
	render := p.renderer(how)
	defer render.Close()
	sink := progress.Sink(render, p.env.Now)
	p.setSink(sink)
	defer p.setSink(nil)
	err := work(sink)
	if err != nil && ctx.Err() != nil {
		err = errors.Join(err, context.Cause(ctx))
	}
	return err
}

// withEngine hands use an engine for the request, in a state directory that no
// prune touches meanwhile.
func (p *program) withEngine(ctx context.Context, r *request, sink pipelines.Sink, use func(*engine.Engine) error) error {
	said := func(s string) { sink.Send(pipelines.Event{Kind: pipelines.EventNote, Text: s}) }
	leave, err := cache.Enter(ctx, r.stateDir, p.env.Now(), func() { said("waiting for cache prune to end") })
	if err != nil {
		return stateError(r.stateDir, err)
	}
	defer leave()
	if err := os.MkdirAll(filepath.Join(r.stateDir, tempDir), 0o700); err != nil {
		return stateError(r.stateDir, err)
	}
	builder, err := p.openBuilder(ctx, r.flags.builderFlags, r.site, r.stateDir, said)
	if err != nil {
		return err
	}
	return use(p.engine(r, builder, sink))
}

// built plans the request's targets and builds them; nothing is delivered.
func (p *program) built(ctx context.Context, r *request, e *engine.Engine) (engine.Built, []leftOut, error) {
	for _, t := range r.targets {
		if t.Ended(p.env.Now()) {
			e.Events.Send(pipelines.Event{Kind: pipelines.EventWarning,
				Text: fmt.Sprintf("%s: END OF LIFE since %s: it gets no security updates any more", t.Name, t.EndOfLife)})
		}
	}
	pl, left, err := plan(ctx, r.targets, r.platforms, e.Offered)
	warnLeftOut(left, e.Events)
	if err != nil {
		return engine.Built{}, left, err
	}
	if err := secretsThere(pl, r.secrets); err != nil {
		return engine.Built{}, left, err
	}
	if r.flags.skipPublished {
		if e.Program, err = p.programID(); err == nil {
			e.LabelInputs = true
			pl, err = p.unpublished(ctx, r, e, pl)
		}
		if err != nil || len(pl.Jobs) == 0 {
			return engine.Built{}, left, err
		}
	}
	p.settleCaches(ctx, r, e)
	built, err := runChecked(ctx, e, pl)
	return built, left, err
}
