package archive

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/cfbuild/cfbuild/bootstrap/fetch"
	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/cfbuild/cfbuild/site"
)

// Load opens several suites at once and reads their packages: [Client.Open] for
// each, then [Client.Read].
func (c *Client) Load(ctx context.Context, srcs []pipelines.PackageSource, st site.Site, arch string, now time.Time, ev pipelines.Sink) ([]*Suite, []*Package, error) {
	suites := make([]*Suite, len(srcs))
	g, gctx := errgroup.WithContext(ctx)
	for i, src := range srcs {
		g.Go(func() (err error) {
			suites[i], err = c.Open(gctx, src, Mirrors(src, st), st.Keyrings[src.Repository], now, ev)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return nil, nil, err
	}
	return c.Read(ctx, suites, arch, ev)
}

// Read reads the packages of suites that are open, those of the first suite first.
// Where no mirror has the index files of a release, an older one of [Suite.Older]
// takes its place: the suites that were read are given too. A suite that has
// nothing for the architecture, as security suites have not for all, is left out
// with a warning, unless it is the first.
func (c *Client) Read(ctx context.Context, suites []*Suite, arch string, ev pipelines.Sink) ([]*Suite, []*Package, error) {
	used := make([]*Suite, len(suites))
	lists := make([][]*Package, len(suites))
	g, gctx := errgroup.WithContext(ctx)
	for i, s := range suites {
		g.Go(func() (err error) {
			used[i], lists[i], err = c.packagesOrOlder(gctx, s, arch, ev)
			if i > 0 && errors.Is(err, ErrNoArchitecture) {
				ev.Send(pipelines.Event{Kind: pipelines.EventWarning, Step: "release", Text: err.Error() + "; it is left out"})
				used[i], err = nil, nil
			}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return nil, nil, err
	}
	return slices.DeleteFunc(used, func(s *Suite) bool { return s == nil }), slices.Concat(lists...), nil
}

func (c *Client) packagesOrOlder(ctx context.Context, s *Suite, arch string, ev pipelines.Sink) (*Suite, []*Package, error) {
	pkgs, err := c.Packages(ctx, s, arch, ev)
	if err == nil || !unobtainable(err) {
		return s, pkgs, err
	}
	for _, old := range s.Older {
		ev.Send(pipelines.Event{Kind: pipelines.EventWarning, Step: "release", Text: fmt.Sprintf(
			"release %s of %s cannot be used, that of %s is tried: %v", s.Source.Suite, s.Release.Date.Format(time.DateTime), old.Release.Date.Format(time.DateTime), err)})
		if pkgs, err2 := c.Packages(ctx, old, arch, ev); err2 == nil {
			return old, pkgs, nil
		}
	}
	return s, nil, err
}

// Mirrors is [fetch.MirrorsOf].
func Mirrors(src pipelines.PackageSource, st site.Site) []string { return fetch.MirrorsOf(src, st) }
