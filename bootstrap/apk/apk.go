package apk

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/cfbuild/cfbuild/bootstrap"
	"github.com/cfbuild/cfbuild/bootstrap/apk/index"
	"github.com/cfbuild/cfbuild/bootstrap/apk/resolve"
	"github.com/cfbuild/cfbuild/bootstrap/fetch"
	"github.com/cfbuild/cfbuild/internal/httpx"
	"github.com/cfbuild/cfbuild/pipelines"
)

// Options of the bootstrapper. The zero value is good.
type Options struct {
	// Downloads is how many files are fetched at once, default 8.
	Downloads int
	// Grace is how long other mirrors are waited for once one has answered,
	// default 1 s.
	Grace time.Duration
	// HTTP fetches instead of a client made for each site.
	HTTP *httpx.Client
}

// New gives the bootstrapper of method "apk".
func New(o Options) bootstrap.Bootstrapper { return &apks{o: o, clients: fetch.Clients{Fixed: o.HTTP}} }

type apks struct {
	o       Options
	clients fetch.Clients
}

// Method is "apk".
func (*apks) Method() string { return "apk" }

// Make fetches, verifies, resolves and unpacks. A root that is in the cache costs one
// conditional request for each index.
func (a *apks) Make(ctx context.Context, r bootstrap.Request) (bootstrap.Root, error) {
	root, err := a.makeRoot(ctx, r)
	if err != nil {
		branch := "apk"
		if len(r.Op.Sources) > 0 {
			branch = r.Op.Sources[0].Suite
		}
		return bootstrap.Root{}, fmt.Errorf("bootstrap %s for %s: %w", branch, r.Platform, err)
	}
	return root, nil
}

// Identify reads the indexes.
func (a *apks) Identify(ctx context.Context, r bootstrap.Request) (bootstrap.Identity, error) {
	arch, repos, err := a.opened(ctx, r)
	if err != nil {
		return bootstrap.Identity{}, fmt.Errorf("bootstrap %s: %w", r.Platform, err)
	}
	set, err := a.choose(r, arch, repos)
	if err != nil {
		return bootstrap.Identity{}, fmt.Errorf("bootstrap %s: %w", r.Platform, err)
	}
	return identify(r, set, repos)
}

// identify gives the identity of the root of a package set.
func identify(r bootstrap.Request, set selection, repos []*repo) (bootstrap.Identity, error) {
	key, err := rootKey(r, set)
	out := bootstrap.Identity{Root: key}
	for _, p := range repos {
		out.Metadata = append(out.Metadata, p.index().Digest)
	}
	return out, err
}

// opened checks a request and opens its indexes.
func (a *apks) opened(ctx context.Context, r bootstrap.Request) (arch string, repos []*repo, err error) {
	if err := check(r.Op); err != nil {
		return "", nil, err
	}
	if arch, err = Architecture(r.Platform); err != nil {
		return "", nil, err
	}
	repos, err = a.open(ctx, r, arch)
	return arch, repos, err
}

func (a *apks) makeRoot(ctx context.Context, r bootstrap.Request) (bootstrap.Root, error) {
	arch, repos, err := a.opened(ctx, r)
	if err != nil {
		return bootstrap.Root{}, err
	}
	for {
		root, err := a.from(ctx, r, arch, repos)
		var gone *fetch.MirrorsError
		if err == nil || !errors.As(err, &gone) {
			return root, err
		}
		// A mirror may have a new index before its packages.
		older, ok := stepBack(repos)
		if !ok {
			return root, err
		}
		r.Sink("metadata").Send(pipelines.Event{Kind: pipelines.EventWarning, Text: fmt.Sprintf("older indexes are tried: %v", err)})
		repos = older
	}
}

// from makes the root of indexes that are open.
func (a *apks) from(ctx context.Context, r bootstrap.Request, arch string, repos []*repo) (bootstrap.Root, error) {
	set, err := a.choose(r, arch, repos)
	if err != nil {
		return bootstrap.Root{}, err
	}
	root, err := a.root(ctx, r, set)
	if err != nil {
		return root, err
	}
	root.Identity, err = identify(r, set, repos)
	return root, err
}

