package deb

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	digest "github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/cfbuild/cfbuild/bootstrap"
	"github.com/cfbuild/cfbuild/bootstrap/deb/archive"
	"github.com/cfbuild/cfbuild/bootstrap/deb/unpack"
	"github.com/cfbuild/cfbuild/internal/atomicfile"
	"github.com/cfbuild/cfbuild/internal/filelock"
	"github.com/cfbuild/cfbuild/internal/oci"
	"github.com/cfbuild/cfbuild/pipelines"
)

// A finished root is CacheDir/roots/KEY: an OCI layout in "layout" and what else
// a caller needs in "root.json". It is made in KEY.tmp under a lock on KEY.lock
// and renamed, so it is whole or not there; what a killed run left is removed by
// the next one that makes the same root.

// rootFile is root.json.
type rootFile struct {
	Digest  string         `json:"digest"`
	Layer   string         `json:"layer"`
	Size    int64          `json:"size"` // of the layer
	Summary unpack.Summary `json:"summary"`
}

// identity is what decides a layer.
type identity struct {
	Arch      string
	MergedUsr bool
	Epoch     int64
	Packages  []string
	Auto      []string
	Native    bool `json:",omitempty"` // tools, see native
}

// root gives the root of a package set, from the cache or by unpacking.
func (d *debs) root(ctx context.Context, r bootstrap.Request, set selection) (bootstrap.Root, error) {
	id := identity{Arch: set.Arch, MergedUsr: set.MergedUsr, Epoch: set.Epoch.Unix(), Native: set.Native}
	for _, p := range set.Packages {
		id.Packages = append(id.Packages, p.Package.String()+":"+p.Architecture+" "+p.SHA256)
		if p.Auto {
			id.Auto = append(id.Auto, p.Name+":"+p.Architecture)
		}
	}
	key, err := keyOf("root", r.Platform, id)
	if err != nil {
		return bootstrap.Root{}, err
	}
	dir := filepath.Join(r.CacheDir, "roots", key)
	if f, ok := readRoot(dir); ok {
		sink(r, "unpack").Send(pipelines.Event{Kind: pipelines.EventCached, Name: "unpack packages"})
		return rootOf(dir, f, set, true), nil
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return bootstrap.Root{}, err
	}
	unlock, err := filelock.Lock(ctx, dir+".lock", func() {
		sink(r, "unpack").Send(pipelines.Event{Kind: pipelines.EventNote, Text: "another run is making this root; waiting for it"})
	})
	if err != nil {
		return bootstrap.Root{}, err
	}
	defer unlock()
	if f, ok := readRoot(dir); ok {
		return rootOf(dir, f, set, true), nil
	}
	f, err := d.build(ctx, r, set, dir)
	if err != nil {
		return bootstrap.Root{}, err
	}
	return rootOf(dir, f, set, false), nil
}

// readRoot reads a finished root. The layer's size is compared, to see a cache
// that was tampered with or cut short by a full disk.
func readRoot(dir string) (rootFile, bool) {
	var f rootFile
	data, err := os.ReadFile(filepath.Join(dir, "root.json"))
	if err != nil || json.Unmarshal(data, &f) != nil {
		return f, false
	}
	l, err := oci.Open(filepath.Join(dir, "layout"))
	if err != nil {
		return f, false
	}
	st, err := os.Stat(l.BlobPath(digest.Digest(f.Layer)))
	return f, err == nil && st.Size() == f.Size
}

func rootOf(dir string, f rootFile, set selection, cached bool) bootstrap.Root {
	root := bootstrap.Root{Layout: filepath.Join(dir, "layout"), Digest: f.Digest, Epoch: set.Epoch, Cached: cached}
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
	root.Configure = []pipelines.Run{configure(f.Summary.Phases, set.Epoch, dpkg)}
	return root
}

