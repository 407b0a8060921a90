//go:build linux && cgo && containers_image_openpgp && exclude_graphdriver_btrfs

package buildah

import (
	"archive/tar"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/cfbuild/cfbuild/internal/assemble"
	"github.com/cfbuild/cfbuild/internal/atomicfile"
	"github.com/cfbuild/cfbuild/internal/oci"
	"golang.org/x/sys/unix"
)

// blobOf gives the blob of a layer, made now unless it is kept from before.
func (st *store) blobOf(r record, epoch time.Time) (assemble.Layer, error) {
	l, err := st.blobs()
	if err != nil {
		return assemble.Layer{}, err
	}
	meta := st.blobMeta(r.Layer, epoch)
	var b assemble.Layer
	if atomicfile.ReadJSON(meta, &b) && (b.Empty || l.Has(b.Digest, b.Size)) {
		return b, nil
	}
	if b, err = st.makeBlob(l.Layout, r, epoch); err != nil {
		return assemble.Layer{}, fmt.Errorf("layer: %w", err)
	}
	return b, atomicfile.WriteJSON(meta, b)
}

// blobMeta is where the blob of a layer is kept in mind.
func (st *store) blobMeta(layer string, epoch time.Time) string {
	return filepath.Join(st.dir, "meta", layer+"-"+strconv.FormatInt(epoch.Unix(), 10))
}

func (st *store) makeBlob(l *oci.Layout, r record, epoch time.Time) (_ assemble.Layer, err error) {
	ids, err := st.chain(r.Layer)
	if err != nil {
		return assemble.Layer{}, err
	}
	parent := ""
	if len(ids) > 1 {
		parent = ids[1]
	}
	below, done, err := st.view(parent, false)
	if err != nil {
		return assemble.Layer{}, err
	}
	defer func() {
		if derr := done(); err == nil {
			err = derr
		}
	}()
	var changes []change
	var above string
	clamp := clampTo(epoch, r.Started)
	if st.driver != driverVFS {
		above = layerPath(st.dir, st.driver, r.Layer)
		changes, err = overlayDiff(root(below), root(above), st.driver == driverFuse, clamp)
	} else {
		var end func() error
		if above, end, err = st.view(r.Layer, false); err != nil {
			return assemble.Layer{}, err
		}
		defer func() {
			if derr := end(); err == nil {
				err = derr
			}
		}()
		changes, err = fullDiff(root(below), root(above), clamp)
	}
	if err != nil {
		return assemble.Layer{}, err
	}
	if len(changes) == 0 {
		return assemble.Layer{Empty: true}, nil
	}
	return assemble.MakeLayer(l, epoch, func(w *assemble.LayerWriter) error { return writeLayer(w, root(above), changes, clamp) })
}

func writeLayer(w *assemble.LayerWriter, r root, changes []change, clamp func(unix.Timespec) int64) error {
	for _, c := range changes {
		e, ok, err := entryOf(r, c, clamp)
		if err == nil && ok {
			err = w.Add(e, func() (io.ReadCloser, error) { return os.Open(r.join(c.path)) })
		}
		if err != nil {
			return inImage(err, c.path)
		}
	}
	return nil
}

// entryOf says what a layer has of a change; nothing, if it is a socket.
func entryOf(r root, c change, clamp func(unix.Timespec) int64) (e assemble.Entry, ok bool, err error) {
	e = assemble.Entry{Path: c.path, Gone: c.gone}
	if c.gone {
		return e, true, nil
	}
	e.Mode, e.UID, e.GID, e.Time = c.st.Mode&0o7777, int(c.st.Uid), int(c.st.Gid), clamp(c.st.Mtim)
	switch c.st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		e.Type = tar.TypeDir
	case unix.S_IFREG:
		e.Type, e.Size = tar.TypeReg, c.st.Size
		if c.st.Nlink > 1 {
			e.File = inode{uint64(c.st.Dev), c.st.Ino}
		}
	case unix.S_IFLNK:
		e.Type = tar.TypeSymlink
		if e.Link, err = os.Readlink(r.join(c.path)); err != nil {
			return e, false, err
		}
	case unix.S_IFIFO:
		e.Type = tar.TypeFifo
	case unix.S_IFCHR, unix.S_IFBLK:
		e.Type = tar.TypeChar
		if c.st.Mode&unix.S_IFMT == unix.S_IFBLK {
			e.Type = tar.TypeBlock
		}
		e.Major, e.Minor = int64(unix.Major(c.st.Rdev)), int64(unix.Minor(c.st.Rdev))
	default:
		return e, false, nil
	}
	attrs, err := xattrs(r.join(c.path))
	for _, a := range attrs {
		if e.Xattrs == nil {
			e.Xattrs = map[string]string{}
		}
		e.Xattrs[a.name] = a.value
	}
	return e, true, err
}
