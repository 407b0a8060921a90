package cli

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/cfbuild/cfbuild/imagetest/ca"
	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/cfbuild/cfbuild/pipelines/engine"
	"github.com/cfbuild/cfbuild/site"
)

// How long one client may take, natively and emulated.
const (
	clientLimit   = 2 * time.Minute
	emulatedLimit = 10 * time.Minute
)

// proof is one run of test ca.
type proof struct {
	p             *program
	mode          string
	authority     *ca.Authority
	with, without request

	images []ca.Image
}

func (pr *proof) run(ctx context.Context, sink pipelines.Sink) error {
	return pr.p.withEngine(ctx, &pr.without, sink, func(e *engine.Engine) (err error) {
		origin, err := ca.NewOrigin(pr.p.env.Now())
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, origin.Close()) }()
		plain, _, err := pr.p.built(ctx, &pr.without, e)
		if err != nil {
			return err
		}
		at := *e
		at.Site = pr.with.site
		at.NoCache = false // what both builds share has just been made
		trusting, err := pr.trusting(ctx, &at)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, discard(trusting, plain)) }()
		caps, err := e.Builder.Capabilities(ctx)
		if err != nil {
			return err
		}
		for _, a := range plain.Artifacts {
			i := slices.IndexFunc(trusting.Artifacts, func(b pipelines.Artifact) bool { return a.Job == b.Job })
			if i < 0 {
				return fmt.Errorf("%s: is built at the site only without the authority", a.Job)
			}
			probe := ca.Probe{Builder: e.Builder, Authority: pr.authority, Origin: origin, Limit: clientLimit,
				TempDir: filepath.Join(e.StateDir, tempDir), Events: e.Events.With(a.Job, "")}
			if slices.Contains(caps.Emulated, a.Platform) {
				probe.Limit = emulatedLimit
			}
			img, err := pr.image(ctx, probe, trusting.Artifacts[i], a)
			if err != nil {
				return err
			}
			pr.images = append(pr.images, img)
		}
		return nil
	})
}

// discard removes what was built for the proof alone: nobody asks again for an image
// with an authority of one run. One that is the same as without is not ours.
func discard(proven, kept engine.Built) error {
	var errs []error
	for _, a := range proven.Artifacts {
		if !slices.ContainsFunc(kept.Artifacts, func(b pipelines.Artifact) bool { return a.Path == b.Path }) {
			errs = append(errs, os.RemoveAll(a.Path))
		}
	}
	return errors.Join(errs...)
}

// trusting builds the targets at the site with the authority. For build-only the
// definitions are the same as without it, and what was built without it would be
// found; so steps with a network get a variable that makes others of them, which
// also keeps what they leave out of real builds.
func (pr *proof) trusting(ctx context.Context, e *engine.Engine) (engine.Built, error) {
	if pr.mode != ca.ModeBuildOnly {
		built, _, err := pr.p.built(ctx, &pr.with, e)
		return built, err
	}
	pl, _, err := plan(ctx, pr.with.targets, pr.with.platforms, e.Offered)
	if err != nil {
		return engine.Built{}, err
	}
	mark := rand.Text()
	for i, job := range pl.Jobs {
		pl.Jobs[i].Graph, err = job.Graph.Map(func(n pipelines.Node) ([]pipelines.Op, error) {
			o, ok := n.Op.(pipelines.Run)
			if !ok || o.Network == pipelines.NetworkNone {
				return []pipelines.Op{n.Op}, nil
			}
			env := map[string]string{"CFBUILD_PROOF": mark}
			maps.Copy(env, o.Env)
			o.Env = env
			return []pipelines.Op{o}, nil
		})
		if err != nil {
			return engine.Built{}, err
		}
	}
	return runChecked(ctx, e, pl)
}

// image runs the clients of one image, with the authority and without.
func (pr *proof) image(ctx context.Context, probe ca.Probe, with, without pipelines.Artifact) (ca.Image, error) {
	out := ca.Image{Target: without.Target, Platform: without.Platform, Mode: pr.mode, With: with.Digest, Without: without.Digest}
	// Only what is in the image counts, so nothing is lent to the step; but for
	// build-only, where the step is what counts.
	bare := site.Site{Name: pr.without.site.Name, Proxy: pr.without.site.Proxy}
	first := bare
	if pr.mode == ca.ModeBuildOnly {
		first.CAs = pr.with.site.CAs
		if with.Digest != without.Digest {
			out.Fault = "changes with an authority that is for building only: something of it stays in the image"
		}
	} else if with.Digest == without.Digest {
		out.Fault = "does not change with the authority: its recipe takes none from the site"
	}
	a, err := probe.Run(ctx, with, first)
	var b map[string]ca.Ran
	if err == nil {
		b, err = probe.Run(ctx, without, bare)
	}
	var bad *ca.NoShellError
	switch {
	case errors.As(err, &bad):
		out.Fault = bad.Error() + "; " + bad.Hint()
		return out, nil
	case err != nil:
		return out, err
	}
	out.Clients = ca.Judge(pr.mode, a, b)
	if out.Fault == "" && len(a) == 0 && len(b) == 0 {
		out.Fault = "has no client that the proof knows: nothing is proven"
	}
	return out, nil
}
