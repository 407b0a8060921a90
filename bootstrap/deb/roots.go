package deb

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/cfbuild/cfbuild/bootstrap"
	"github.com/cfbuild/cfbuild/bootstrap/deb/archive"
	"github.com/cfbuild/cfbuild/bootstrap/deb/unpack"
	"github.com/cfbuild/cfbuild/bootstrap/rootcache"
	"github.com/cfbuild/cfbuild/internal/oci"
	"github.com/cfbuild/cfbuild/pipelines"
)

// identity is what decides a layer.
type identity struct {
	Arch      string
	MergedUsr bool
	Epoch     int64
	Packages  []string
	Auto      []string
	Native    bool `json:",omitempty"` // tools, see native
}

// rootKey names the root of a package set.
func rootKey(r bootstrap.Request, set selection) (string, error) {
	id := identity{Arch: set.Arch, MergedUsr: set.MergedUsr, Epoch: set.Epoch.Unix(), Native: set.Native}
	for _, p := range set.Packages {
		id.Packages = append(id.Packages, p.Package.String()+":"+p.Architecture+" "+p.SHA256)
		if p.Auto {
			id.Auto = append(id.Auto, p.Name+":"+p.Architecture)
		}
	}
	return keyOf("root", r.Platform, id)
}

// root gives the root of a package set, from the cache or by unpacking.
func (d *debs) root(ctx context.Context, r bootstrap.Request, set selection) (bootstrap.Root, error) {
	key, err := rootKey(r, set)
	if err != nil {
		return bootstrap.Root{}, err
	}
	waiting := func() {
		r.Sink("unpack").Send(pipelines.Event{Kind: pipelines.EventNote, Text: "another run is making this root; waiting for it"})
	}
	made, err := rootcache.Get(ctx, r.CacheDir, key, waiting, func(layout *oci.Layout, tmp string) (rootcache.Image, unpack.Summary, error) {
		return d.unpack(ctx, r, set, layout, tmp)
	})
	if err != nil {
		return bootstrap.Root{}, err
	}
	if made.Cached {
		r.Sink("unpack").Send(pipelines.Event{Kind: pipelines.EventCached, Name: "unpack packages"})
	}
	return rootOf(made, set), nil
}

func rootOf(made rootcache.Root[unpack.Summary], set selection) bootstrap.Root {
	root := bootstrap.Root{Layout: made.Layout, Digest: made.Digest, Epoch: set.Epoch, Cached: made.Cached}
	dpkg := ""
	for _, p := range set.Packages {
		if p.Name == "dpkg" {
			dpkg = p.Version
		}
		root.Packages = append(root.Packages, bootstrap.Package{Name: p.Name, Version: p.Version,
			Architecture: p.Architecture, SHA256: p.SHA256, Size: p.Size, Why: p.Why})
	}
	slices.SortFunc(root.Packages, func(a, b bootstrap.Package) int {
		return strings.Compare(a.Name+":"+a.Architecture, b.Name+":"+b.Architecture)
	})
	root.Configure = []pipelines.Run{configure(made.Summary.Phases, set.Epoch, dpkg)}
	return root
}

// unpack downloads and unpacks the packages into an image of one layer.
func (d *debs) unpack(ctx context.Context, r bootstrap.Request, set selection, layout *oci.Layout, spool string) (img rootcache.Image, sum unpack.Summary, err error) {
	ev, done := r.Begin("unpack", "unpack packages")
	defer func() { done(fmt.Sprintf("%d files, %d MB", sum.Entries, sum.Size/1e6), err) }()
	c, err := d.client(r)
	if err != nil {
		return img, sum, err
	}
	u, err := unpack.New(unpack.Options{Arch: set.Arch, MergedUsr: set.MergedUsr, Epoch: set.Epoch,
		Workers: d.o.Workers, SpoolDir: spool})
	if err != nil {
		return img, sum, err
	}
	defer u.Close()
	progress := newProgress(ev, set)
	if err := d.fetch(ctx, r, c, set, u, progress); err != nil {
		return img, sum, err
	}
	img, err = rootcache.WriteImage(layout, r.Platform, set.Epoch, "cfbuild bootstrap deb", func(w io.Writer) (err error) {
		if !set.Native {
			sum, err = u.Finish(ctx, w, progress.write)
			return err
		}
		in, wait := nativeTools(set.Arch, w)
		sum, err = u.Finish(ctx, in, progress.write)
		in.CloseWithError(err)
		if err2 := wait(); err == nil || errors.Is(err2, errNoRoom) {
			err = err2
		}
		return err
	})
	return img, sum, err
}

// fetch downloads the packages and unpacks each as it arrives.
func (d *debs) fetch(ctx context.Context, r bootstrap.Request, c *archive.Client, set selection, u *unpack.Unpacker, pr *progress) (err error) {
	ev, done := r.Begin("download", "download packages")
	pkgs := make([]*archive.Package, len(set.Packages))
	auto := map[*archive.Package]bool{}
	var total int64
	for i, p := range set.Packages {
		pkgs[i] = p.Package
		auto[p.Package] = p.Auto
		total += p.Size
	}
	defer func() { done(fmt.Sprintf("%d packages, %d MB", len(pkgs), total/1e6), err) }()
	return c.Fetch(ctx, pkgs, ev, func(p *archive.Package, path string) error {
		err := u.Add(ctx, unpack.Package{Name: p.Name, Version: p.Version, Architecture: p.Architecture, Auto: auto[p]}, path)
		if err == nil {
			pr.add(p)
		}
		return err
	})
}
