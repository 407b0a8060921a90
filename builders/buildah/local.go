//go:build linux && cgo && containers_image_openpgp && exclude_graphdriver_btrfs

package buildah

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"

	"github.com/cfbuild/cfbuild/internal/stepfiles"
	"github.com/cfbuild/cfbuild/pipelines"
	"golang.org/x/sys/unix"
)

// localDir is a directory of this machine and what of it counts.
type localDir struct {
	root   root
	filter stepfiles.Filter
}

func readLocal(o pipelines.Local) (*localDir, error) {
	p, err := stepfiles.LocalRoot(o)
	return &localDir{root: root(p), filter: stepfiles.Filter{Include: o.Include, Exclude: o.Exclude}}, err
}

// wanted: a path counts.
func (d *localDir) wanted(rel string) bool { return d.filter.Wanted(rel) }

// digest hashes what a Copy of these sources would copy: names, types, modes,
// links and content. Owners and times are not copied and do not count.
func (d *localDir) digest(srcs []string) (string, error) {
	h := sha256.New()
	for _, src := range srcs {
		found, err := d.root.glob(src)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(h, "source %q\n", src)
		for _, rel := range found {
			name := path.Base(rel)
			if rel, err = d.root.resolve(rel, true); err != nil {
				return "", err
			}
			fmt.Fprintf(h, "match %q\n", name)
			if err := d.hash(h, rel, ""); err != nil {
				return "", err
			}
		}
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

func (d *localDir) hash(h io.Writer, rel, as string) error {
	st, err := d.root.lstat(rel)
	if err != nil {
		return d.local(err)
	}
	if isDir(st) {
		if d.wanted(rel) {
			fmt.Fprintf(h, "dir %q %o\n", as, st.Mode&0o7777)
		}
		names, err := d.root.names(rel)
		if err != nil {
			return d.local(err)
		}
		for _, n := range names {
			if err := d.hash(h, path.Join(rel, n), path.Join(as, n)); err != nil {
				return err
			}
		}
		return nil
	}
	if !d.wanted(rel) {
		return nil
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFLNK:
		target, err := os.Readlink(d.root.join(rel))
		if err != nil {
			return err
		}
		fmt.Fprintf(h, "link %q %q\n", as, target)
	case unix.S_IFREG:
		fmt.Fprintf(h, "file %q %o %d\n", as, st.Mode&0o7777, st.Size)
		f, err := os.Open(d.root.join(rel))
		if err != nil {
			return err
		}
		defer f.Close()
		if _, err := io.Copy(h, f); err != nil {
			return err
		}
	default:
		fmt.Fprintf(h, "other %q %o\n", as, st.Mode)
	}
	return nil
}

// local puts the directory's own path into an error.
func (d *localDir) local(err error) error {
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("local directory %s: %w", d.root, err)
	}
	return err
}
