package rpm

import (
	"context"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/cfbuild/cfbuild/bootstrap"
	"github.com/cfbuild/cfbuild/bootstrap/fetch"
	"github.com/cfbuild/cfbuild/bootstrap/rpm/repo"
	"github.com/cfbuild/cfbuild/internal/distkeys"
	"github.com/cfbuild/cfbuild/internal/httpx"
	"github.com/cfbuild/cfbuild/pipelines"
)

// Options of the bootstrapper. The zero value is good.
type Options struct {
	// Keys gives the public keys that a suite of a repository is signed with, nil
	// for none; default the distributions' own. Those of the site add to them.
	Keys func(repository, suite string) []byte
	// Downloads is how many files are fetched at once, default 8.
	Downloads int
	// Grace is how long other mirrors are waited for once one has answered,
	// default 1 s.
	Grace time.Duration
	// HTTP fetches instead of a client made for each site.
	HTTP *httpx.Client
}

// New gives the bootstrapper of method "rpm".
func New(o Options) bootstrap.Bootstrapper {
	if o.Keys == nil {
		o.Keys = distkeys.Keys
	}
	return &rpms{o: o, clients: fetch.Clients{Fixed: o.HTTP}}
}

type rpms struct {
	o       Options
	clients fetch.Clients
}

// Method is "rpm".
func (*rpms) Method() string { return "rpm" }

// candidates are the platforms that RPM distributions come for.
var candidates = []string{"amd64", "arm64", "ppc64le", "s390x", "riscv64"}

// Platforms lists those for which the first source is there: a suite with
// $basearch is asked for each of them.
func (d *rpms) Platforms(ctx context.Context, r bootstrap.Request) ([]pipelines.Platform, error) {
	if len(r.Op.Sources) == 0 {
		return nil, noSources()
	}
	r.Op.Sources = r.Op.Sources[:1]
	c, err := d.client(r)
	if err != nil {
		return nil, err
	}
	c.NoListing = true
	there := make([]bool, len(candidates))
	var wg sync.WaitGroup
	for i, arch := range candidates {
		wg.Go(func() {
			name, err := repo.Arch(pipelines.Platform{OS: "linux", Architecture: arch})
			if err == nil {
				_, err = c.Open(ctx, r.Op.Sources[0], name, r.Site, r.Now, nil)
			}
			there[i] = err == nil
		})
	}
	wg.Wait()
	var out []pipelines.Platform
	for i, arch := range candidates {
		if there[i] {
			out = append(out, pipelines.Platform{OS: "linux", Architecture: arch})
		}
	}
	if len(out) == 0 { // for the reason
		_, err := d.open(ctx, r)
		return nil, err
	}
	return out, nil
}

func noSources() error {
	return &pipelines.InvalidError{What: "bootstrap rpm", Cause: "has no sources",
		Fix: "give at least one PackageSource, such as repository centos-stream, suite 9-stream/BaseOS/$basearch/os"}
}

// Make fetches, verifies, resolves, checks signatures and unpacks the first stage.
// A root that is in the cache costs one conditional request for each repository.
func (d *rpms) Make(ctx context.Context, r bootstrap.Request) (bootstrap.Root, error) {
	root, err := d.makeRoot(ctx, r)
	if err != nil {
		return bootstrap.Root{}, fmt.Errorf("bootstrap %s: %w", describe(r), err)
	}
	return root, nil
}

func describe(r bootstrap.Request) string {
	name := "rpm"
	if len(r.Op.Sources) > 0 {
		name = r.Op.Sources[0].Repository
	}
	return name + " for " + r.Platform.String()
}

// Identify reads the repositories' metadata.
func (d *rpms) Identify(ctx context.Context, r bootstrap.Request) (bootstrap.Identity, error) {
	set, platform, repos, err := d.selected(ctx, r)
	if err == nil {
		var id bootstrap.Identity
		if id, err = d.identify(r, platform, set, repos); err == nil {
			return id, nil
		}
	}
	return bootstrap.Identity{}, fmt.Errorf("bootstrap %s: %w", describe(r), err)
}

// identify gives the identity of the root of a package set.
func (d *rpms) identify(r bootstrap.Request, platform pipelines.Platform, set selection, repos []*repo.Repo) (bootstrap.Identity, error) {
	key, _, err := d.rootKey(r, platform, set)
	out := bootstrap.Identity{Root: key}
	for _, p := range repos {
		out.Metadata = append(out.Metadata, p.Meta.Digest)
	}
	return out, err
}

