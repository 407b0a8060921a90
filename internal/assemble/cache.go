package assemble

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/cfbuild/cfbuild/internal/atomicfile"
	"github.com/cfbuild/cfbuild/internal/filelock"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// cache is the directory that builds share:
//
//	blobs     finished layers, an OCI layout
//	meta      raw layer, what is below it and epoch → finished layer
//	items     what is in a layer, without contents
//	use.lock  shared while it is used; pruning wants it alone
//
// Everything in it can be deleted while no build is on. What is broken is made again.
type cache struct {
	dir    string
	blobs  Blobs
	unlock func()
}

const lockName = "use.lock"

func openCache(ctx context.Context, dir string) (*cache, error) {
	if dir == "" {
		return nil, errors.New("no directory was given")
	}
	for _, d := range []string{"meta", "items"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o700); err != nil {
			return nil, err
		}
	}
	unlock, err := filelock.Share(ctx, filepath.Join(dir, lockName), nil)
	if err != nil {
		return nil, err
	}
	blobs, err := OpenBlobs(filepath.Join(dir, "blobs"), filepath.Join(dir, "meta"))
	if err != nil {
		unlock()
		return nil, err
	}
	return &cache{dir, blobs, unlock}, nil
}

func (c *cache) close() { c.unlock() }

// used notes that a file was of use. A file system that refuses costs a layer when
// pruning, not a build.
func used(path string) {
	now := time.Now() // archtest: allow it only orders what prune removes
	_ = os.Chtimes(path, now, now)
}

func (c *cache) hasItems(s source) bool {
	p := itemsPath(c.dir, s.diff, s.desc.Digest)
	if _, err := os.Stat(p); err != nil {
		return false
	}
	used(p)
	return true
}

func (c *cache) items(s source) ([]item, bool) {
	p := itemsPath(c.dir, s.diff, s.desc.Digest)
	items, ok := keptItems(p)
	if ok {
		used(p)
	}
	return items, ok
}

func (c *cache) keepItems(s source) error {
	return keepItems(itemsPath(c.dir, s.diff, s.desc.Digest), s.items)
}

func (c *cache) layer(key string) (Layer, bool) {
	p := filepath.Join(c.dir, "meta", key)
	var l Layer
	if !atomicfile.ReadJSON(p, &l) || (!l.Empty && (l.DiffID.Validate() != nil || !c.blobs.Has(l.Digest, l.Size))) {
		return Layer{}, false
	}
	used(p)
	return l, true
}

// keepLayer notes a layer once its blob is on disk: only its size is looked at later.
func (c *cache) keepLayer(key string, l Layer) error {
	if !l.Empty {
		f, err := os.Open(c.blobs.BlobPath(l.Digest))
		if err != nil {
			return err
		}
		err = f.Sync()
		f.Close()
		if err != nil {
			return err
		}
	}
	return atomicfile.WriteJSON(filepath.Join(c.dir, "meta", key), l)
}

// Prune removes from a cache of [Write] what no build has used for longer than unused,
// and gives the bytes that are free now. It waits until no build uses the cache. A
// directory that is no cache, or none, is left alone.
func Prune(ctx context.Context, dir string, unused time.Duration) (freed int64, err error) {
	if _, err := os.Stat(filepath.Join(dir, lockName)); errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	unlock, err := filelock.Lock(ctx, filepath.Join(dir, lockName), nil)
	if err != nil {
		return 0, err
	}
	defer unlock()
	now := time.Now() // archtest: allow how long something was not used is a matter of the clock
	p := &pruning{}
	needed := map[string]bool{}
	p.files(filepath.Join(dir, "items"), func(fi fs.FileInfo) bool { return now.Sub(fi.ModTime()) > unused })
	p.files(filepath.Join(dir, "meta"), func(fi fs.FileInfo) bool {
		var l Layer
		if now.Sub(fi.ModTime()) > unused || !atomicfile.ReadJSON(filepath.Join(dir, "meta", fi.Name()), &l) {
			return true
		}
		needed[l.Digest.String()] = true
		return false
	})
	p.files(filepath.Join(dir, "blobs", v1.ImageBlobsDir, "sha256"), func(fi fs.FileInfo) bool { return !needed["sha256:"+fi.Name()] })
	p.files(dir, func(fi fs.FileInfo) bool { return strings.HasPrefix(fi.Name(), spoolPrefix) })
	return p.freed, errors.Join(p.errs...)
}

type pruning struct {
	freed int64
	errs  []error
}

// files removes the files of a directory that go, and what killed processes were
// writing.
func (p *pruning) files(dir string, goes func(fs.FileInfo) bool) {
	es, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		p.errs = append(p.errs, err)
	}
	for _, e := range es {
		fi, err := e.Info()
		if err != nil || !fi.Mode().IsRegular() || (!strings.HasPrefix(e.Name(), ".tmp-") && !goes(fi)) {
			continue
		}
		if err := os.Remove(filepath.Join(dir, e.Name())); err != nil {
			p.errs = append(p.errs, err)
			continue
		}
		p.freed += fi.Size()
	}
}
