//go:build linux && cgo && containers_image_openpgp && exclude_graphdriver_btrfs

package buildah

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"sort"
	"strings"

	"golang.org/x/sys/unix"
)

// A root is a directory that is the root of an image: symbolic links in it point
// below it, however they are written.
type root string

// maxLinks bounds a chain of symbolic links, as the kernel does.
const maxLinks = 40

func (r root) join(rel string) string { return filepath.Join(string(r), rel) }

// resolve follows the symbolic links of a path's parents, and with last those of
// its last element, and gives the path below the root without a leading slash.
// What does not exist stays as it is written.
func (r root) resolve(p string, last bool) (string, error) {
	todo := strings.Split(path.Clean("/" + p)[1:], "/")
	done := ""
	links := 0
	for len(todo) > 0 {
		next := todo[0]
		todo = todo[1:]
		switch next {
		case "", ".":
			continue
		case "..":
			if done = path.Dir(done); done == "." || done == "/" {
				done = ""
			}
			continue
		}
		at := path.Join(done, next)
		if len(todo) == 0 && !last {
			return at, nil
		}
		target, err := os.Readlink(r.join(at))
		if err != nil {
			// Not a link, or not there.
			if errors.Is(err, unix.EINVAL) || errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) {
				done = at
				continue
			}
			return "", inImage(err, p)
		}
		if links++; links > maxLinks {
			return "", fmt.Errorf("%s: too many symbolic links", p)
		}
		if path.IsAbs(target) {
			done = ""
		}
		todo = append(strings.Split(target, "/"), todo...)
	}
	return done, nil
}

// inImage names the path in the image instead of the one on this machine.
func inImage(err error, p string) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		err = pe.Err
	}
	return fmt.Errorf("/%s: %w", strings.TrimPrefix(p, "/"), err)
}

func (r root) lstat(rel string) (unix.Stat_t, error) {
	var st unix.Stat_t
	err := unix.Lstat(r.join(rel), &st)
	return st, err
}

func isDir(st unix.Stat_t) bool  { return st.Mode&unix.S_IFMT == unix.S_IFDIR }
func isReg(st unix.Stat_t) bool  { return st.Mode&unix.S_IFMT == unix.S_IFREG }
func isLink(st unix.Stat_t) bool { return st.Mode&unix.S_IFMT == unix.S_IFLNK }

// mkdirs makes the directories of a resolved path that are missing, with mode
// 0755, and says which it made, the outermost first.
func (r root) mkdirs(rel string, uid, gid int) (made []string, err error) {
	at := ""
	for _, e := range strings.Split(rel, "/") {
		if e == "" || e == "." {
			continue
		}
		at = path.Join(at, e)
		st, err := r.lstat(at)
		switch {
		case err == nil && isDir(st):
			continue
		case err == nil:
			return made, fmt.Errorf("/%s: %w", at, unix.ENOTDIR)
		case !errors.Is(err, fs.ErrNotExist):
			return made, inImage(err, at)
		}
		if err := os.Mkdir(r.join(at), 0o755); err != nil {
			return made, inImage(err, at)
		}
		made = append(made, at)
		if err := os.Lchown(r.join(at), uid, gid); err != nil {
			return made, chownError(err, at, uid, gid)
		}
	}
	return made, nil
}

// parents resolves the directory of a path, makes what is missing of it, and gives
// the path with its last element as written.
func (r root) parents(p string, uid, gid int) (string, error) {
	p = path.Clean("/" + p)
	dir, err := r.resolve(path.Dir(p), true)
	if err != nil {
		return "", err
	}
	if _, err := r.mkdirs(dir, uid, gid); err != nil {
		return "", err
	}
	return path.Join(dir, path.Base(p)), nil
}

// chownError explains the one refusal that users of namespaces meet.
func chownError(err error, rel string, uid, gid int) error {
	err = fmt.Errorf("owner %d:%d of %w", uid, gid, inImage(err, rel))
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EPERM) {
		return &hinted{err, "more subordinate ids are needed; " + singleIDFix()}
	}
	return err
}

// glob gives the paths below the root that match a pattern, sorted, with links in
// their parents followed. A pattern without a wildcard matches itself alone.
func (r root) glob(pattern string) ([]string, error) {
	matches := []string{""}
	for _, e := range strings.Split(path.Clean("/" + pattern)[1:], "/") {
		if e == "" || e == "." {
			continue
		}
		var next []string
		for _, dir := range matches {
			dir, err := r.resolve(dir, true)
			if err != nil {
				return nil, err
			}
			if !strings.ContainsAny(e, `*?[\`) {
				if _, err := r.lstat(path.Join(dir, e)); err == nil {
					next = append(next, path.Join(dir, e))
				} else if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.ENOTDIR) {
					return nil, inImage(err, path.Join(dir, e))
				}
				continue
			}
			names, err := r.names(dir)
			if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.ENOTDIR) {
				return nil, err
			}
			for _, name := range names {
				ok, err := path.Match(e, name)
				if err != nil {
					return nil, fmt.Errorf("pattern %q: %w", pattern, err)
				}
				if ok {
					next = append(next, path.Join(dir, name))
				}
			}
		}
		matches = next
	}
	sort.Strings(matches)
	return slices.Compact(matches), nil
}

// names lists a directory, sorted.
func (r root) names(rel string) ([]string, error) {
	d, err := os.Open(r.join(rel))
	if err != nil {
		return nil, inImage(err, rel)
	}
	defer d.Close()
	names, err := d.Readdirnames(-1)
	if err != nil {
		return nil, inImage(err, rel)
	}
	sort.Strings(names)
	return names, nil
}
