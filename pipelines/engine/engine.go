// Package engine runs a plan on this machine: it lowers bootstraps to layers,
// asks the builder for what is not built yet, joins platforms and publishes.
//
// What was built stays in the state directory under a key of everything that
// went in, so that an unchanged run does nothing. Artifacts appear whole or not
// at all; a run that was killed leaves nothing the next one trips over.
package engine

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/cfbuild/cfbuild/bootstrap"
	"github.com/cfbuild/cfbuild/builders"
	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/cfbuild/cfbuild/site"
)

// Engine runs plans. Its fields are set once, before use.
type Engine struct {
	Builder       builders.Builder
	Bootstrappers []bootstrap.Bootstrapper
	Site          site.Site
	// StateDir keeps downloads, roots and artifacts between runs.
	StateDir string
	// Jobs bounds how many jobs run at once; 0 means 2.
	Jobs int
	// Now is the clock that expiry dates are judged by.
	Now time.Time
	// Epoch bounds every time stamp (SOURCE_DATE_EPOCH); the zero time means
	// the newest input of each job.
	Epoch time.Time
	// Secrets for steps, by ID.
	Secrets map[string][]byte
	// CacheFrom and CacheTo are where results of steps are read from and kept, beside
	// StateDir; each job has its own place in them ([builders.CacheRef.Keyed]).
	// Credentials, by registry host, and AuthFile are for their registries.
	CacheFrom, CacheTo []builders.CacheRef
	Credentials        map[string]builders.Credential
	AuthFile           string
	// Program names this program and its version, as part of [Engine.Inputs].
	// LabelInputs puts that key into the label of the same name of what is built.
	Program     string
	LabelInputs bool
	// NoCache runs every step again; Keep leaves a failed step's container.
	NoCache, Keep bool
	// Resolve says which platforms a registry reference offers and the digest
	// it stands for. Nil: references are pulled as they are.
	Resolve func(ctx context.Context, ref string) ([]pipelines.Platform, string, error)
	Events  pipelines.Sink
}

// JobError says which job failed.
type JobError struct {
	Job string
	Err error
}

func (e *JobError) Error() string { return e.Job + ": " + e.Err.Error() }
func (e *JobError) Unwrap() error { return e.Err }

// Built is what [Engine.Run] made.
type Built struct {
	Artifacts []pipelines.Artifact
	// Failed job IDs, in plan order, and the targets they belong to.
	Failed, FailedTargets []string
}

// Run builds every job of the plan, at most Jobs at once. A job that fails does
// not stop the others; the error joins a [JobError] for each failed job. When ctx
// is cancelled all end.
func (e *Engine) Run(ctx context.Context, plan pipelines.Plan) (Built, error) {
	n := e.Jobs
	if n <= 0 {
		n = 2
	}
	artifacts := make([]pipelines.Artifact, len(plan.Jobs))
	errs := make([]error, len(plan.Jobs))
	slots := make(chan struct{}, n)
	var wg sync.WaitGroup
	for i, job := range plan.Jobs {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			artifacts[i], errs[i] = e.job(ctx, job)
		})
	}
	wg.Wait()
	var out Built
	for i, job := range plan.Jobs {
		if errs[i] == nil {
			out.Artifacts = append(out.Artifacts, artifacts[i])
			continue
		}
		out.Failed = append(out.Failed, job.ID)
		out.FailedTargets = append(out.FailedTargets, job.Target)
		errs[i] = &JobError{job.ID, errs[i]}
	}
	return out, errors.Join(errs...)
}

// job builds one job and tells about it.
func (e *Engine) job(ctx context.Context, job pipelines.Job) (pipelines.Artifact, error) {
	ev := e.Events.With(job.ID, "")
	name := fmt.Sprintf("%s for %s", job.Target, job.Platform)
	ev.Send(pipelines.Event{Kind: pipelines.EventStart, Name: name})
	a, err := e.build(ctx, job, ev)
	switch {
	case err != nil:
		ev.Send(pipelines.Event{Kind: pipelines.EventFailed, Name: name, Text: err.Error()})
	case a.Cached:
		ev.Send(pipelines.Event{Kind: pipelines.EventCached, Name: name, Text: a.Digest})
	default:
		ev.Send(pipelines.Event{Kind: pipelines.EventDone, Name: name, Text: a.Digest})
	}
	return a, err
}

func (e *Engine) build(ctx context.Context, job pipelines.Job, ev pipelines.Sink) (pipelines.Artifact, error) {
	if err := ctx.Err(); err != nil {
		return pipelines.Artifact{}, err
	}
	low, err := e.lower(ctx, job, ev)
	if err != nil {
		return pipelines.Artifact{}, err
	}
	caps, err := e.Builder.Capabilities(ctx)
	if err != nil {
		return pipelines.Artifact{}, err
	}
	if err := builders.Missing(e.Builder.Name(), caps, low.graph); err != nil {
		return pipelines.Artifact{}, err
	}
	return e.artifact(ctx, job, low, ev)
}
