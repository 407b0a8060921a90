//go:build linux && cgo && containers_image_openpgp && exclude_graphdriver_btrfs

package buildah

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/cfbuild/cfbuild/internal/assemble"
	"github.com/cfbuild/cfbuild/internal/oci"
	"golang.org/x/sys/unix"
)

// xattr is an extended attribute of a file.
type xattr struct{ name, value string }

// xattrs lists the attributes that belong to a file's content: not those that the
// storage or the machine's security module put there.
func xattrs(p string) ([]xattr, error) {
	n, err := unix.Llistxattr(p, nil)
	if errors.Is(err, unix.ENOTSUP) || (err == nil && n == 0) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	buf := make([]byte, n)
	if n, err = unix.Llistxattr(p, buf); err != nil {
		return nil, err
	}
	var out []xattr
	for name := range strings.SplitSeq(string(buf[:n]), "\x00") {
		if !assemble.ContentXattr(name) {
			continue
		}
		size, err := unix.Lgetxattr(p, name, nil)
		if errors.Is(err, unix.ENODATA) {
			continue
		}
		if err != nil {
			return nil, err
		}
		value := make([]byte, size)
		if size > 0 {
			if size, err = unix.Lgetxattr(p, name, value); err != nil {
				return nil, err
			}
		}
		out = append(out, xattr{name, string(value[:size])})
	}
	sort.Slice(out, func(i, j int) bool { return out[i].name < out[j].name })
	return out, nil
}

// change is one path that a layer adds, changes or (with gone) removes.
type change struct {
	path string
	gone bool
	st   unix.Stat_t
}

// diff finds what a layer changes, by content and not by what the storage driver
// happens to have copied: an entry that is as it was below is no change, nor is
// the mere time stamp of a directory. So every driver gives the same changes.
type diff struct {
	below, above root
	marks        bool
	clamp        func(unix.Timespec) int64
	out          []change
	linked       map[inode][]change // files of above with several names
	touched      map[inode]bool     // of those, the ones with a change
}

// overlayDiff walks what an overlay driver keeps for a layer: only what was touched
// is in it, deletions are character devices 0:0, and a directory that hides the
// one below carries an attribute. With marks, files named .wh.NAME and
// .wh..wh..opq can stand for these, as fuse-overlayfs has it.
func overlayDiff(below, upper root, marks bool, clamp func(unix.Timespec) int64) ([]change, error) {
	d := newDiff(below, upper, clamp)
	d.marks = marks
	if err := d.walkUpper("", d.isOpaque("")); err != nil {
		return nil, err
	}
	return d.finish()
}

// fullDiff compares two whole trees.
func fullDiff(below, above root, clamp func(unix.Timespec) int64) ([]change, error) {
	d := newDiff(below, above, clamp)
	if err := d.walkBoth(""); err != nil {
		return nil, err
	}
	return d.finish()
}

func newDiff(below, above root, clamp func(unix.Timespec) int64) *diff {
	return &diff{below: below, above: above, clamp: clamp, linked: map[inode][]change{}, touched: map[inode]bool{}}
}

// finish adds the other names of files that changed, and sorts.
func (d *diff) finish() ([]change, error) {
	have := map[string]bool{}
	for _, c := range d.out {
		have[c.path] = true
	}
	for id := range d.touched {
		for _, c := range d.linked[id] {
			if !have[c.path] {
				d.out = append(d.out, c)
			}
		}
	}
	st, err := d.above.lstat("")
	if err != nil {
		return nil, inImage(err, "")
	}
	if same, _, err := d.same("", st, false); err != nil {
		return nil, err
	} else if !same {
		d.out = append(d.out, change{st: st})
	}
	slices.SortFunc(d.out, func(a, b change) int { return strings.Compare(a.path, b.path) })
	return d.out, nil
}

func (d *diff) add(rel string, st unix.Stat_t, changed bool) {
	c := change{path: rel, st: st}
	if isReg(st) && st.Nlink > 1 {
		id := inode{uint64(st.Dev), st.Ino}
		d.linked[id] = append(d.linked[id], c)
		if changed {
			d.touched[id] = true
		}
	}
	if changed {
		d.out = append(d.out, c)
	}
}

func (d *diff) gone(rel string) { d.out = append(d.out, change{path: rel, gone: true}) }

// walkUpper walks one directory of the upper tree; opaque means that nothing of
// the directory below shows.
func (d *diff) walkUpper(dir string, opaque bool) error {
	names, err := d.above.names(dir)
	if err != nil {
		return err
	}
	for _, n := range names {
		rel := path.Join(dir, n)
		if gone, ok := strings.CutPrefix(n, oci.Whiteout); ok && d.marks {
			if _, err := d.below.lstat(path.Join(dir, gone)); err == nil && n != oci.WhiteoutOpaque {
				d.gone(path.Join(dir, gone))
			}
			continue
		}
		st, err := d.above.lstat(rel)
		if err != nil {
			return inImage(err, rel)
		}
		// A socket is nothing an image can hold.
		if (st.Mode&unix.S_IFMT == unix.S_IFCHR && st.Rdev == 0) || st.Mode&unix.S_IFMT == unix.S_IFSOCK {
			if _, err := d.below.lstat(rel); err == nil {
				d.gone(rel)
			}
			continue
		}
		same, belowDir, err := d.same(rel, st, true)
		if err != nil {
			return err
		}
		d.add(rel, st, !same)
		if isDir(st) {
			hides := opaque || d.isOpaque(rel)
			if hides && belowDir {
				if err := d.hidden(rel); err != nil {
					return err
				}
			}
			if err := d.walkUpper(rel, hides); err != nil {
				return err
			}
		}
	}
	return nil
}

