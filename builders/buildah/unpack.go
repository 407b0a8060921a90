//go:build linux && cgo && containers_image_openpgp && exclude_graphdriver_btrfs

package buildah

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// unpacker applies a layer (OCI image spec, layer.md) to a root. The kernel resolves
// every path below the root, so that no link leads out of it.
type unpacker struct {
	root   root
	rootFD int
	// below: the root shows layers below, which whiteouts are about.
	below bool
	// single: there is one user id only, and owners are given up.
	single bool

	dir   string // the directory of the last entry
	dirFD int
	added map[string]bool
	dirs  []dirTime // set at the end: what is put in a directory changes it
	buf   []byte
}

type dirTime struct {
	name string
	mod  time.Time
}

func unpackTar(in io.Reader, r root, below, single bool) (err error) {
	fd, err := unix.Open(string(r), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	u := &unpacker{root: r, rootFD: fd, below: below, single: single, dirFD: -1, added: map[string]bool{}, buf: make([]byte, 256<<10)}
	defer func() { u.leave() }()
	tr := tar.NewReader(in)
	for {
		h, err := tr.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		if err := u.entry(h, tr); err != nil {
			return inImage(err, h.Name)
		}
	}
	for i := len(u.dirs) - 1; i >= 0; i-- {
		d := u.dirs[i]
		// One that a later entry replaced has no time to be set.
		if err := u.in(path.Dir(d.name), func(at int) error { return u.times(at, path.Base(d.name), d.mod) }); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return inImage(err, d.name)
		}
	}
	return nil
}

// leave closes the directory of the last entry.
func (u *unpacker) leave() {
	if u.dirFD >= 0 {
		unix.Close(u.dirFD)
	}
	u.dirFD, u.dir = -1, ""
}

// in calls f with a directory of the image, which is made if need be. Links on the
// way are followed below the root.
func (u *unpacker) in(dir string, f func(at int) error) error {
	if u.dirFD < 0 || u.dir != dir {
		u.leave()
		fd, err := u.open(dir)
		if errors.Is(err, fs.ErrNotExist) {
			rel, rerr := u.root.resolve(dir, true)
			if rerr != nil {
				return rerr
			}
			if _, err := u.root.mkdirs(rel, 0, 0); err != nil {
				return err
			}
			fd, err = u.open(dir)
		}
		if err != nil {
			return err
		}
		u.dir, u.dirFD = dir, fd
	}
	return f(u.dirFD)
}

func (u *unpacker) open(dir string) (int, error) {
	how := &unix.OpenHow{Flags: unix.O_PATH | unix.O_DIRECTORY | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT}
	for {
		fd, err := unix.Openat2(u.rootFD, "./"+dir, how)
		if errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EPERM) { // before Linux 5.6, or an old seccomp filter
			rel, err := u.root.resolve(dir, true)
			if err != nil {
				return -1, err
			}
			return unix.Open(u.root.join(rel), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		}
		if !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EINTR) {
			return fd, err
		}
	}
}

func (u *unpacker) entry(h *tar.Header, data io.Reader) error {
	name := path.Clean("/" + h.Name)[1:]
	if name == "" {
		if h.Typeflag != tar.TypeDir {
			return errors.New("the root is no directory")
		}
		return u.finishRoot(h)
	}
	dir, base := path.Dir(name), path.Base(name)
	if gone, ok := strings.CutPrefix(base, ".wh."); ok {
		if gone == "" || gone == "." || gone == ".." {
			return errors.New("a whiteout of nothing")
		}
		if !u.below {
			return nil
		}
		u.leave()
		return u.whiteout(dir, gone)
	}
	u.added[name] = true
	err := u.in(dir, func(at int) error { return u.make(at, base, h, data) })
	if err == nil && h.Typeflag == tar.TypeDir {
		u.dirs = append(u.dirs, dirTime{name, h.ModTime})
	}
	return err
}

// whiteout hides what lies below: one name, or with ".wh..opq" all of a directory.
func (u *unpacker) whiteout(dir, name string) error {
	rel, err := u.root.resolve(dir, true)
	if err != nil {
		return err
	}
	if name == ".wh..opq" {
		return u.clear(rel, dir)
	}
	if strings.HasPrefix(name, ".wh.") || u.added[path.Join(dir, name)] {
		return nil
	}
	if err := os.RemoveAll(u.root.join(path.Join(rel, name))); err != nil && !errors.Is(err, unix.ENOTDIR) {
		return err
	}
	return nil
}

// clear removes what this layer did not add.
func (u *unpacker) clear(rel, as string) error {
	names, err := u.root.names(rel)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, n := range names {
		p := path.Join(rel, n)
		if !u.added[path.Join(as, n)] {
			if err := os.RemoveAll(u.root.join(p)); err != nil {
				return err
			}
			continue
		}
		if st, err := u.root.lstat(p); err == nil && isDir(st) {
			if err := u.clear(p, path.Join(as, n)); err != nil {
				return err
			}
		}
	}
	return nil
}

