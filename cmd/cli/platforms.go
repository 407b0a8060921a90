package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/cfbuild/cfbuild/builders"
	"github.com/cfbuild/cfbuild/pipelines"
)

// platformsFlag is what --platform asks for.
type platformsFlag struct {
	all  bool
	list []pipelines.Platform // nil and not all: this machine's
}

// parsePlatforms reads "host", "all" or a list.
func parsePlatforms(s string) (platformsFlag, error) {
	if s == "all" {
		return platformsFlag{all: true}, nil
	}
	var out platformsFlag
	for _, word := range strings.Split(s, ",") {
		word = strings.TrimSpace(word)
		if word == "host" {
			word = pipelines.HostPlatform().String()
		}
		p, err := pipelines.ParsePlatform(word)
		if err != nil {
			return out, &usageError{err, nearPlatform(word)}
		}
		if !slices.Contains(out.list, p) {
			out.list = append(out.list, p)
		}
	}
	return out, nil
}

func nearPlatform(word string) string {
	arch := strings.TrimPrefix(word, "linux/")
	if near := pipelines.Nearest(arch, append(pipelines.KnownArchitectures(), "host", "all"), 2); len(near) > 0 {
		return "did you mean " + strings.Join(near, " or ") + "?"
	}
	return ""
}

// leftOut is a platform that is not built, and why.
type leftOut struct {
	Target   string             `json:"target"`
	Platform pipelines.Platform `json:"platform"`
	Reason   string             `json:"reason"`
}

// offerer is what choosing platforms needs of the engine.
type offerer func(ctx context.Context, t pipelines.Target) (offered, runnable []pipelines.Platform, err error)

// choose gives the platforms to build a target for. "all" asks the source what it
// offers; a list is checked against that where the source can be asked, so that a
// wrong name fails before anything is downloaded.
func choose(ctx context.Context, t pipelines.Target, f platformsFlag, offers offerer) ([]pipelines.Platform, []leftOut, error) {
	if f.all {
		if offers == nil {
			return nil, nil, usagef("", "target %q: its platforms cannot be asked for here", t.Name)
		}
		return everything(ctx, t, offers)
	}
	want := f.list
	if len(t.Platforms) > 0 {
		for _, p := range want {
			if !slices.Contains(t.Platforms, p) {
				return nil, nil, usagef("it is made for "+join(t.Platforms), "target %q: is not made for %s", t.Name, p)
			}
		}
	}
	if offers == nil || slices.Equal(want, []pipelines.Platform{pipelines.HostPlatform()}) || fromScratch(t, want[0]) {
		return want, nil, nil
	}
	offered, _, err := offers(ctx, t)
	switch {
	case ctx.Err() != nil:
		return nil, nil, ctx.Err()
	case errors.Is(err, builders.ErrUnavailable), errors.Is(err, pipelines.ErrInvalid):
		return nil, nil, err
	case err != nil:
		return want, nil, nil // building will say what is wrong with the source
	}
	for _, p := range want {
		if !slices.Contains(offered, p) {
			return nil, nil, usagef("it offers "+join(offered), "target %q: its source has nothing for %s", t.Name, p)
		}
	}
	return want, nil, nil
}

// fromScratch says whether a target starts from the empty image, which is there
// for every platform. A definition that is wrong is told of later.
func fromScratch(t pipelines.Target, p pipelines.Platform) bool {
	g, err := t.Build(p).Graph()
	if err != nil {
		return true
	}
	_, ok := g.Base().Op.(pipelines.Scratch)
	return ok
}

func everything(ctx context.Context, t pipelines.Target, offers offerer) ([]pipelines.Platform, []leftOut, error) {
	offered, runnable, err := offers(ctx, t)
	if err != nil {
		return nil, nil, fmt.Errorf("platforms of %s: %w", t.Name, err)
	}
	var out []leftOut
	for _, p := range offered {
		if !slices.Contains(runnable, p) {
			out = append(out, leftOut{t.Name, p, "this machine can neither run nor emulate it"})
		}
	}
	if len(runnable) == 0 {
		return nil, out, &builders.UnavailableError{Builder: "any", Reason: fmt.Sprintf("none of the platforms of %s can be run here: %s", t.Name, join(offered)),
			Fix: "install emulators: sudo apt-get install qemu-user-static"}
	}
	return runnable, out, nil
}

// plan makes the jobs.
func plan(ctx context.Context, ts []pipelines.Target, f platformsFlag, offers offerer) (pipelines.Plan, []leftOut, error) {
	out := pipelines.Plan{Version: 1, Jobs: []pipelines.Job{}}
	var left []leftOut
	for _, t := range ts {
		ps, l, err := choose(ctx, t, f, offers)
		if err != nil {
			return out, left, err
		}
		left = append(left, l...)
		for _, pf := range ps {
			job, err := pipelines.NewJob(t, pf)
			if err != nil {
				return out, left, err
			}
			out.Jobs = append(out.Jobs, job)
		}
	}
	return out, left, nil
}

// runnable says whether the builder can do all that the jobs ask for, before
// anything is fetched. A root that is bootstrapped is configured by steps, which
// its graph does not show yet.
func runnable(name string, caps builders.Capabilities, pl pipelines.Plan) error {
	for _, j := range pl.Jobs {
		if err := builders.Missing(name, caps, j.Graph); err != nil {
			return fmt.Errorf("%s: %w", j.ID, err)
		}
		for _, n := range j.Graph.Nodes {
			if _, ok := n.Op.(pipelines.Bootstrap); ok && !caps.CanRun(n.Platform) {
				return fmt.Errorf("%s: %w", j.ID, &builders.UnsupportedError{Builder: name, Node: n,
					What: fmt.Sprintf("cannot run %s here", n.Platform),
					Fix:  "install the emulator (sudo apt-get install qemu-user-static), or build on a native runner"})
			}
		}
	}
	return nil
}

func join(ps []pipelines.Platform) string {
	var names []string
	for _, p := range ps {
		names = append(names, p.String())
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}
