package engine

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"

	"github.com/cfbuild/cfbuild/pipelines"
)

// pinLocal fills in the content hash of a local directory: names, kinds,
// permission bits, links and contents, not owners and times, as COPY sees them.
// Times are left out also for the epoch: two checkouts of one commit differ in them.
func pinLocal(n pipelines.Node, o pipelines.Local) ([]pipelines.Op, error) {
	root, err := filepath.Abs(o.Path)
	if err != nil {
		return nil, err
	}
	o.Path = root
	if o.Digest != "" {
		return []pipelines.Op{o}, nil
	}
	h := sha256.New()
	err = filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(root, name)
		if rel != "." && !selected(rel, o) {
			if d.IsDir() && matches(rel, o.Exclude) {
				return fs.SkipDir
			}
			return nil
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		return hashEntry(h, name, rel, info)
	})
	if err != nil {
		return nil, &pipelines.InvalidError{Where: n.Where, What: "local " + root, Cause: err.Error(),
			Fix: "name a directory of this machine that can be read"}
	}
	o.Digest = "sha256:" + hex.EncodeToString(h.Sum(nil))
	return []pipelines.Op{o}, nil
}

func hashEntry(h io.Writer, name, rel string, info fs.FileInfo) error {
	fmt.Fprintf(h, "%q %v ", rel, info.Mode())
	switch {
	case info.Mode()&fs.ModeSymlink != 0:
		to, err := os.Readlink(name)
		if err != nil {
			return err
		}
		fmt.Fprintf(h, "%q\n", to)
	case info.Mode().IsRegular():
		f, err := os.Open(name)
		if err != nil {
			return err
		}
		defer f.Close()
		fmt.Fprintf(h, "%d\n", info.Size())
		if _, err := io.Copy(h, f); err != nil {
			return err
		}
	default:
		fmt.Fprintln(h)
	}
	return nil
}

// selected applies Include and Exclude.
func selected(rel string, o pipelines.Local) bool {
	return (len(o.Include) == 0 || matches(rel, o.Include)) && !matches(rel, o.Exclude)
}

// matches tries the patterns on a path and its parents.
func matches(rel string, patterns []string) bool {
	for _, p := range patterns {
		for q := filepath.ToSlash(rel); q != "."; q = path.Dir(q) {
			if ok, _ := path.Match(p, q); ok {
				return true
			}
		}
	}
	return false
}
