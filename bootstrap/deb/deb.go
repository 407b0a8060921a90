package deb

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/cfbuild/cfbuild/bootstrap"
	"github.com/cfbuild/cfbuild/bootstrap/deb/archive"
	"github.com/cfbuild/cfbuild/bootstrap/deb/resolve"
	"github.com/cfbuild/cfbuild/bootstrap/fetch"
	"github.com/cfbuild/cfbuild/internal/httpx"
	"github.com/cfbuild/cfbuild/pipelines"
)

// Options of the bootstrapper. The zero value is good.
type Options struct {
	// Workers is how many packages are unpacked at once, default the number of
	// processors, at most 8.
	Workers int
	// Downloads is how many files are fetched at once, default 8.
	Downloads int
	// Grace is how long other mirrors are waited for once one has answered,
	// default 1 s.
	Grace time.Duration
	// HTTP fetches instead of a client made for each site.
	HTTP *httpx.Client
}

// New gives the bootstrapper of method "deb".
func New(o Options) bootstrap.Bootstrapper { return &debs{o: o, clients: fetch.Clients{Fixed: o.HTTP}} }

type debs struct {
	o       Options
	clients fetch.Clients
}

// Method is "deb".
func (*debs) Method() string { return "deb" }

// Platforms lists what all the sources' first suite offers.
func (d *debs) Platforms(ctx context.Context, r bootstrap.Request) ([]pipelines.Platform, error) {
	if len(r.Op.Sources) == 0 {
		return nil, noSources()
	}
	r.Op.Sources = r.Op.Sources[:1]
	suites, err := d.open(ctx, r)
	if err != nil {
		return nil, err
	}
	return suites[0].Release.Platforms(), nil
}

func noSources() error {
	return &pipelines.InvalidError{What: "bootstrap deb", Cause: "has no sources",
		Fix: "give at least one PackageSource, such as repository debian, suite bookworm"}
}

// Make fetches, verifies, resolves and unpacks. A root that is in the cache costs
// one conditional request for each suite.
func (d *debs) Make(ctx context.Context, r bootstrap.Request) (bootstrap.Root, error) {
	root, err := d.makeRoot(ctx, r)
	if err != nil {
		return bootstrap.Root{}, fmt.Errorf("bootstrap %s: %w", describe(r), err)
	}
	return root, nil
}

func describe(r bootstrap.Request) string {
	suite := "deb"
	if len(r.Op.Sources) > 0 {
		suite = r.Op.Sources[0].Suite
	}
	return suite + " for " + r.Platform.String()
}

// Identify reads releases and, when they are new, package indexes.
func (d *debs) Identify(ctx context.Context, r bootstrap.Request) (bootstrap.Identity, error) {
	set, suites, err := d.selected(ctx, &r)
	if err != nil {
		return bootstrap.Identity{}, fmt.Errorf("bootstrap %s: %w", describe(r), err)
	}
	return identify(r, set, suites)
}

// identify gives the identity of the root of a package set.
func identify(r bootstrap.Request, set selection, suites []*archive.Suite) (bootstrap.Identity, error) {
	key, err := rootKey(r, set)
	out := bootstrap.Identity{Root: key}
	for _, s := range suites {
		out.Metadata = append(out.Metadata, s.Release.Digest)
	}
	return out, err
}

// selected gives the package set of a request, whose variant is filled in.
func (d *debs) selected(ctx context.Context, r *bootstrap.Request) (set selection, suites []*archive.Suite, err error) {
	if len(r.Op.Sources) == 0 {
		return set, nil, noSources()
	}
	r.Op.Variant = cmp.Or(r.Op.Variant, "minbase")
	arch, err := archive.Architecture(r.Platform)
	if err != nil {
		return set, nil, err
	}
	if suites, err = d.open(ctx, *r); err != nil {
		return set, nil, err
	}
	if set, err = d.choose(ctx, *r, arch, suites); err != nil {
		return set, nil, err
	}
	if !r.Epoch.IsZero() {
		set.Epoch = r.Epoch.UTC().Truncate(time.Second)
	}
	return set, suites, nil
}

func (d *debs) makeRoot(ctx context.Context, r bootstrap.Request) (bootstrap.Root, error) {
	set, suites, err := d.selected(ctx, &r)
	if err != nil {
		return bootstrap.Root{}, err
	}
	root, err := d.root(ctx, r, set)
	if err != nil {
		return root, err
	}
	if root.Identity, err = identify(r, set, suites); err != nil {
		return root, err
	}
	mounts, err := d.native(ctx, r, set, suites)
	for i := range root.Configure {
		root.Configure[i].Mounts = mounts
	}
	return root, err
}

func (d *debs) client(r bootstrap.Request) (*archive.Client, error) {
	http, err := d.clients.For(r.Site)
	return &archive.Client{HTTP: http, CacheDir: r.CacheDir, Offline: r.Offline, Jobs: d.o.Downloads, Grace: d.o.Grace}, err
}

// open fetches and verifies the release of each suite.
func (d *debs) open(ctx context.Context, r bootstrap.Request) (suites []*archive.Suite, err error) {
	ev, done := r.Begin("metadata", "check the archive's metadata")
	defer func() { done("", err) }()
	c, err := d.client(r)
	if err != nil {
		return nil, err
	}
	suites = make([]*archive.Suite, len(r.Op.Sources))
	g, gctx := errgroup.WithContext(ctx)
	for i, src := range r.Op.Sources {
		g.Go(func() (err error) {
			suites[i], err = c.Open(gctx, src, archive.Mirrors(src, r.Site), r.Site.Keyrings[src.Repository], r.Now, ev)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return nil, err
	}
	return suites, nil
}

// resolveSet reads the indexes and chooses the packages.
func (d *debs) resolveSet(ctx context.Context, r bootstrap.Request, arch string) (set selection, used []*archive.Suite, err error) {
	ev, done := r.Begin("resolve", "choose packages")
	defer func() { done(fmt.Sprintf("%d packages", len(set.Packages)), err) }()
	c, err := d.client(r)
	if err != nil {
		return set, nil, err
	}
	used, pkgs, err := c.Load(ctx, r.Op.Sources, r.Site, arch, r.Now, ev)
	if err != nil {
		return set, nil, err
	}
	merged := mergedUsr(used[0].Release)
	chosen, err := resolve.Resolve(pkgs, resolve.Options{Arch: arch, Variant: r.Op.Variant,
		Include: r.Op.Include, Exclude: r.Op.Exclude, MergedUsr: merged})
	if err != nil {
		return set, nil, err
	}
	set = selection{Arch: arch, MergedUsr: merged}
	for _, s := range used {
		if s.Release.Date.After(set.Epoch) {
			set.Epoch = s.Release.Date.UTC()
		}
	}
	for _, p := range chosen {
		set.Packages = append(set.Packages, chosenPackage{Package: p.Package, Suite: slices.Index(used, p.Suite), Why: p.Why, Auto: p.Auto})
	}
	return set, used, nil
}
