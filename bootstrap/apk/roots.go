package apk

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/cfbuild/cfbuild/bootstrap"
	"github.com/cfbuild/cfbuild/bootstrap/apk/unpack"
	"github.com/cfbuild/cfbuild/bootstrap/apk/version"
	"github.com/cfbuild/cfbuild/bootstrap/rootcache"
	"github.com/cfbuild/cfbuild/internal/oci"
	"github.com/cfbuild/cfbuild/pipelines"
)

// format is part of every key of the cache: raise it when unpacking gives something
// else for the same packages.
const format = 1

// identity is what decides a layer.
type identity struct {
	Epoch    int64
	World    []string
	Packages []string // in the order of installing
}

// rootKey names the root of a package set.
func rootKey(r bootstrap.Request, set selection) (string, error) {
	id := identity{Epoch: set.Epoch.Unix(), World: set.World}
	for _, p := range set.Packages {
		id.Packages = append(id.Packages, fmt.Sprintf("%s %s %d", p, p.Checksum, p.Size))
	}
	return rootcache.Key("apk", format, r.Platform, id)
}

// root gives the root of a package set, from the cache or by unpacking.
func (a *apks) root(ctx context.Context, r bootstrap.Request, set selection) (bootstrap.Root, error) {
	key, err := rootKey(r, set)
	if err != nil {
		return bootstrap.Root{}, err
	}
	waiting := func() {
		r.Sink("unpack").Send(pipelines.Event{Kind: pipelines.EventNote, Text: "another run is making this root; waiting for it"})
	}
	made, err := rootcache.Get(ctx, r.CacheDir, key, waiting, func(layout *oci.Layout, tmp string) (rootcache.Image, unpack.Summary, error) {
		return a.build(ctx, r, set, layout, tmp)
	})
	if err != nil {
		return bootstrap.Root{}, err
	}
	if made.Cached {
		r.Sink("unpack").Send(pipelines.Event{Kind: pipelines.EventCached, Name: "unpack packages"})
	}
	root := bootstrap.Root{Layout: made.Layout, Digest: made.Digest, Epoch: set.Epoch, Cached: made.Cached,
		Configure: configure(made.Summary, set.Epoch)}
	for _, p := range set.Packages {
		// An index of version 2 has no SHA-256 of packages.
		root.Packages = append(root.Packages, bootstrap.Package{Name: p.Name, Version: p.Version, Architecture: p.Arch, Size: p.Size, Why: p.why})
	}
	slices.SortFunc(root.Packages, func(a, b bootstrap.Package) int { return strings.Compare(a.Name, b.Name) })
	return root, nil
}

// build downloads the packages, and unpacks them in their order into one layer.
func (a *apks) build(ctx context.Context, r bootstrap.Request, set selection, layout *oci.Layout, tmp string) (img rootcache.Image, sum unpack.Summary, err error) {
	paths, err := a.fetch(ctx, r, set)
	if err != nil {
		return img, sum, err
	}
	ev, done := r.Begin("unpack", "unpack packages")
	defer func() { done(fmt.Sprintf("%d files, %d MB", sum.Entries, sum.Size/1e6), err) }()
	u, err := unpack.New(unpack.Options{Arch: set.Arch, World: set.World, Epoch: set.Epoch, SpoolDir: tmp,
		Version3: slices.ContainsFunc(set.Packages, func(p chosen) bool {
			return p.Name == "apk-tools" && version.Compare(p.Version, "3_alpha") >= 0
		})})
	if err != nil {
		return img, sum, err
	}
	defer u.Close()
	var total, now int64
	for _, p := range set.Packages {
		total += p.InstalledSize
	}
	for i, p := range set.Packages {
		if err := u.Add(ctx, p.Package, paths[i]); err != nil {
			return img, sum, err
		}
		now += p.InstalledSize
		ev.Send(pipelines.Event{Kind: pipelines.EventProgress, Name: "unpack packages", Current: now, Total: total, Unit: "B"})
	}
	img, err = rootcache.WriteImage(layout, r.Platform, set.Epoch, "cfbuild bootstrap apk", func(w io.Writer) (err error) {
		sum, err = u.Finish(ctx, w)
		return err
	})
	return img, sum, err
}
