package apk

import (
	"context"
	"fmt"
	"path"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/cfbuild/cfbuild/bootstrap"
	"github.com/cfbuild/cfbuild/bootstrap/apk/index"
	"github.com/cfbuild/cfbuild/bootstrap/fetch"
	"github.com/cfbuild/cfbuild/internal/httpx"
	"github.com/cfbuild/cfbuild/pipelines"
)

// repo is one component of one source for one architecture, with the indexes that its
// mirrors offer, the newest first.
type repo struct {
	repository string
	// dir is below a mirror's base URL: "v3.24/main/x86_64".
	dir    string
	offers []fetch.Offer[*index.Index]
	// mirrors of the first offer.
	mirrors *fetch.Mirrors
}

func (p *repo) index() *index.Index { return p.offers[0].Meta }

// with gives the repository without its newest offers.
func (p *repo) with(offers []fetch.Offer[*index.Index]) *repo {
	return &repo{p.repository, p.dir, offers, fetch.NewMirrors(offers[0].Mirrors)}
}

// stepBack goes to the next older index, of every repository that has one.
func stepBack(repos []*repo) ([]*repo, bool) {
	out, some := make([]*repo, len(repos)), false
	for i, p := range repos {
		out[i] = p
		if len(p.offers) > 1 {
			out[i], some = p.with(p.offers[1:]), true
		}
	}
	return out, some
}

// asked is one index to fetch.
type asked struct {
	src     pipelines.PackageSource
	comp    string
	arch    string
	mirrors []string
	keys    index.Keys
}

func (q asked) dir() string { return q.src.Suite + "/" + q.comp + "/" + q.arch }

// questions lists what the sources are made of.
func questions(r bootstrap.Request, arch string) ([]asked, error) {
	var out []asked
	for _, src := range r.Op.Sources {
		mirrors := fetch.Bases(fetch.MirrorsOf(src, r.Site))
		if err := checkSource(src, mirrors); err != nil {
			return nil, err
		}
		keys, err := index.KeysFor(src.Repository, src.Suite, r.Site.Keyrings[src.Repository])
		if err != nil {
			return nil, err
		}
		comps := src.Components
		if len(comps) == 0 {
			comps = []string{"main"}
		}
		for _, comp := range comps {
			out = append(out, asked{src, comp, arch, mirrors, keys})
		}
	}
	return out, nil
}

func checkSource(src pipelines.PackageSource, mirrors []string) error {
	bad := func(cause, fix string) error {
		return &pipelines.InvalidError{What: fmt.Sprintf("package source %q of repository %q", src.Suite, src.Repository), Cause: cause, Fix: fix}
	}
	for _, s := range append([]string{src.Suite}, src.Components...) {
		if s == "" || s != path.Clean(s) || strings.HasPrefix(s, "/") || strings.HasPrefix(s, "..") || strings.ContainsAny(s, " \t\n?#%") {
			return bad("is no branch", "name the directory below the mirror, such as v3.24, and components such as main and community")
		}
	}
	if len(mirrors) == 0 {
		return bad("has no mirror", fmt.Sprintf("list mirrors of %q in the site, or in the source itself", src.Repository))
	}
	return nil
}

// open fetches and verifies the indexes of all sources.
func (a *apks) open(ctx context.Context, r bootstrap.Request, arch string) (repos []*repo, err error) {
	ev, done := r.Begin("metadata", "check the repositories' indexes")
	defer func() { done("", err) }()
	c, err := a.client(r)
	if err != nil {
		return nil, err
	}
	qs, err := questions(r, arch)
	if err != nil {
		return nil, err
	}
	repos = make([]*repo, len(qs))
	g, gctx := errgroup.WithContext(ctx)
	for i, q := range qs {
		g.Go(func() error {
			offers, err := fetch.Freshest(gctx, c, q.question(c, r), ev)
			if err != nil {
				return q.explain(gctx, c, err)
			}
			p := &repo{repository: q.src.Repository, dir: q.dir()}
			repos[i] = p.with(offers)
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return nil, err
	}
	return repos, nil
}

func (q asked) question(c *fetch.Client, r bootstrap.Request) fetch.Question[*index.Index] {
	return fetch.Question[*index.Index]{
		What:    "index " + q.dir(),
		Name:    "apk " + q.dir(),
		Mirrors: q.mirrors,
		Now:     r.Now,
		Missing: "check the branch's name and that the mirror's URL is the directory that holds " + q.src.Suite + "/" + q.comp,
		Fetch: func(ctx context.Context, mirror string, attempts int, old fetch.Kept) (fetch.Kept, bool, error) {
			data, resp, err := c.HTTP.ReadAll(ctx, httpx.Request{URL: fetch.Join(mirror, q.dir()+"/APKINDEX.tar.gz"), Limit: index.MaxIndex,
				Attempts: attempts, NoCache: true, IfNoneMatch: old.ETag, IfModifiedSince: old.LastModified})
			if err != nil {
				return fetch.Kept{}, false, err
			}
			if resp.NotModified {
				return fetch.Kept{}, true, nil
			}
			return fetch.Kept{ETag: resp.ETag, LastModified: resp.LastModified, Parts: [][]byte{data}}, false, nil
		},
		Read: func(k fetch.Kept) (*index.Index, error) { return index.Read(k.Parts[0], q.keys) },
	}
}

// Platforms lists the architectures that the first source's first component has.
func (a *apks) Platforms(ctx context.Context, r bootstrap.Request) ([]pipelines.Platform, error) {
	if err := check(r.Op); err != nil {
		return nil, err
	}
	c, err := a.client(r)
	if err != nil {
		return nil, err
	}
	found := make([]bool, len(architectures))
	var some errgroup.Group
	errs := make([]error, len(architectures))
	for i, arch := range architectures {
		one := r
		one.Op.Sources = r.Op.Sources[:1]
		qs, err := questions(one, arch.apk)
		if err != nil {
			return nil, err
		}
		some.Go(func() error {
			found[i], errs[i] = qs[0].offered(ctx, c, r)
			return nil
		})
	}
	some.Wait()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	var out []pipelines.Platform
	for i, ok := range found {
		if ok {
			out = append(out, architectures[i].platform)
		}
	}
	if len(out) == 0 {
		return nil, errs[0]
	}
	return out, nil
}

// offered says whether a mirror has an index for the architecture, without reading
// it. The error tells of mirrors that do not answer.
func (q asked) offered(ctx context.Context, c *fetch.Client, r bootstrap.Request) (bool, error) {
	if c.Offline {
		_, err := fetch.Freshest(ctx, c, q.question(c, r), nil)
		return err == nil, err
	}
	e := &fetch.MirrorsError{What: "index " + q.dir(), Missing: q.question(c, r).Missing}
	for i, m := range q.mirrors {
		attempts := 1
		if i == len(q.mirrors)-1 {
			attempts = 2
		}
		resp, err := c.HTTP.Get(ctx, httpx.Request{URL: fetch.Join(m, q.dir()+"/APKINDEX.tar.gz"), Attempts: attempts})
		if err == nil {
			resp.Body.Close()
			return true, nil
		}
		e.Faults = append(e.Faults, fetch.Fault{Mirror: m, Err: err})
	}
	return false, q.explain(ctx, c, e)
}
