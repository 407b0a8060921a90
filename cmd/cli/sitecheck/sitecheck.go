// Package sitecheck asks everything a site names whether it is there and worth
// using: package mirrors, language indexes, registries and their caches, proxies and
// certificate authorities.
//
// A mirror is reachable (or refuses, does not resolve, stalls, shows a certificate
// nobody here trusts, answers an error), fresh (the date of its index against the
// other mirrors of the same repository, and its end of validity), complete (one
// package that the index names is there with the size and hash it says) and has a
// speed, measured on the index. Each probe ends in bounded time, and they run side
// by side. Nothing is kept.
package sitecheck

import (
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/cfbuild/cfbuild/internal/httpx"
	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/cfbuild/cfbuild/site"
)

// Status of what was looked at.
type Status string

// The states. Failed: of no use. Warning: usable, and something is wrong with it.
const (
	OK      Status = "ok"
	Warning Status = "warning"
	Failed  Status = "failed"
)

// staleAfter is how far a mirror may be behind the freshest one: mirrors of the
// large distributions are updated every six hours.
const staleAfter = 12 * time.Hour

// Input is what to check and how.
type Input struct {
	Site site.Site
	// Pipeline says which release of each repository the recipes use; repositories
	// it does not use are probed at the release [Defaults] names.
	Pipeline pipelines.Pipeline
	// Only, when not empty, are the names to look at: repositories, index kinds,
	// "registries", "proxies", "ca".
	Only []string
	Now  func() time.Time
	// Timeout bounds the probe of one mirror, default 30 s. Half of it is for the
	// index; a mirror that moves nothing for a quarter of it is given up.
	Timeout time.Duration
	// TempDir is where indexes are put meanwhile.
	TempDir string
	// Keys gives the public keys of a suite of a repository that is not Debian's or
	// Ubuntu's: OpenPGP, or PEM for Alpine. Nil: only those of the site are known.
	Keys func(repository, suite string) []byte
}

// checker holds what all probes share.
type checker struct {
	in   Input
	http *httpx.Client
	// slots bound how many indexes are measured at once, so that they do not take
	// each other's bandwidth and memory.
	slots chan struct{}
}

// Run probes everything at once. The error is about the site or the machine, not
// about what was probed: a name of Only that the site has not, a directory that
// cannot be made, or the context's.
func Run(ctx context.Context, in Input) (Result, error) {
	if in.Timeout <= 0 {
		in.Timeout = 30 * time.Second
	}
	if in.Keys == nil {
		in.Keys = func(_, _ string) []byte { return nil }
	}
	o := httpx.Options{Proxy: httpx.Proxy(in.Site.Proxy), Stall: in.Timeout / 4, Attempts: 1}
	for _, ca := range in.Site.BuildCAs() {
		o.CAs = append(o.CAs, ca.PEM)
	}
	client, err := httpx.New(o)
	if err != nil {
		return Result{}, err
	}
	defer client.CloseIdle()
	dir, err := os.MkdirTemp(in.TempDir, "site-check-")
	if err != nil {
		return Result{}, fmt.Errorf("site check: %w", err)
	}
	defer os.RemoveAll(dir)
	in.TempDir = dir
	if err := in.known(); err != nil {
		return Result{}, err
	}
	c := &checker{in: in, http: client, slots: make(chan struct{}, 3)}
	r := Result{Repositories: []Group{}, Indexes: []Group{}, Registries: []Group{}, Proxies: []Check{}, CAs: []Check{}}
	var jobs []func()
	var wg sync.WaitGroup
	group := func(g *Group, mirrors []site.Mirror, probe func(context.Context, *Mirror) error) {
		g.Mirrors = make([]Mirror, len(mirrors))
		for i, m := range mirrors {
			g.Mirrors[i] = Mirror{URL: m.URL, Use: use(m)}
			jobs = append(jobs, func() { c.probe(ctx, &g.Mirrors[i], probe) })
		}
	}
	probes := in.probes()
	var groups []*Group
	for _, repo := range slices.Sorted(maps.Keys(in.Site.Mirrors)) {
		if in.wants(repo) {
			p := probes[repo]
			g := &Group{Name: repo, Kind: p.Kind, Probed: p.text(), Because: p.Because}
			group(g, in.Site.Mirrors[repo], func(ctx context.Context, m *Mirror) error { return c.repository(ctx, p, m) })
			groups = append(groups, g)
		}
	}
	repositories := len(groups)
	for _, kind := range slices.Sorted(maps.Keys(in.Site.Indexes)) {
		if in.wants(kind) {
			g := &Group{Name: kind, Kind: "index"}
			group(g, in.Site.Indexes[kind], func(ctx context.Context, m *Mirror) error { return c.language(ctx, kind, m) })
			groups = append(groups, g)
		}
	}
	indexes := len(groups)
	if in.wants("registries") {
		for _, reg := range in.Site.Registries {
			g := &Group{Name: reg.Prefix, Kind: "registry"}
			var places []site.Mirror
			insecure := map[string]bool{}
			for _, l := range registryPlaces(reg) {
				places = append(places, site.Mirror{URL: l.Location})
				insecure[l.Location] = l.Insecure
			}
			group(g, places, func(ctx context.Context, m *Mirror) error { return c.registry(ctx, insecure[m.URL], m) })
			groups = append(groups, g)
		}
	}
	if in.wants("proxies") {
		r.Proxies = c.proxies(ctx)
	}
	if in.wants("ca") {
		r.CAs = c.authorities()
	}
	sem := make(chan struct{}, 32)
	for _, job := range jobs {
		wg.Go(func() {
			sem <- struct{}{}
			defer func() { <-sem }()
			job()
		})
	}
	wg.Wait()
	if ctx.Err() != nil {
		return Result{}, context.Cause(ctx)
	}
	for i, g := range groups {
		g.judge()
		switch {
		case i < repositories:
			r.Repositories = append(r.Repositories, *g)
		case i < indexes:
			r.Indexes = append(r.Indexes, *g)
		default:
			r.Registries = append(r.Registries, *g)
		}
	}
	return r, nil
}

func use(m site.Mirror) string {
	switch {
	case m.BuildOnly:
		return "build-only"
	case m.ImageOnly:
		return "image-only"
	}
	return "both"
}

func (in Input) wants(name string) bool { return len(in.Only) == 0 || slices.Contains(in.Only, name) }

// UnknownError is a name to check that the site does not have.
type UnknownError struct {
	Name  string
	Names []string // that it has
}

func (e *UnknownError) Error() string { return fmt.Sprintf("%q: the site names no such thing", e.Name) }

// Hint lists the names.
func (e *UnknownError) Hint() string { return "it has " + strings.Join(e.Names, ", ") }

func (in Input) known() error {
	names := slices.Sorted(maps.Keys(in.Site.Mirrors))
	names = append(names, slices.Sorted(maps.Keys(in.Site.Indexes))...)
	names = append(names, "registries", "proxies", "ca")
	for _, o := range in.Only {
		if !slices.Contains(names, o) {
			return &UnknownError{o, names}
		}
	}
	return nil
}
