package cache

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// Options of [Prune].
type Options struct {
	// Before: what was not used since then goes.
	Before time.Time
	Now    time.Time
	// DryRun removes nothing and says what would go.
	DryRun bool
}

// Freed is what pruning one part gave.
type Freed struct {
	Name  string `json:"name"`
	Bytes int64  `json:"bytes"`
	Items int    `json:"items"`
	// Skipped says why the part was left alone.
	Skipped string `json:"skipped,omitempty"`
}

// ErrUntold is given by a part that cannot say beforehand what would go.
var ErrUntold = errors.New("cannot be told beforehand")

// Part is a part of the state directory that prunes itself.
type Part struct {
	Name  string
	Prune func(ctx context.Context, o Options) (bytes int64, items int, err error)
}

// Prune removes what was not used since o.Before. Finished artifacts go one by
// one, each under its lock. Everything else has no locks of its own, and is left
// alone while a run is on; runs that start meanwhile wait.
func Prune(ctx context.Context, stateDir string, parts []Part, o Options) ([]Freed, error) {
	if !exists(stateDir) {
		return nil, nil
	}
	gate, err := open(filepath.Join(stateDir, "gate.lock"))
	if err != nil {
		return nil, err
	}
	defer gate.Close()
	if err := wait(ctx, gate, syscall.LOCK_EX, nil); err != nil {
		return nil, err
	}
	n, oldest, err := live(stateDir)
	if err != nil {
		return nil, err
	}
	if n > 0 && oldest.Before(o.Before) {
		o.Before = oldest // an artifact carries the start of the run that used it last
	}
	artifacts, err := artifacts(ctx, filepath.Join(stateDir, "artifacts"), o)
	out := []Freed{artifacts}
	if err != nil {
		return out, err
	}
	parts = append([]Part{{"bootstrap", tree(filepath.Join(stateDir, "bootstrap"))}, {"tests", tree(filepath.Join(stateDir, "tests"))}, {"tmp", func(ctx context.Context, o Options) (int64, int, error) {
		o.Before = o.Now // no run is on: what is there was left behind
		return tree(filepath.Join(stateDir, "tmp"))(ctx, o)
	}}}, parts...)
	for _, p := range parts {
		f := Freed{Name: p.Name}
		if n > 0 {
			f.Skipped = fmt.Sprintf("in use by %d run(s), the oldest since %s", n, oldest.Format(time.DateTime))
		} else if f.Bytes, f.Items, err = p.Prune(ctx, o); errors.Is(err, ErrUntold) {
			f.Skipped, err = "what would go cannot be told beforehand", nil
		} else if err != nil {
			return append(out, f), fmt.Errorf("%s: %w", p.Name, err)
		}
		out = append(out, f)
	}
	return out, nil
}

// artifacts removes KEY, KEY.part and KEY.lock under KEY.lock, which the engine
// holds while it builds or finds KEY.
func artifacts(ctx context.Context, dir string, o Options) (Freed, error) {
	f := Freed{Name: "artifacts"}
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return f, nil
	}
	if err != nil {
		return f, err
	}
	for _, e := range entries {
		if err := ctx.Err(); err != nil {
			return f, err
		}
		if !e.IsDir() {
			continue
		}
		n, err := artifact(filepath.Join(dir, e.Name()), o)
		if err != nil {
			return f, err
		}
		if n >= 0 {
			f.Bytes += n
			f.Items++
		}
	}
	return f, nil
}

// artifact removes one directory; -1: it stays.
func artifact(path string, o Options) (int64, error) {
	lock, err := open(strings.TrimSuffix(path, ".part") + ".lock")
	if err != nil {
		return -1, err
	}
	defer lock.Close()
	if err := flock(lock, syscall.LOCK_EX); err != nil {
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return -1, nil // being built
		}
		return -1, err
	}
	info, err := os.Lstat(path) // again: a run may have used it just now
	if err != nil || !info.ModTime().Before(o.Before) {
		return -1, nil
	}
	n := removable(path)
	if o.DryRun {
		return n, nil
	}
	return n, remove(path)
}

// remove takes a tree away in one step, as others see it, and then for good.
func remove(path string) error {
	trash, err := os.MkdirTemp(filepath.Dir(path), ".trash-")
	if err != nil {
		return err
	}
	if err := os.Rename(path, filepath.Join(trash, "x")); err != nil {
		os.Remove(trash)
		return err
	}
	return os.RemoveAll(trash)
}

// tree prunes a directory of files and OCI layouts. A layout goes whole, and with
// it a directory that holds one as "layout" besides what describes it.
func tree(dir string) func(context.Context, Options) (int64, int, error) {
	return func(ctx context.Context, o Options) (bytes int64, items int, err error) {
		take := func(path string) error {
			bytes += removable(path)
			items++
			if o.DryRun {
				return nil
			}
			return remove(path)
		}
		err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			if err != nil {
				return err
			}
			if err := ctx.Err(); err != nil {
				return err
			}
			switch {
			case d.IsDir() && strings.HasPrefix(d.Name(), ".trash-"):
				if err := take(path); err != nil {
					return err
				}
				return fs.SkipDir
			case d.IsDir() && (exists(filepath.Join(path, "oci-layout")) || exists(filepath.Join(path, "layout", "oci-layout"))):
				if !newest(path).Before(o.Before) {
					return fs.SkipDir
				}
				if err := take(path); err != nil {
					return err
				}
				return fs.SkipDir
			case d.IsDir():
				return nil
			}
			info, err := d.Info()
			if err != nil || !lastUse(info).Before(o.Before) {
				return nil
			}
			return take(path)
		})
		return bytes, items, err
	}
}

// newest use of anything in a tree.
func newest(dir string) time.Time {
	var t time.Time
	_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil
		}
		if info, err := d.Info(); err == nil {
			if u := lastUse(info); !d.IsDir() && u.After(t) {
				t = u
			}
		}
		return nil
	})
	return t
}