// make makes one entry in an open directory. What was there gives way, but for a
// directory to a directory.
func (u *unpacker) make(at int, name string, h *tar.Header, data io.Reader) error {
	try := func() error { return u.create(at, name, h, data) }
	err := try()
	if errors.Is(err, fs.ErrExist) {
		var st unix.Stat_t
		if err := unix.Fstatat(at, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
			return err
		}
		switch {
		case isDir(st) && h.Typeflag == tar.TypeDir:
			err = nil
		case isDir(st):
			if err := os.RemoveAll(fmt.Sprintf("/proc/self/fd/%d/%s", at, name)); err != nil {
				return err
			}
			err = try()
		default:
			if err := unix.Unlinkat(at, name, 0); err != nil {
				return err
			}
			err = try()
		}
	}
	if errors.Is(err, errSkip) {
		return nil
	}
	if err != nil || h.Typeflag == tar.TypeLink {
		return err
	}
	return u.finish(at, name, h)
}

// errSkip: an entry that an ordinary user cannot make; the image still has it in
// the layer that is passed on.
var errSkip = errors.New("skipped")

func (u *unpacker) create(at int, name string, h *tar.Header, data io.Reader) error {
	switch h.Typeflag {
	case tar.TypeDir:
		return unix.Mkdirat(at, name, 0o700)
	case tar.TypeReg:
		fd, err := unix.Openat(at, name, unix.O_CREAT|unix.O_EXCL|unix.O_WRONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
		if err != nil {
			return err
		}
		err = u.write(fd, data)
		return errors.Join(err, unix.Close(fd))
	case tar.TypeSymlink:
		return unix.Symlinkat(h.Linkname, at, name)
	case tar.TypeLink:
		target := path.Clean("/" + h.Linkname)[1:]
		from, err := u.open(path.Dir(target))
		if err != nil {
			return fmt.Errorf("hard link to %s: %w", h.Linkname, err)
		}
		defer unix.Close(from)
		err = unix.Linkat(from, path.Base(target), at, name, 0)
		if errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("hard link to %s: %w", h.Linkname, err)
		}
		return err
	case tar.TypeFifo:
		return unix.Mknodat(at, name, unix.S_IFIFO|0o600, 0)
	case tar.TypeChar, tar.TypeBlock:
		kind := uint32(unix.S_IFCHR)
		if h.Typeflag == tar.TypeBlock {
			kind = unix.S_IFBLK
		}
		err := unix.Mknodat(at, name, kind|0o600, int(unix.Mkdev(uint32(h.Devmajor), uint32(h.Devminor))))
		if errors.Is(err, unix.EPERM) && rootless() {
			return errSkip
		}
		return err
	case tar.TypeXGlobalHeader:
		return errSkip
	}
	return fmt.Errorf("unknown type %q in a layer", h.Typeflag)
}

// write copies without a file's detour through the runtime's poller.
func (u *unpacker) write(fd int, data io.Reader) error {
	for {
		n, err := data.Read(u.buf)
		for b := u.buf[:n]; len(b) > 0; {
			w, err := unix.Write(fd, b)
			if errors.Is(err, unix.EINTR) {
				continue
			}
			if err != nil {
				return err
			}
			b = b[w:]
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// finish gives an entry its owner, attributes, mode and time, in this order: a
// change of owner takes setuid and capabilities away.
func (u *unpacker) finish(at int, name string, h *tar.Header) error {
	if err := unix.Fchownat(at, name, h.Uid, h.Gid, unix.AT_SYMLINK_NOFOLLOW); err != nil && !u.single {
		return chownError(err, h.Name, h.Uid, h.Gid)
	}
	for k, v := range h.PAXRecords {
		attr, ok := strings.CutPrefix(k, "SCHILY.xattr.")
		if !ok {
			continue
		}
		if err := u.attr(at, name, attr, v); err != nil {
			return fmt.Errorf("attribute %s: %w", attr, err)
		}
	}
	if h.Typeflag != tar.TypeSymlink {
		if err := unix.Fchmodat(at, name, uint32(h.Mode)&0o7777, 0); err != nil {
			return err
		}
	}
	return u.times(at, name, h.ModTime)
}

// attr sets an attribute. Those of the machine's security module and of overlay
// file systems are no content, and links can have none of a user's.
func (u *unpacker) attr(at int, name, attr, value string) error {
	if strings.HasPrefix(attr, "trusted.") || strings.HasPrefix(attr, "user.overlay.") || strings.HasPrefix(attr, "user.fuseoverlayfs.") ||
		(strings.HasPrefix(attr, "security.") && attr != "security.capability") {
		return nil
	}
	err := unix.Lsetxattr(fmt.Sprintf("/proc/self/fd/%d/%s", at, name), attr, []byte(value), 0)
	if errors.Is(err, unix.ENOTSUP) || (errors.Is(err, unix.EPERM) && (u.single || strings.HasPrefix(attr, "user."))) {
		return nil
	}
	return err
}

func (u *unpacker) times(at int, name string, mod time.Time) error {
	ts := []unix.Timespec{{Nsec: unix.UTIME_OMIT}, unix.NsecToTimespec(mod.UnixNano())}
	return unix.UtimesNanoAt(at, name, ts, unix.AT_SYMLINK_NOFOLLOW)
}

func (u *unpacker) finishRoot(h *tar.Header) error {
	if err := os.Chown(string(u.root), h.Uid, h.Gid); err != nil && !u.single {
		return chownError(err, "", h.Uid, h.Gid)
	}
	return unix.Chmod(string(u.root), uint32(h.Mode)&0o7777)
}
