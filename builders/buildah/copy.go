//go:build linux && cgo && containers_image_openpgp && exclude_graphdriver_btrfs

package buildah

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

	"github.com/cfbuild/cfbuild/internal/stepfiles"
	"github.com/cfbuild/cfbuild/pipelines"
	"golang.org/x/sys/unix"
)

// copying does one Copy step.
type copying struct {
	from, to root
	local    *localDir // from is this directory, not an image
	owned    bool      // uid and gid are asked for
	uid, gid int
	mode     fs.FileMode
	inodes   map[inode]string // copied files with several names
	buf      []byte
}

type inode struct{ dev, ino uint64 }

// copyStep copies as BuildKit's COPY does: what a directory holds and not the
// directory, links named as a source are followed, links below are copied.
func copyStep(from, to root, local *localDir, o pipelines.Copy) error {
	c := &copying{from: from, to: to, local: local, mode: o.Mode, inodes: map[inode]string{}}
	c.uid, c.gid, c.owned = stepfiles.Owner(o.Owner)
	var found []string
	for _, src := range o.Src {
		m, err := from.glob(src)
		if err != nil {
			return err
		}
		if len(m) == 0 {
			return fmt.Errorf("%s: nothing there to copy", src)
		}
		found = append(found, m...)
	}
	intoDir := strings.HasSuffix(o.Dst, "/") || len(found) > 1
	for _, src := range found {
		if err := c.source(src, o.Dst, intoDir); err != nil {
			return err
		}
	}
	return nil
}

func (c *copying) source(src, dst string, intoDir bool) error {
	name := path.Base(src)
	src, err := c.from.resolve(src, true)
	if err != nil {
		return err
	}
	st, err := c.from.lstat(src)
	if err != nil {
		return inImage(err, src)
	}
	to, err := c.to.resolve(dst, true)
	if err != nil {
		return err
	}
	if isDir(st) {
		if _, err := c.to.mkdirs(path.Dir(to), c.uid, c.gid); err != nil {
			return err
		}
		return c.tree(src, to)
	}
	if c.local != nil && !c.local.wanted(src) {
		return fmt.Errorf("%s: is excluded", src)
	}
	if there, err := c.to.lstat(to); intoDir || (err == nil && isDir(there)) {
		to = path.Join(to, name)
	}
	if _, err := c.to.mkdirs(path.Dir(to), c.uid, c.gid); err != nil {
		return err
	}
	return c.entry(src, to, st)
}

// tree copies a directory's content. The directory at the other end keeps what it
// is if it was there.
func (c *copying) tree(src, dst string) error {
	st, err := c.from.lstat(src)
	if err != nil {
		return inImage(err, src)
	}
	// Where merged-/usr has a link, the link's target is the directory.
	dst, err = c.to.resolve(dst, true)
	if err != nil {
		return err
	}
	there, err := c.to.lstat(dst)
	switch {
	case err == nil && !isDir(there):
		return fmt.Errorf("/%s: cannot copy a directory over what is none", dst)
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return inImage(err, dst)
	}
	made := err != nil
	if made {
		if c.local != nil && !c.local.wanted(src) && src != "" {
			// Only what is below may be wanted: the directory is made when it is.
			return c.below(src, dst)
		}
		if _, err := c.to.mkdirs(path.Dir(dst), c.uid, c.gid); err != nil {
			return err
		}
		if err := os.Mkdir(c.to.join(dst), 0o700); err != nil {
			return inImage(err, dst)
		}
	}
	if err := c.below(src, dst); err != nil {
		return err
	}
	if made {
		return c.finish(src, dst, st)
	}
	return nil
}

func (c *copying) below(src, dst string) error {
	names, err := c.from.names(src)
	if err != nil {
		return err
	}
	for _, n := range names {
		from, to := path.Join(src, n), path.Join(dst, n)
		st, err := c.from.lstat(from)
		if err != nil {
			return inImage(err, from)
		}
		if isDir(st) {
			if err := c.tree(from, to); err != nil {
				return err
			}
			continue
		}
		if c.local != nil {
			if !c.local.wanted(from) {
				continue
			}
			if _, err := c.to.mkdirs(dst, c.uid, c.gid); err != nil {
				return err
			}
		}
		if err := c.entry(from, to, st); err != nil {
			return err
		}
	}
	return nil
}

// entry copies one thing that is not a directory.
func (c *copying) entry(src, dst string, st unix.Stat_t) error {
	there, err := c.to.lstat(dst)
	switch {
	case err == nil && isDir(there):
		return fmt.Errorf("/%s: cannot copy a file over a directory", dst)
	case err == nil:
		if err := os.Remove(c.to.join(dst)); err != nil {
			return inImage(err, dst)
		}
	case !errors.Is(err, fs.ErrNotExist):
		return inImage(err, dst)
	}
	if st.Nlink > 1 && c.local == nil {
		id := inode{uint64(st.Dev), st.Ino}
		if first, ok := c.inodes[id]; ok {
			return os.Link(c.to.join(first), c.to.join(dst))
		}
		c.inodes[id] = dst
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		err = c.content(src, dst)
	case unix.S_IFLNK:
		var target string
		if target, err = os.Readlink(c.from.join(src)); err == nil {
			err = os.Symlink(target, c.to.join(dst))
		}
	case unix.S_IFSOCK:
		return nil // a socket is no content
	default:
		if c.local != nil {
			return fmt.Errorf("%s: is neither a file, a directory nor a link", c.from.join(src))
		}
		err = unix.Mknod(c.to.join(dst), st.Mode, int(st.Rdev))
	}
	if err != nil {
		return inImage(err, dst)
	}
	return c.finish(src, dst, st)
}

func (c *copying) content(src, dst string) error {
	in, err := os.Open(c.from.join(src))
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(c.to.join(dst), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	if c.buf == nil {
		c.buf = make([]byte, 256<<10)
	}
	_, err = io.CopyBuffer(struct{ io.Writer }{out}, struct{ io.Reader }{in}, c.buf)
	if cerr := out.Close(); err == nil {
		err = cerr
	}
	return err
}

// finish gives a copy its owner, mode, attributes and time. A directory of this
// machine passes on its modes alone: its owners and times are accidents.
func (c *copying) finish(src, dst string, st unix.Stat_t) error {
	uid, gid := int(st.Uid), int(st.Gid)
	if c.owned || c.local != nil {
		uid, gid = c.uid, c.gid
	}
	if err := c.to.chown(dst, uid, gid); err != nil {
		return err
	}
	if c.local == nil {
		attrs, err := xattrs(c.from.join(src))
		if err != nil {
			return inImage(err, src)
		}
		for _, a := range attrs {
			if err := unix.Lsetxattr(c.to.join(dst), a.name, []byte(a.value), 0); err != nil {
				return fmt.Errorf("attribute %s of %w", a.name, inImage(err, dst))
			}
		}
	}
	if !isLink(st) {
		mode := st.Mode & 0o7777
		if c.mode != 0 && isReg(st) {
			mode = stepfiles.UnixMode(c.mode)
		}
		if err := unix.Chmod(c.to.join(dst), mode); err != nil {
			return inImage(err, dst)
		}
	}
	if c.local != nil {
		return nil
	}
	times := []unix.Timespec{{Nsec: unix.UTIME_OMIT}, st.Mtim}
	if err := unix.UtimesNanoAt(unix.AT_FDCWD, c.to.join(dst), times, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return inImage(err, dst)
	}
	return nil
}
