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
	"path/filepath"
	"strings"

	"github.com/cfbuild/cfbuild/pipelines"
	"golang.org/x/sys/unix"
)

// localDir is a directory of this machine and what of it counts.
type localDir struct {
	root             root
	include, exclude []string
}

func readLocal(o pipelines.Local) (*localDir, error) {
	p, err := filepath.Abs(o.Path)
	if err != nil {
		return nil, err
	}
	fi, err := os.Stat(p)
	if err != nil {
		return nil, fmt.Errorf("local directory: %w", err)
	}
	if !fi.IsDir() {
		return nil, fmt.Errorf("local directory %s: is not a directory", p)
	}
	return &localDir{root: root(p), include: o.Include, exclude: o.Exclude}, nil
}

// matches: a pattern fits the path or one of its parents.
func matches(patterns []string, rel string) bool {
	for at := rel; at != "." && at != "/" && at != ""; at = path.Dir(at) {
		for _, p := range patterns {
			if ok, err := path.Match(strings.TrimPrefix(path.Clean("/"+p), "/"), at); err == nil && ok {
				return true
			}
		}
	}
	return false
}

// wanted: a path counts. A directory that does not count itself is still walked:
// something below it may.
func (d *localDir) wanted(rel string) bool {
	if rel == "" || rel == "." {
		return len(d.include) == 0
	}
	return (len(d.include) == 0 || matches(d.include, rel)) && !matches(d.exclude, rel)
}

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