func (d *rpms) makeRoot(ctx context.Context, r bootstrap.Request) (bootstrap.Root, error) {
	set, platform, repos, err := d.selected(ctx, r)
	if err != nil {
		return bootstrap.Root{}, err
	}
	root, err := d.root(ctx, r, platform, set)
	if err != nil {
		return root, err
	}
	root.Identity, err = d.identify(r, platform, set, repos)
	return root, err
}

// selected gives the packages of a root and of its first stage, and whose platform
// that is for.
func (d *rpms) selected(ctx context.Context, r bootstrap.Request) (set selection, platform pipelines.Platform, repos []*repo.Repo, err error) {
	switch {
	case len(r.Op.Sources) == 0:
		return set, platform, nil, noSources()
	case len(r.Op.Include) == 0:
		return set, platform, nil, &pipelines.InvalidError{What: "bootstrap rpm", Cause: "includes no package",
			Fix: "name the packages of the root; their dependencies follow"}
	case r.Op.Variant != "":
		return set, platform, nil, &pipelines.InvalidError{What: "bootstrap rpm", Cause: fmt.Sprintf("has the variant %q", r.Op.Variant),
			Fix: "variants are for deb; Include names all packages"}
	}
	if repos, err = d.open(ctx, r); err != nil {
		return set, platform, nil, err
	}
	if set, err = d.choose(ctx, r, r.Op.Include, r.Op.Exclude, repos); err != nil {
		return set, platform, nil, err
	}
	stage, platform, err := d.stage(ctx, r, repos)
	if err != nil {
		return set, platform, nil, err
	}
	set.Stage = stage.Packages
	if !r.Epoch.IsZero() {
		set.Epoch = r.Epoch.UTC().Truncate(time.Second)
	}
	return set, platform, repos, nil
}

// stage chooses the packages of the first stage: for the helper's platform where
// the root's own would be emulated and the repositories have it, so that unpacking
// and rpm run natively and only the packages' scripts are emulated.
func (d *rpms) stage(ctx context.Context, r bootstrap.Request, repos []*repo.Repo) (selection, pipelines.Platform, error) {
	native := r
	if native.Platform = r.Helper; r.Helper != (pipelines.Platform{}) && r.Helper != r.Platform {
		native.Events = nil
		if own, err := d.open(ctx, native); err == nil {
			native.Events = r.Events
			set, err := d.choose(ctx, native, stagePackages, nil, own)
			if err == nil {
				return set, r.Helper, nil
			}
		}
		if ctx.Err() != nil {
			return selection{}, r.Helper, context.Cause(ctx)
		}
		r.Sink("resolve").Send(pipelines.Event{Kind: pipelines.EventNote,
			Text: fmt.Sprintf("the repositories have no rpm for %s: the one for %s is emulated", r.Helper, r.Platform)})
	}
	set, err := d.choose(ctx, r, stagePackages, nil, repos)
	if err != nil {
		return set, r.Platform, fmt.Errorf("first stage: %w", err)
	}
	return set, r.Platform, nil
}

// stagePackages is what the step that installs runs.
var stagePackages = []string{"rpm", "coreutils", "/bin/sh"}

func (d *rpms) client(r bootstrap.Request) (*repo.Client, error) {
	http, err := d.clients.For(r.Site)
	return &repo.Client{Keys: d.o.Keys, Client: &fetch.Client{HTTP: http, CacheDir: r.CacheDir, Offline: r.Offline, Jobs: d.o.Downloads, Grace: d.o.Grace}}, err
}

// open fetches and verifies the metadata of each source.
func (d *rpms) open(ctx context.Context, r bootstrap.Request) (repos []*repo.Repo, err error) {
	ev, done := r.Begin("metadata", "check the repositories' metadata")
	defer func() { done("", err) }()
	arch, err := repo.Arch(r.Platform)
	if err != nil {
		return nil, err
	}
	c, err := d.client(r)
	if err != nil {
		return nil, err
	}
	repos = make([]*repo.Repo, len(r.Op.Sources))
	g, gctx := errgroup.WithContext(ctx)
	for i, src := range r.Op.Sources {
		g.Go(func() (err error) {
			repos[i], err = c.Open(gctx, src, arch, r.Site, r.Now, ev)
			return err
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
