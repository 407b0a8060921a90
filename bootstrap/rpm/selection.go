package rpm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/cfbuild/cfbuild/bootstrap"
	"github.com/cfbuild/cfbuild/bootstrap/fetch"
	"github.com/cfbuild/cfbuild/bootstrap/rootcache"
	"github.com/cfbuild/cfbuild/bootstrap/rpm/repo"
	"github.com/cfbuild/cfbuild/bootstrap/rpm/resolve"
	"github.com/cfbuild/cfbuild/internal/atomicfile"
	"github.com/cfbuild/cfbuild/internal/httpx"
	"github.com/cfbuild/cfbuild/pipelines"
)

// version is part of every key of the cache: raise it when resolving or unpacking
// gives something else for the same input.
const version = 1

// selection is a resolved package set. It is kept by the digests of the metadata it
// was made from, so that unchanged repositories are not read again.
type selection struct {
	Arch     string    `json:"arch"`
	Epoch    time.Time `json:"epoch"`
	Packages []chosen  `json:"packages"`
	// Stage are the packages of the first stage.
	Stage []chosen `json:"-"`
}

// chosen is a package of the set with what it takes to fetch it.
type chosen struct {
	Name      string `json:"name"`
	EVR       string `json:"evr"`
	Arch      string `json:"arch"`
	SHA256    string `json:"sha256"`
	Size      int64  `json:"size"`
	Installed int64  `json:"installed"`
	Location  string `json:"location"`
	Repo      int    `json:"repo"`
	Why       string `json:"why"`
	// from is the repository.
	from *repo.Repo
}

func (c chosen) String() string { return c.Name + "-" + c.EVR + "." + c.Arch }

// file is the package's name in the first stage.
func (c chosen) file() string { return c.SHA256[:16] + ".rpm" }

// choose gives the package set for repositories that are open, from the cache or by
// resolving.
func (d *rpms) choose(ctx context.Context, r bootstrap.Request, include, exclude []string, repos []*repo.Repo) (selection, error) {
	arch, err := repo.Arch(r.Platform)
	if err != nil {
		return selection{}, err
	}
	var digests []string
	for _, s := range repos {
		digests = append(digests, s.Meta.Digest)
	}
	key, err := rootcache.Key("rpm selection", version, arch, r.Op.Sources, include, exclude, digests)
	if err != nil {
		return selection{}, err
	}
	file := filepath.Join(r.CacheDir, "selections", key+".json")
	if set, ok := readSelection(file, repos); ok {
		return set, nil
	}
	set, used, err := d.resolveSet(ctx, r, arch, include, exclude, repos)
	if err != nil {
		return selection{}, err
	}
	for i := range used {
		if used[i] != repos[i] { // an older state was taken: the set does not belong to the key
			return set, nil
		}
	}
	data, err := json.Marshal(set)
	if err != nil {
		return set, err
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return set, err
	}
	return set, atomicfile.Write(file, data, 0o644)
}

func readSelection(file string, repos []*repo.Repo) (selection, bool) {
	var set selection
	data, err := os.ReadFile(file)
	if err != nil || json.Unmarshal(data, &set) != nil || len(set.Packages) == 0 {
		return set, false
	}
	for i := range set.Packages {
		p := &set.Packages[i]
		if p.Repo < 0 || p.Repo >= len(repos) || len(p.SHA256) != 64 {
			return set, false
		}
		p.from = repos[p.Repo]
	}
	return set, true
}

