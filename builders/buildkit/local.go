//go:build !no_buildkit && linux && containers_image_openpgp

package buildkit

import (
	"archive/tar"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/cfbuild/cfbuild/internal/stepfiles"
	"github.com/cfbuild/cfbuild/pipelines"
	rootfs "github.com/containerd/continuity/fs"
)

// localDir is a directory of this machine and what of it counts.
type localDir struct {
	root   string
	filter stepfiles.Filter
}

func readLocal(o pipelines.Local) (*localDir, error) {
	p, err := stepfiles.LocalRoot(o)
	return &localDir{root: p, filter: stepfiles.Filter{Include: o.Include, Exclude: o.Exclude}}, err
}

// wanted: a path counts.
func (d *localDir) wanted(rel string) bool { return d.filter.Wanted(rel) }

// resolve follows links within the directory and gives the path below it.
func (d *localDir) resolve(rel string) (string, error) {
	p, err := rootfs.RootPath(d.root, rel)
	if err != nil {
		return "", d.local(err)
	}
	return strings.TrimPrefix(strings.TrimPrefix(p, d.root), "/"), nil
}

// found is one thing that a source of a Copy names.
type found struct {
	name string // as it was written
	at   string // with links followed
	dir  bool
}

// find gives what a pattern names, sorted, with links followed.
func (d *localDir) find(pattern string) ([]found, error) {
	rels := []string{""}
	for _, e := range strings.Split(path.Clean("/" + pattern)[1:], "/") {
		if e == "" {
			continue
		}
		var next []string
		for _, dir := range rels {
			dir, err := d.resolve(dir)
			if err != nil {
				return nil, err
			}
			names := []string{e}
			if hasWildcard(e) {
				if names, err = d.list(dir, e); err != nil {
					return nil, err
				}
			}
			for _, n := range names {
				_, err := os.Lstat(filepath.Join(d.root, dir, n))
				if err == nil {
					next = append(next, path.Join(dir, n))
				} else if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ENOTDIR) {
					return nil, d.local(err)
				}
			}
		}
		rels = next
	}
	slices.Sort(rels)
	var out []found
	for _, rel := range slices.Compact(rels) {
		at, err := d.resolve(rel)
		if err != nil {
			return nil, err
		}
		fi, err := os.Lstat(filepath.Join(d.root, at))
		if err != nil {
			return nil, d.local(err)
		}
		out = append(out, found{name: path.Base("/" + rel), at: at, dir: fi.IsDir()})
	}
	return out, nil
}

func hasWildcard(s string) bool { return strings.ContainsAny(s, `*?[\`) }

// list gives the names in a directory that match, none where it is no directory.
func (d *localDir) list(dir, pattern string) ([]string, error) {
	all, err := os.ReadDir(filepath.Join(d.root, dir))
	if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ENOTDIR) {
		return nil, d.local(err)
	}
	var out []string
	for _, e := range all {
		ok, err := path.Match(pattern, e.Name())
		if err != nil {
			return nil, fmt.Errorf("pattern %q: %w", pattern, err)
		}
		if ok {
			out = append(out, e.Name())
		}
	}
	return out, nil
}

// copying says what copies get: a directory of this machine passes on its modes
// alone, for its owners and times are accidents.
type copying struct {
	uid, gid int
	mode     int64 // of files; 0: their own
}

// tree packs a directory. Nil: nothing of it counts.
func (d *localDir) tree(rel string, c copying) (*item, error) {
	fi, err := os.Lstat(filepath.Join(d.root, rel))
	if err != nil {
		return nil, d.local(err)
	}
	// Where only what is below is wanted the directory is made for that.
	out := newDir(0o755, c.uid, c.gid)
	self := rel == "" || d.wanted(rel)
	if self {
		out.mode = unixMode(fi.Mode())
	}
	all, err := os.ReadDir(filepath.Join(d.root, rel))
	if err != nil {
		return nil, d.local(err)
	}
	for _, e := range all {
		at := path.Join(rel, e.Name())
		var child *item
		if e.IsDir() {
			child, err = d.tree(at, c)
		} else if d.wanted(at) {
			child, err = d.entry(at, c)
		}
		if err != nil {
			return nil, err
		}
		if child != nil {
			out.add(e.Name(), child)
		}
	}
	if !self && len(out.below) == 0 {
		return nil, nil
	}
	return out, nil
}

// entry packs what is not a directory.
func (d *localDir) entry(rel string, c copying) (*item, error) {
	p := filepath.Join(d.root, rel)
	fi, err := os.Lstat(p)
	if err != nil {
		return nil, d.local(err)
	}
	out := &item{uid: c.uid, gid: c.gid, kind: tar.TypeReg, mode: unixMode(fi.Mode()), file: p, size: fi.Size()}
	switch {
	case fi.Mode().IsRegular():
		if c.mode != 0 {
			out.mode = c.mode
		}
	case fi.Mode()&fs.ModeSymlink != 0:
		out.kind, out.mode, out.file, out.size = tar.TypeSymlink, 0o777, "", 0
		if out.link, err = os.Readlink(p); err != nil {
			return nil, err
		}
	case fi.Mode()&fs.ModeSocket != 0:
		return nil, nil // a socket is no content
	default:
		return nil, fmt.Errorf("%s: is neither a file, a directory nor a link", p)
	}
	return out, nil
}

// local puts the directory's own path into an error.
func (d *localDir) local(err error) error {
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("local directory %s: %w", d.root, err)
	}
	return err
}

// unixMode is a mode as headers of archives have it.
func unixMode(m fs.FileMode) int64 { return int64(stepfiles.UnixMode(m)) }
