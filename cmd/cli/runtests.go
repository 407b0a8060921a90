package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/cfbuild/cfbuild/imagetest"
	"github.com/cfbuild/cfbuild/internal/junit"
	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/cfbuild/cfbuild/pipelines/engine"
)

// testsDir is the directory of the state directory for results of image tests.
const testsDir = "tests"

// tested runs the tests of every artifact that was built and takes the targets that
// do not pass out of what is delivered. buildErr is what went wrong before.
func (p *program) tested(ctx context.Context, r *request, e *engine.Engine, built *engine.Built, rep *report, buildErr error) error {
	if !r.flags.test || ctx.Err() != nil {
		return nil
	}
	warned := map[string]bool{}
	type job struct {
		artifact pipelines.Artifact
		target   pipelines.Target
		report   imagetest.Report
		err      error
	}
	var jobs []*job
	for _, a := range built.Artifacts {
		i := slices.IndexFunc(r.targets, func(t pipelines.Target) bool { return t.Name == a.Target })
		if len(r.targets[i].Tests) == 0 {
			if !warned[a.Target] {
				e.Events.Send(pipelines.Event{Kind: pipelines.EventWarning, Text: a.Target + ": declares no tests"})
			}
			warned[a.Target] = true
			continue
		}
		jobs = append(jobs, &job{artifact: a, target: r.targets[i]})
	}
	slots := make(chan struct{}, r.flags.jobs)
	var wg sync.WaitGroup
	for _, j := range jobs {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			j.report, j.err = imagetest.Run(ctx, imagetest.Request{Artifact: j.artifact, Tests: j.target.Tests, Where: where(j.target, j.artifact.Platform),
				Builder: e.Builder, Site: e.Site, TempDir: filepath.Join(r.stateDir, tempDir), Cache: filepath.Join(r.stateDir, testsDir),
				NoCache: e.NoCache, Now: p.env.Now, Events: e.Events})
		})
	}
	wg.Wait()
	var errs []error
	for _, j := range jobs {
		err := j.err
		if err == nil {
			rep.Tests = append(rep.Tests, j.report)
			if !j.report.OK() {
				err = checkFailedf("", "image tests: %s", j.report.Summary())
			}
		}
		if err != nil {
			errs = append(errs, &engine.JobError{Job: j.artifact.Job, Err: err})
			built.FailedTargets = append(built.FailedTargets, j.artifact.Target)
		}
	}
	err := errors.Join(errs...)
	if ctx.Err() == nil {
		err = errors.Join(err, p.writeJUnit(r, rep.Tests, errors.Join(buildErr, testsNotRun(errs))))
	}
	return err
}

// testsNotRun leaves out of errors the failed tests, which reports tell of.
func testsNotRun(errs []error) error {
	return errors.Join(slices.DeleteFunc(slices.Clone(errs), func(err error) bool { return errors.Is(err, errCheck) })...)
}

// where is the author's line of the last step, for tests without a line.
func where(t pipelines.Target, p pipelines.Platform) pipelines.Position {
	g, err := t.Build(p).Graph()
	if err != nil {
		return pipelines.Position{}
	}
	return g.Result().Where
}

// writeJUnit writes the reports, and an error for what could not be built or tested.
func (p *program) writeJUnit(r *request, reports []imagetest.Report, failed error) error {
	if r.flags.junit == "" {
		return nil
	}
	suites := imagetest.Suites(reports)
	if failed != nil {
		for _, err := range split(failed) {
			name := "run"
			var job *engine.JobError
			if errors.As(err, &job) {
				name = job.Job
			}
			suites = append(suites, junit.Suite{Name: name, Cases: []junit.Case{{Name: "image can be built and tested", Outcome: junit.Errored, Message: err.Error()}}})
		}
	}
	path := p.env.path(r.flags.junit)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("junit report: %w", err)
	}
	if err := junit.Write(path, p.app.name(), suites); err != nil {
		return fmt.Errorf("junit report: %w", err)
	}
	return nil
}