// resolveSet reads the indexes and chooses the packages.
func (d *rpms) resolveSet(ctx context.Context, r bootstrap.Request, arch string, include, exclude []string, repos []*repo.Repo) (set selection, used []*repo.Repo, err error) {
	ev, done := r.Begin("resolve", "choose packages")
	defer func() { done(fmt.Sprintf("%d packages", len(set.Packages)), err) }()
	c, err := d.client(r)
	if err != nil {
		return set, nil, err
	}
	used, lists, err := load(ctx, c, arch, repos, ev)
	if err != nil {
		return set, nil, err
	}
	got, err := d.resolve(ctx, c, arch, include, exclude, used, lists)
	if err != nil {
		return set, nil, err
	}
	set.Arch = arch
	for _, s := range used {
		if s.Meta.Made().After(set.Epoch) {
			set.Epoch = s.Meta.Made()
		}
	}
	for _, p := range got {
		set.Packages = append(set.Packages, chosen{Name: p.Name, EVR: p.EVR.String(), Arch: p.Arch, SHA256: p.SHA256, Size: p.Size,
			Installed: p.Installed, Location: p.Location, Repo: p.Repo, Why: p.Why, from: used[p.Repo]})
	}
	return set, used, nil
}

// load reads the packages of every repository. Where no mirror has the index of
// the newest state, an older one takes its place.
func load(ctx context.Context, c *repo.Client, arch string, repos []*repo.Repo, ev pipelines.Sink) ([]*repo.Repo, [][]*resolve.Package, error) {
	used := make([]*repo.Repo, len(repos))
	lists := make([][]*resolve.Package, len(repos))
	g, gctx := errgroup.WithContext(ctx)
	for i, r := range repos {
		g.Go(func() error {
			var first error
			for _, s := range append([]*repo.Repo{r}, r.Older...) {
				pkgs, err := c.Packages(gctx, s, arch, i)
				if err == nil {
					used[i], lists[i] = s, pkgs
					return nil
				}
				if first == nil {
					first = err
				}
				if !unobtainable(err) {
					break
				}
				ev.Send(pipelines.Event{Kind: pipelines.EventWarning, Step: "metadata", Text: fmt.Sprintf(
					"repository %s %s of %s cannot be used: %v", s.Source.Repository, s.Path, s.Meta.Made().Format(time.DateTime), err)})
			}
			return first
		})
	}
	if err := g.Wait(); err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return nil, nil, err
	}
	return used, lists, nil
}

// unobtainable says whether an older state may help: no mirror had an index as
// repomd.xml has it.
func unobtainable(err error) bool {
	var me *fetch.MirrorsError
	if !errors.As(err, &me) {
		return false
	}
	for _, f := range me.Faults {
		var he *httpx.Error
		if errors.Is(f.Err, fetch.ErrMismatch) || errors.As(f.Err, &he) && he.Kind != httpx.Untrusted {
			return true
		}
	}
	return false
}

// resolve chooses, with the full lists of files where the short ones do not do.
func (d *rpms) resolve(ctx context.Context, c *repo.Client, arch string, include, exclude []string, repos []*repo.Repo, lists [][]*resolve.Package) ([]resolve.Chosen, error) {
	var all []*resolve.Package
	for i, list := range lists {
		for _, p := range list {
			// A module's packages are for whoever enables its stream with dnf; the
			// rest of an EL 8 repository does not need them.
			if !repos[i].Meta.Modular || !p.Modular() {
				all = append(all, p)
			}
		}
	}
	o := resolve.Options{Arch: arch, Include: include, Exclude: exclude}
	asked := map[string]bool{}
	for {
		got, err := resolve.Resolve(all, o)
		var need *resolve.NeedFilesError
		if !errors.As(err, &need) {
			return got, modular(err, lists)
		}
		fresh := false
		for _, p := range need.Paths {
			fresh = fresh || !asked[p]
			asked[p] = true
		}
		if !fresh {
			return nil, err
		}
		for i, r := range repos {
			if err := c.Files(ctx, r, lists[i], need.Paths); err != nil {
				return nil, err
			}
		}
	}
}

// modular says it where a package that was not found is in a module.
func modular(err error, lists [][]*resolve.Package) error {
	var missing *resolve.NotFoundError
	if !errors.As(err, &missing) {
		return err
	}
	for _, list := range lists {
		for _, p := range list {
			if p.Name == missing.Name {
				return &pipelines.InvalidError{What: "package " + p.Name, Cause: "is in a module, which a bootstrap does not enable",
					Fix: "install it in a later step with dnf module install"}
			}
		}
	}
	return err
}