// build makes the root beside dir and renames it.
func (d *debs) build(ctx context.Context, r bootstrap.Request, set selection, dir string) (f rootFile, err error) {
	tmp := dir + ".tmp"
	for _, old := range []string{tmp, dir} {
		if err := os.RemoveAll(old); err != nil {
			return f, err
		}
	}
	if err := os.Mkdir(tmp, 0o755); err != nil {
		return f, err
	}
	defer func() {
		if err != nil {
			os.RemoveAll(tmp)
		}
	}()
	layout, err := oci.Create(filepath.Join(tmp, "layout"))
	if err != nil {
		return f, err
	}
	layer, diff, err := d.layer(ctx, r, set, layout, tmp, &f.Summary)
	if err != nil {
		return f, err
	}
	m, err := writeImage(layout, r, set.Epoch, layer, diff)
	if err != nil {
		return f, err
	}
	f.Digest, f.Layer, f.Size = m.Digest.String(), layer.Digest.String(), layer.Size
	data, err := json.Marshal(f)
	if err != nil {
		return f, err
	}
	if err := atomicfile.Write(filepath.Join(tmp, "root.json"), data, 0o644); err != nil {
		return f, err
	}
	if err := layout.Sync(); err != nil {
		return f, err
	}
	if err := os.Rename(tmp, dir); err != nil {
		return f, err
	}
	return f, atomicfile.SyncDir(filepath.Dir(dir))
}

// layer downloads and unpacks the packages into one layer blob.
func (d *debs) layer(ctx context.Context, r bootstrap.Request, set selection, layout *oci.Layout, spool string, sum *unpack.Summary) (desc v1.Descriptor, diff digest.Digest, err error) {
	ev, done := stage(r, "unpack", "unpack packages")
	defer func() { done(fmt.Sprintf("%d files, %d MB", sum.Entries, sum.Size/1e6), err) }()
	c, err := d.client(r)
	if err != nil {
		return desc, "", err
	}
	u, err := unpack.New(unpack.Options{Arch: set.Arch, MergedUsr: set.MergedUsr, Epoch: set.Epoch,
		Workers: d.o.Workers, SpoolDir: spool})
	if err != nil {
		return desc, "", err
	}
	defer u.Close()
	progress := newProgress(ev, set)
	if err := d.fetch(ctx, r, c, set, u, progress); err != nil {
		return desc, "", err
	}

	blob, err := layout.NewBlob()
	if err != nil {
		return desc, "", err
	}
	defer blob.Abort()
	z, h := oci.NewGzipWriter(blob), sha256.New()
	w := bufio.NewWriterSize(io.MultiWriter(h, z), 256<<10)
	if set.Native {
		in, wait := nativeTools(set.Arch, w)
		*sum, err = u.Finish(ctx, in, progress.write)
		in.CloseWithError(err)
		if err2 := wait(); err == nil || errors.Is(err2, errNoRoom) {
			err = err2
		}
	} else {
		*sum, err = u.Finish(ctx, w, progress.write)
	}
	if err == nil {
		err = w.Flush()
	}
	if err2 := z.Close(); err == nil {
		err = err2
	}
	if err != nil {
		return desc, "", err
	}
	dg, size, err := blob.Commit()
	return v1.Descriptor{MediaType: v1.MediaTypeImageLayerGzip, Digest: dg, Size: size},
		digest.NewDigest(digest.SHA256, h), err
}

// fetch downloads the packages and unpacks each as it arrives.
func (d *debs) fetch(ctx context.Context, r bootstrap.Request, c *archive.Client, set selection, u *unpack.Unpacker, pr *progress) (err error) {
	ev, done := stage(r, "download", "download packages")
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

// writeImage writes the configuration, the manifest and the index.
func writeImage(layout *oci.Layout, r bootstrap.Request, epoch time.Time, layer v1.Descriptor, diff digest.Digest) (v1.Descriptor, error) {
	platform := oci.ToPlatform(r.Platform)
	config, err := layout.PutJSON(v1.MediaTypeImageConfig, v1.Image{
		Created:  &epoch,
		Platform: platform,
		Config:   v1.ImageConfig{Env: []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}},
		RootFS:   v1.RootFS{Type: "layers", DiffIDs: []digest.Digest{diff}},
		// The same packages make the same root, whichever request named them.
		History: []v1.History{{Created: &epoch, CreatedBy: "cfbuild bootstrap deb"}},
	})
	if err != nil {
		return v1.Descriptor{}, err
	}
	m := v1.Manifest{MediaType: v1.MediaTypeImageManifest, Config: config, Layers: []v1.Descriptor{layer}}
	m.SchemaVersion = 2
	desc, err := layout.PutJSON(v1.MediaTypeImageManifest, m)
	if err != nil {
		return v1.Descriptor{}, err
	}
	desc.Platform = &platform
	idx := v1.Index{MediaType: v1.MediaTypeImageIndex, Manifests: []v1.Descriptor{desc}}
	idx.SchemaVersion = 2
	return desc, layout.SetIndex(idx)
}