// hidden notes what an opaque directory no longer shows of the one below.
func (d *diff) hidden(dir string) error {
	names, err := d.below.names(dir)
	if err != nil {
		return err
	}
	for _, n := range names {
		_, err := d.above.lstat(path.Join(dir, n))
		if d.marks && errors.Is(err, fs.ErrNotExist) {
			if _, err := d.above.lstat(path.Join(dir, oci.Whiteout+n)); err == nil {
				continue // walkUpper meets it
			}
		}
		switch {
		case errors.Is(err, fs.ErrNotExist):
			d.gone(path.Join(dir, n))
		case err != nil:
			return inImage(err, path.Join(dir, n))
		}
	}
	return nil
}

func (d *diff) isOpaque(rel string) bool {
	for _, name := range []string{"trusted.overlay.opaque", "user.overlay.opaque", "user.fuseoverlayfs.opaque"} {
		var buf [8]byte
		if n, err := unix.Lgetxattr(d.above.join(rel), name, buf[:]); err == nil && string(buf[:n]) == "y" {
			return true
		}
	}
	if !d.marks {
		return false
	}
	_, err := d.above.lstat(path.Join(rel, oci.WhiteoutOpaque))
	return err == nil
}

func (d *diff) walkBoth(dir string) error {
	above, err := d.above.names(dir)
	if err != nil {
		return err
	}
	var below []string
	if st, err := d.below.lstat(dir); err == nil && isDir(st) {
		if below, err = d.below.names(dir); err != nil {
			return err
		}
	}
	for _, n := range below {
		if _, found := slices.BinarySearch(above, n); !found {
			d.gone(path.Join(dir, n))
		}
	}
	for _, n := range above {
		rel := path.Join(dir, n)
		st, err := d.above.lstat(rel)
		if err != nil {
			return inImage(err, rel)
		}
		if st.Mode&unix.S_IFMT == unix.S_IFSOCK {
			if _, found := slices.BinarySearch(below, n); found {
				d.gone(rel)
			}
			continue
		}
		same, _, err := d.same(rel, st, false)
		if err != nil {
			return err
		}
		d.add(rel, st, !same)
		if isDir(st) {
			if err := d.walkBoth(rel); err != nil {
				return err
			}
		}
	}
	return nil
}

// same compares an entry with the one below it. Content is compared where the
// entry is known to have been touched; otherwise equal size and time stamp are
// taken for equal content.
func (d *diff) same(rel string, st unix.Stat_t, content bool) (same, belowDir bool, err error) {
	old, err := d.below.lstat(rel)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) {
		return false, false, nil
	}
	if err != nil {
		return false, false, inImage(err, rel)
	}
	belowDir = isDir(old) && isDir(st)
	if st.Mode != old.Mode || st.Uid != old.Uid || st.Gid != old.Gid || st.Rdev != old.Rdev {
		return false, belowDir, nil
	}
	a, err := xattrs(d.above.join(rel))
	if err != nil {
		return false, belowDir, inImage(err, rel)
	}
	b, err := xattrs(d.below.join(rel))
	if err != nil {
		return false, belowDir, inImage(err, rel)
	}
	if !slices.Equal(a, b) {
		return false, belowDir, nil
	}
	if isDir(st) {
		return true, belowDir, nil
	}
	if st.Size != old.Size || d.clamp(st.Mtim) != d.clamp(old.Mtim) {
		return false, false, nil
	}
	switch {
	case isLink(st):
		a, err := os.Readlink(d.above.join(rel))
		if err != nil {
			return false, false, inImage(err, rel)
		}
		b, err := os.Readlink(d.below.join(rel))
		if err != nil {
			return false, false, inImage(err, rel)
		}
		return a == b, false, nil
	case isReg(st) && (content || st.Mtim != old.Mtim):
		same, err = sameContent(d.above.join(rel), d.below.join(rel))
		return same, false, err
	}
	return true, false, nil
}

func sameContent(a, b string) (bool, error) {
	f, err := os.Open(a)
	if err != nil {
		return false, err
	}
	defer f.Close()
	g, err := os.Open(b)
	if err != nil {
		return false, err
	}
	defer g.Close()
	x, y := make([]byte, 64<<10), make([]byte, 64<<10)
	for {
		n, errX := io.ReadFull(f, x)
		m, errY := io.ReadFull(g, y)
		if !bytes.Equal(x[:n], y[:m]) {
			return false, nil
		}
		if errX == io.EOF || errX == io.ErrUnexpectedEOF {
			return errY == errX, nil
		}
		if err := errors.Join(errX, errY); err != nil {
			return false, err
		}
	}
}

// clampTo is [assemble.Clamp] for what stat(2) says.
func clampTo(epoch time.Time, started int64) func(unix.Timespec) int64 {
	clamp := assemble.Clamp(epoch.Unix(), started)
	return func(t unix.Timespec) int64 { return clamp(t.Sec) }
}