// check looks at the definition.
func check(op pipelines.Bootstrap) error {
	bad := func(cause, fix string) error {
		return &pipelines.InvalidError{What: "bootstrap apk", Cause: cause, Fix: fix}
	}
	switch {
	case len(op.Sources) == 0:
		return bad("has no sources", "give at least one PackageSource, such as repository alpine, suite v3.24")
	case op.Variant != "":
		return bad(fmt.Sprintf("has no variant %q", op.Variant), "Include names all packages: alpine-baselayout, busybox, apk-tools, …")
	case len(op.Include) == 0:
		return bad("names no package", "Include names all packages: alpine-baselayout, busybox, apk-tools, …")
	}
	return nil
}

func (a *apks) client(r bootstrap.Request) (*fetch.Client, error) {
	http, err := a.clients.For(r.Site)
	return &fetch.Client{HTTP: http, CacheDir: r.CacheDir, Offline: r.Offline, Jobs: a.o.Downloads, Grace: a.o.Grace}, err
}

// selection is a package set.
type selection struct {
	Arch  string
	Epoch time.Time
	// World are the lines of /etc/apk/world.
	World    []string
	Packages []chosen
}

// chosen is a package and its repository.
type chosen struct {
	*index.Package
	repo *repo
	why  string
}

// choose resolves the packages; their order is the one of installing.
func (a *apks) choose(r bootstrap.Request, arch string, repos []*repo) (set selection, err error) {
	_, done := r.Begin("resolve", "choose packages")
	defer func() { done(fmt.Sprintf("%d packages", len(set.Packages)), err) }()
	set = selection{Arch: arch}
	var world []index.Dep
	for _, list := range []struct {
		names    []string
		conflict bool
	}{{r.Op.Include, false}, {r.Op.Exclude, true}} {
		for _, n := range list.names {
			d := index.Dep{Name: n, Conflict: list.conflict}
			if !slices.Contains(set.World, d.String()) {
				world = append(world, d)
				set.World = append(set.World, d.String())
			}
		}
	}
	// apk has them by name, whatever they say of it.
	slices.SortStableFunc(set.World, func(a, b string) int {
		return strings.Compare(strings.TrimPrefix(a, "!"), strings.TrimPrefix(b, "!"))
	})
	lists := make([][]*index.Package, len(repos))
	for i, p := range repos {
		lists[i] = p.index().Packages
		if d := p.index().Date; d.After(set.Epoch) {
			set.Epoch = d.UTC()
		}
	}
	list, err := resolve.Resolve(lists, resolve.Options{Arch: arch, World: world})
	if err != nil {
		return set, err
	}
	for _, c := range list {
		set.Packages = append(set.Packages, chosen{c.Package.Clone(), repos[c.Repo], c.Why})
	}
	if !r.Epoch.IsZero() {
		set.Epoch = r.Epoch.UTC().Truncate(time.Second)
	}
	return set, nil
}

// architectures in apk's terms (apk-package(5), "arch").
var architectures = []struct {
	apk      string
	platform pipelines.Platform
}{
	{"x86_64", pipelines.Platform{OS: "linux", Architecture: "amd64"}},
	{"aarch64", pipelines.Platform{OS: "linux", Architecture: "arm64"}},
	{"x86", pipelines.Platform{OS: "linux", Architecture: "386"}},
	{"armv7", pipelines.Platform{OS: "linux", Architecture: "arm", Variant: "v7"}},
	{"armhf", pipelines.Platform{OS: "linux", Architecture: "arm", Variant: "v6"}},
	{"ppc64le", pipelines.Platform{OS: "linux", Architecture: "ppc64le"}},
	{"s390x", pipelines.Platform{OS: "linux", Architecture: "s390x"}},
	{"riscv64", pipelines.Platform{OS: "linux", Architecture: "riscv64"}},
	{"loongarch64", pipelines.Platform{OS: "linux", Architecture: "loong64"}},
}

// Architecture is apk's name of a platform.
func Architecture(p pipelines.Platform) (string, error) {
	var names []string
	for _, a := range architectures {
		if a.platform == p {
			return a.apk, nil
		}
		names = append(names, a.platform.String())
	}
	return "", &pipelines.InvalidError{What: "platform " + p.String(), Cause: "is none of Alpine's", Fix: "it has " + strings.Join(names, ", ")}
}
