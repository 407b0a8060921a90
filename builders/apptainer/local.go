package apptainer

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"

	"github.com/cfbuild/cfbuild/pipelines"
)

// local copies what a Local directory selects to where Apptainer can see it.
func (x *build) local(n pipelines.Node, o pipelines.Local) (string, error) {
	x.sources++
	name := fmt.Sprintf("source%d", x.sources)
	to := x.work.path(name)
	err := filepath.WalkDir(o.Path, func(from string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(o.Path, from)
		if err != nil {
			return err
		}
		if rel != "." {
			if matches(rel, o.Exclude) {
				if d.IsDir() {
					return fs.SkipDir
				}
				return nil
			}
			if len(o.Include) > 0 && !matches(rel, o.Include) {
				return nil
			}
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		return copyEntry(from, filepath.Join(to, rel), info)
	})
	if err != nil {
		return "", &pipelines.InvalidError{Where: n.Where, What: "local " + o.Path, Cause: err.Error(), Fix: "name a directory of this machine that can be read"}
	}
	return "./" + name, nil // host scripts run in the workplace
}

// matches tries patterns on a path and its parents.
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

func copyEntry(from, to string, info fs.FileInfo) error {
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	switch {
	case info.IsDir():
		if err := os.MkdirAll(to, 0o755); err != nil {
			return err
		}
		return os.Chmod(to, info.Mode().Perm()|0o700)
	case info.Mode()&fs.ModeSymlink != 0:
		target, err := os.Readlink(from)
		if err != nil {
			return err
		}
		return os.Symlink(target, to)
	case info.Mode().IsRegular():
		in, err := os.Open(from)
		if err != nil {
			return err
		}
		defer in.Close()
		out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
		if err != nil {
			return err
		}
		_, err = io.Copy(out, in)
		if cerr := out.Close(); err == nil {
			err = cerr
		}
		if err == nil {
			err = os.Chmod(to, info.Mode()) // setuid and the like too
		}
		if err == nil {
			err = os.Chtimes(to, info.ModTime(), info.ModTime())
		}
		return err
	}
	return fmt.Errorf("%s: is neither a file, a directory nor a link", from)
}

// linkOrCopy gives a file another name, on another file system a copy.
func linkOrCopy(from, to string) error {
	if err := os.Link(from, to); err == nil {
		return nil
	}
	info, err := os.Stat(from)
	if err != nil {
		return err
	}
	return copyEntry(from, to, info)
}
