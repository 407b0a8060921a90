package rpm

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/cfbuild/cfbuild/bootstrap"
	"github.com/cfbuild/cfbuild/bootstrap/fetch"
	"github.com/cfbuild/cfbuild/bootstrap/rootcache"
	"github.com/cfbuild/cfbuild/bootstrap/rpm/repo"
	"github.com/cfbuild/cfbuild/bootstrap/rpm/unpack"
	"github.com/cfbuild/cfbuild/internal/oci"
	"github.com/cfbuild/cfbuild/internal/rpmfile"
	"github.com/cfbuild/cfbuild/pipelines"
)

// Where things are in the first stage.
const (
	target   = "/target"
	workDir  = "/cfbuild"
	packages = workDir + "/packages"
	keysDir  = workDir + "/keys"
)

// summary is what is kept of a root.
type summary struct {
	Entries int `json:"entries"`
}

// rootKey names the first stage with the packages of a set, and gives the keys in it.
func (d *rpms) rootKey(r bootstrap.Request, platform pipelines.Platform, set selection) (string, []key, error) {
	c, err := d.client(r)
	if err != nil {
		return "", nil, err
	}
	keys, err := keysOf(c, r)
	if err != nil {
		return "", nil, err
	}
	id := struct {
		Epoch         int64
		Stage, Target []string
		Keys          []key
	}{Epoch: set.Epoch.Unix(), Keys: keys}
	for _, p := range set.Stage {
		id.Stage = append(id.Stage, p.SHA256)
	}
	for _, p := range set.Packages {
		id.Target = append(id.Target, p.String()+" "+p.SHA256)
	}
	sum, err := rootcache.Key("rpm root", version, r.Platform, platform, id)
	return sum, keys, err
}

// root gives the first stage with the packages of a set, from the cache or by
// unpacking.
func (d *rpms) root(ctx context.Context, r bootstrap.Request, platform pipelines.Platform, set selection) (bootstrap.Root, error) {
	sum, keys, err := d.rootKey(r, platform, set)
	if err != nil {
		return bootstrap.Root{}, err
	}
	c, err := d.client(r)
	if err != nil {
		return bootstrap.Root{}, err
	}
	waiting := func() {
		r.Sink("unpack").Send(pipelines.Event{Kind: pipelines.EventNote, Text: "another run is making this root; waiting for it"})
	}
	made, err := rootcache.Get(ctx, r.CacheDir, sum, waiting, func(layout *oci.Layout, tmp string) (rootcache.Image, summary, error) {
		return d.unpack(ctx, r, c, platform, set, keys, layout, tmp)
	})
	if err != nil {
		return bootstrap.Root{}, err
	}
	if made.Cached {
		r.Sink("unpack").Send(pipelines.Event{Kind: pipelines.EventCached, Name: "unpack packages"})
	}
	root := bootstrap.Root{Layout: made.Layout, Digest: made.Digest, Epoch: set.Epoch, Cached: made.Cached, Subtree: target,
		Configure: []pipelines.Run{configure(set, keys, platform != r.Platform)}}
	if platform != r.Platform {
		root.StagePlatform = platform
	}
	for _, p := range set.Packages {
		root.Packages = append(root.Packages, bootstrap.Package{Name: p.Name, Version: p.EVR, Architecture: p.Arch, SHA256: p.SHA256, Size: p.Size, Why: p.Why})
	}
	return root, nil
}

