//go:build linux && cgo && containers_image_openpgp && exclude_graphdriver_btrfs

package buildah

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"

	"github.com/cfbuild/cfbuild/internal/stepfiles"
	"github.com/cfbuild/cfbuild/pipelines"
	"golang.org/x/sys/unix"
)

// writeFile does a File step.
func (r root) writeFile(o pipelines.File) error {
	uid, gid, _ := stepfiles.Owner(o.Owner)
	rel, err := r.parents(o.Path, 0, 0)
	if err != nil {
		return err
	}
	st, err := r.lstat(rel)
	exists := err == nil
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return inImage(err, rel)
	}
	mode := o.Mode
	switch {
	case o.Dir:
		if mode == 0 {
			mode = 0o755
		}
		if exists && !isDir(st) {
			return fmt.Errorf("/%s: is not a directory; remove it first", rel)
		}
		if !exists {
			if err := os.Mkdir(r.join(rel), 0o755); err != nil {
				return inImage(err, rel)
			}
		}
	case exists && isDir(st):
		return fmt.Errorf("/%s: is a directory; remove it first", rel)
	default:
		if mode == 0 {
			mode = 0o644
		}
		if exists {
			if err := os.Remove(r.join(rel)); err != nil {
				return inImage(err, rel)
			}
		}
		if o.Link != "" {
			if err := os.Symlink(o.Link, r.join(rel)); err != nil {
				return inImage(err, rel)
			}
			return r.chown(rel, uid, gid)
		}
		if err := os.WriteFile(r.join(rel), o.Data, 0o600); err != nil {
			return inImage(err, rel)
		}
	}
	// The mode after the owner: chown clears setuid.
	if err := r.chown(rel, uid, gid); err != nil {
		return err
	}
	if err := unix.Chmod(r.join(rel), mode); err != nil {
		return inImage(err, rel)
	}
	return nil
}

func (r root) chown(rel string, uid, gid int) error {
	if err := os.Lchown(r.join(rel), uid, gid); err != nil {
		return chownError(err, rel, uid, gid)
	}
	return nil
}

// remove does a Remove step.
func (r root) remove(o pipelines.Remove) error {
	for _, p := range o.Paths {
		p = path.Clean("/" + p)
		dir, err := r.resolve(path.Dir(p), true)
		if err != nil {
			return err
		}
		names := []string{path.Base(p)}
		if strings.ContainsAny(names[0], `*?[\`) {
			all, err := r.names(dir)
			if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) {
				continue
			}
			if err != nil {
				return err
			}
			pattern := names[0]
			names = nil
			for _, n := range all {
				if ok, err := path.Match(pattern, n); err != nil {
					return fmt.Errorf("pattern %q: %w", p, err)
				} else if ok {
					names = append(names, n)
				}
			}
		}
		for _, n := range names {
			if err := os.RemoveAll(r.join(path.Join(dir, n))); err != nil && !errors.Is(err, unix.ENOTDIR) {
				return inImage(err, path.Join(dir, n))
			}
		}
	}
	return nil
}
