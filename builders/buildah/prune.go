//go:build linux && cgo && containers_image_openpgp && exclude_graphdriver_btrfs

package buildah

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/cfbuild/cfbuild/internal/atomicfile"
	"github.com/cfbuild/cfbuild/internal/imagepull"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"
)

// size adds up what is on disk: each file once, however many names it has.
func size(dir string) (Usage, error) {
	var u Usage
	seen := map[inode]bool{}
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
				return nil // gone meanwhile, or another user namespace's
			}
			return err
		}
		fi, err := d.Info()
		if err != nil {
			return nil
		}
		st, ok := fi.Sys().(*syscall.Stat_t)
		if !ok || (st.Nlink > 1 && !fi.IsDir() && seen[inode{uint64(st.Dev), st.Ino}]) {
			return nil
		}
		seen[inode{uint64(st.Dev), st.Ino}] = true
		u.Bytes += st.Blocks * 512
		return nil
	})
	layers, lerr := filepath.Glob(filepath.Join(dir, "index", "*", "*"))
	u.Layers = len(layers)
	return u, errors.Join(err, lerr)
}

// prune removes what no build has used for long, then what has not been used for
// longest until no more than max bytes are left.
func (c *child) prune(ctx context.Context, unused time.Duration, max int64) (Usage, error) {
	st, err := openStore(ctx, c.opt)
	if err != nil {
		return Usage{}, err
	}
	defer st.close()
	// Alone: no build may be using what goes.
	st.use.unlock()
	if st.use, err = lock(ctx, filepath.Join(st.dir, "use.lock"), unix.LOCK_EX, nil); err != nil {
		return Usage{}, err
	}
	before, err := size(st.dir)
	if err != nil {
		return Usage{}, err
	}
	now := time.Now() // archtest: allow how long something was not used is a matter of the clock
	old := func(t time.Time) bool { return now.Sub(t) > unused }
	if err := st.pruneOthers(old); err != nil {
		return Usage{}, err
	}
	if err := st.pruneIndex(ctx, old); err != nil {
		return Usage{}, err
	}
	if err := st.pruneFiles(old); err != nil {
		return Usage{}, err
	}
	after, err := size(st.dir)
	for max >= 0 && err == nil && after.Bytes > max {
		// Everything older than the median goes, until it fits or nothing is left.
		var cut time.Time
		if cut, err = st.median(); err != nil || cut.IsZero() {
			break
		}
		older := func(t time.Time) bool { return !t.After(cut) }
		if err = errors.Join(st.pruneIndex(ctx, older), st.pruneFiles(older)); err != nil {
			break
		}
		after, err = size(st.dir)
	}
	after.Removed = before.Bytes - after.Bytes
	return after, err
}

// pruneOthers removes all that a driver no longer in use has left, once nothing of it
// is young.
func (st *store) pruneOthers(old func(time.Time) bool) error {
	for _, driver := range []string{driverOverlay, driverFuse, driverVFS} {
		if driver == st.driver {
			continue
		}
		young := false
		es, err := os.ReadDir(filepath.Join(st.dir, "index", driver))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		for _, e := range es {
			fi, err := e.Info()
			young = young || (err == nil && !old(fi.ModTime()))
		}
		if young {
			continue
		}
		for _, d := range []string{"index", "wip", "storage"} {
			if err := os.RemoveAll(filepath.Join(st.dir, d, driver)); err != nil {
				return err
			}
		}
	}
	return nil
}