// unpack downloads the packages, checks their signatures and writes the first stage.
func (d *rpms) unpack(ctx context.Context, r bootstrap.Request, c *repo.Client, platform pipelines.Platform, set selection, keys []key, layout *oci.Layout, tmp string) (img rootcache.Image, sum summary, err error) {
	_, done := r.Begin("unpack", "unpack packages")
	defer func() {
		done(fmt.Sprintf("%d files in the first stage, %d packages", sum.Entries, len(set.Packages)), err)
	}()
	stage, err := unpack.NewStage(tmp, set.Epoch)
	if err != nil {
		return img, sum, err
	}
	defer stage.Close()
	paths, err := d.fetch(ctx, r, c, set)
	if err != nil {
		return img, sum, err
	}
	for _, p := range byLayer(set.Stage) {
		data, err := os.ReadFile(paths[p.SHA256])
		if err != nil {
			return img, sum, &fetch.CacheError{Dir: r.CacheDir, Err: err}
		}
		pkg, payload, err := verify(p, data)
		if err != nil {
			return img, sum, err
		}
		if err := stage.Add(ctx, p.String(), pkg, payload, 4*p.Installed+64<<20); err != nil {
			return img, sum, err
		}
	}
	for _, dir := range []struct {
		path string
		mode uint32
	}{{target, 0o755}, {target + "/dev", 0o755}, {target + "/proc", 0o555}, {packages, 0o755}, {keysDir, 0o755}, {"/tmp", 0o1777}, {"/var/tmp", 0o1777}, {"/run", 0o755}} {
		if err := stage.PutDir(dir.path, dir.mode); err != nil {
			return img, sum, err
		}
	}
	put := func(name string, data []byte) {
		if err == nil {
			err = stage.PutFile(name, 0o644, data)
		}
	}
	for _, k := range keys {
		put(keysDir+"/"+k.Name, k.Data)
	}
	put(workDir+"/mend.lua", []byte(mendLua))
	for _, p := range set.Packages {
		if err == nil {
			err = stage.PutLocal(packages+"/"+p.file(), paths[p.SHA256], p.Size)
		}
	}
	if err != nil {
		return img, sum, err
	}
	img, err = rootcache.WriteImage(layout, platform, set.Epoch, "cfbuild bootstrap rpm", func(w io.Writer) (err error) {
		sum.Entries, err = stage.Write(ctx, w)
		return err
	})
	return img, sum, err
}

// byLayer is the order in which packages are laid over each other: filesystem,
// whose links others lead through, first.
func byLayer(list []chosen) []chosen {
	out := slices.Clone(list)
	slices.SortStableFunc(out, func(a, b chosen) int {
		rank := func(c chosen) int {
			if c.Name == "filesystem" {
				return 0
			}
			return 1
		}
		if d := rank(a) - rank(b); d != 0 {
			return d
		}
		return strings.Compare(a.Name, b.Name)
	})
	return out
}

// fetch downloads the packages of both sets and checks the signature of each as it
// arrives. It gives their paths by hash.
func (d *rpms) fetch(ctx context.Context, r bootstrap.Request, c *repo.Client, set selection) (paths map[string]string, err error) {
	ev, done := r.Begin("download", "download packages")
	var total int64
	var list []chosen
	var files []fetch.File
	mirrors := map[*repo.Repo]*fetch.Mirrors{}
	seen := map[string]bool{}
	for _, p := range append(slices.Clone(set.Packages), set.Stage...) {
		if seen[p.SHA256] {
			continue
		}
		seen[p.SHA256] = true
		total += p.Size
		if mirrors[p.from] == nil {
			mirrors[p.from] = fetch.NewMirrors(p.from.Mirrors)
		}
		list = append(list, p)
		files = append(files, fetch.File{Mirrors: mirrors[p.from], Want: fetch.Want{What: "package " + p.String(), SHA256: p.SHA256, Size: p.Size,
			Paths: []string{p.from.Path + "/" + p.Location}}})
	}
	defer func() { done(fmt.Sprintf("%d packages, %d MB", len(files), total/1e6), err) }()
	var mu sync.Mutex
	paths = make(map[string]string, len(files))
	err = c.Client.Files(ctx, files, ev, func(i int, path string) error {
		data, err := os.ReadFile(path)
		if err != nil {
			return &fetch.CacheError{Dir: r.CacheDir, Err: err}
		}
		if _, _, err := verify(list[i], data); err != nil {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		paths[list[i].SHA256] = path
		return nil
	})
	return paths, err
}

func verify(p chosen, data []byte) (*rpmfile.Package, []byte, error) {
	return unpack.Verify(data, unpack.Expect{Name: p.Name, EVR: p.EVR, Arch: p.Arch}, p.from.Ring)
}