// aged are the files by whose time stamps prune goes.
func (st *store) aged() ([]fs.FileInfo, error) {
	var out []fs.FileInfo
	for _, dir := range []string{filepath.Dir(st.indexPath("x")), filepath.Join(st.dir, "meta"), filepath.Join(st.dir, "cache")} {
		es, err := os.ReadDir(dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		for _, e := range es {
			if fi, err := e.Info(); err == nil {
				out = append(out, fi)
			}
		}
	}
	return out, nil
}

func (st *store) median() (time.Time, error) {
	fis, err := st.aged()
	if err != nil || len(fis) == 0 {
		return time.Time{}, err
	}
	slices.SortFunc(fis, func(a, b fs.FileInfo) int { return a.ModTime().Compare(b.ModTime()) })
	return fis[len(fis)/2].ModTime(), nil
}

// pruneIndex removes old records, and then the layers that no record and no other
// layer needs.
func (st *store) pruneIndex(ctx context.Context, old func(time.Time) bool) error {
	layers, err := st.layers()
	if err != nil {
		return err
	}
	dir := filepath.Dir(st.indexPath("x"))
	es, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	needed := map[string]bool{}
	for _, e := range es {
		fi, err := e.Info()
		if err != nil {
			continue
		}
		var r record
		path := filepath.Join(dir, e.Name())
		if strings.Contains(e.Name(), ".tmp-") || old(fi.ModTime()) || !atomicfile.ReadJSON(path, &r) || (r.Layer != "" && !layers.Exists(r.Layer)) {
			if err := removeIfThere(path); err != nil {
				return err
			}
			continue
		}
		ids, err := st.chain(r.Layer)
		if err != nil {
			return err
		}
		for _, id := range ids {
			needed[id] = true
		}
	}
	// What the storage was trying out when it was killed.
	for _, name := range []string{"compat", "metacopy-check", "opaque-bug-check", "d_type-false-test"} {
		left, err := filepath.Glob(filepath.Join(st.opts.GraphRoot, "overlay", name+"*"))
		if err != nil {
			return err
		}
		for _, p := range left {
			if err := os.RemoveAll(p); err != nil {
				return err
			}
		}
	}
	// Kept failures go with the rest of what is not needed.
	if err := os.RemoveAll(st.wipDir()); err != nil {
		return err
	}
	if err := os.MkdirAll(st.wipDir(), 0o700); err != nil {
		return err
	}
	for {
		all, err := layers.Layers()
		if err != nil {
			return err
		}
		parents := map[string]bool{}
		for _, l := range all {
			parents[l.Parent] = true
		}
		removed := false
		for _, l := range all {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			if needed[l.ID] || parents[l.ID] {
				continue
			}
			if err := layers.DeleteLayer(l.ID); err != nil {
				return err
			}
			removed = true
		}
		if !removed {
			return nil
		}
	}
}

// pruneFiles removes old blobs with what leads to them, caches and locks.
func (st *store) pruneFiles(old func(time.Time) bool) error {
	for _, dir := range []string{"meta", "cache", "locks"} {
		es, err := os.ReadDir(filepath.Join(st.dir, dir))
		if err != nil {
			return err
		}
		for _, e := range es {
			fi, err := e.Info()
			if err != nil || (dir != "locks" && !old(fi.ModTime())) {
				continue
			}
			if err := os.RemoveAll(filepath.Join(st.dir, dir, e.Name())); err != nil {
				return err
			}
		}
	}
	// A blob that nothing leads to any more is found by its digest in no file.
	var needed strings.Builder
	es, err := os.ReadDir(filepath.Join(st.dir, "meta"))
	if err != nil {
		return err
	}
	l, err := st.blobs()
	if err != nil {
		return err
	}
	for _, e := range es {
		b, err := os.ReadFile(filepath.Join(st.dir, "meta", e.Name()))
		if err != nil {
			return err
		}
		needed.Write(b)
		var p imagepull.Record
		var m v1.Manifest
		if strings.HasPrefix(e.Name(), imagepull.Prefix) && atomicfile.ReadJSON(filepath.Join(st.dir, "meta", e.Name()), &p) && l.ReadJSON(p.Manifest, &m) == nil {
			needed.WriteString(m.Config.Digest.String())
			for _, d := range m.Layers {
				needed.WriteString(d.Digest.String())
			}
		}
	}
	all := needed.String()
	blobDir := filepath.Dir(l.BlobPath("sha256:0"))
	es, err = os.ReadDir(blobDir)
	if err != nil {
		return err
	}
	for _, e := range es {
		if !strings.Contains(all, e.Name()) {
			if err := removeIfThere(filepath.Join(blobDir, e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}
