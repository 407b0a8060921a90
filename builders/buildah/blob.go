//go:build linux && cgo && containers_image_openpgp && exclude_graphdriver_btrfs

package buildah

import (
	"archive/tar"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"time"

	"github.com/cfbuild/cfbuild/internal/oci"
	"github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"
)

// blob is a layer in the form images have it.
type blob struct {
	// Empty: the layer changes nothing and is left out.
	Empty bool `json:"empty,omitempty"`
	// DiffID is the digest of the tar, Digest and Size are the gzip's.
	DiffID digest.Digest `json:"diff_id,omitempty"`
	Digest digest.Digest `json:"digest,omitempty"`
	Size   int64         `json:"size,omitempty"`
}

// blobs is where compressed layers are kept, an OCI layout that all builds on a
// state directory share.
func (st *store) blobs() (*oci.Layout, error) {
	dir := filepath.Join(st.dir, "blobs")
	if l, err := oci.Open(dir); err == nil {
		return l, nil
	}
	return oci.Create(dir)
}

// blobOf gives the blob of a layer, made now unless it is kept from before.
func (st *store) blobOf(r record, epoch time.Time) (blob, error) {
	l, err := st.blobs()
	if err != nil {
		return blob{}, err
	}
	meta := st.blobMeta(r.Layer, epoch)
	var b blob
	if readJSON(meta, &b) && (b.Empty || hasBlob(l, b.Digest, b.Size)) {
		return b, nil
	}
	if b, err = st.makeBlob(l, r, epoch); err != nil {
		return blob{}, fmt.Errorf("layer: %w", err)
	}
	return b, writeJSON(meta, b)
}

// blobMeta is where the blob of a layer is kept in mind.
func (st *store) blobMeta(layer string, epoch time.Time) string {
	return filepath.Join(st.dir, "meta", layer+"-"+strconv.FormatInt(epoch.Unix(), 10))
}

func hasBlob(l *oci.Layout, d digest.Digest, size int64) bool {
	fi, err := os.Stat(l.BlobPath(d))
	return err == nil && fi.Size() == size
}

func (st *store) makeBlob(l *oci.Layout, r record, epoch time.Time) (_ blob, err error) {
	ids, err := st.chain(r.Layer)
	if err != nil {
		return blob{}, err
	}
	parent := ""
	if len(ids) > 1 {
		parent = ids[1]
	}
	below, done, err := st.view(parent, false)
	if err != nil {
		return blob{}, err
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
			return blob{}, err
		}
		defer func() {
			if derr := end(); err == nil {
				err = derr
			}
		}()
		changes, err = fullDiff(root(below), root(above), clamp)
	}
	if err != nil {
		return blob{}, err
	}
	if len(changes) == 0 {
		return blob{Empty: true}, nil
	}
	w, err := l.NewBlob()
	if err != nil {
		return blob{}, err
	}
	defer w.Abort()
	sum := digest.SHA256.Digester()
	z := oci.NewGzipWriter(w)
	err = writeLayer(io.MultiWriter(sum.Hash(), z), root(above), changes, clamp, epoch)
	if cerr := z.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return blob{}, err
	}
	b := blob{DiffID: sum.Digest()}
	b.Digest, b.Size, err = w.Commit()
	return b, err
}

// writeLayer writes changes as a layer (OCI image spec, layer.md), in one form:
// sorted, whole seconds, numbers for owners, attributes in order.
func writeLayer(w io.Writer, r root, changes []change, clamp func(unix.Timespec) int64, epoch time.Time) error {
	tw := tar.NewWriter(w)
	first := map[inode]string{}
	buf := make([]byte, 256<<10)
	for _, c := range changes {
		if err := checkName(c.path); err != nil {
			return err
		}
		if c.gone {
			if err := tw.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: path.Join(path.Dir(c.path), ".wh."+path.Base(c.path)),
				ModTime: epoch}); err != nil {
				return err
			}
			continue
		}
		if err := writeEntry(tw, r, c, clamp, first, buf); err != nil {
			return err
		}
	}
	return tw.Close()
}

func writeEntry(tw *tar.Writer, r root, c change, clamp func(unix.Timespec) int64, first map[inode]string, buf []byte) error {
	h := &tar.Header{Name: c.path, Mode: int64(c.st.Mode & 0o7777), Uid: int(c.st.Uid), Gid: int(c.st.Gid),
		ModTime: time.Unix(clamp(c.st.Mtim), 0)}
	switch c.st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		h.Typeflag, h.Name = tar.TypeDir, c.path+"/"
		if c.path == "" {
			h.Name = "./"
		}
	case unix.S_IFREG:
		h.Typeflag, h.Size = tar.TypeReg, c.st.Size
		if c.st.Nlink > 1 {
			id := inode{uint64(c.st.Dev), c.st.Ino}
			if name, ok := first[id]; ok {
				h.Typeflag, h.Linkname, h.Size = tar.TypeLink, name, 0
				return tw.WriteHeader(h)
			}
			first[id] = c.path
		}
	case unix.S_IFLNK:
		target, err := os.Readlink(r.join(c.path))
		if err != nil {
			return inImage(err, c.path)
		}
		h.Typeflag, h.Linkname, h.Mode = tar.TypeSymlink, target, 0o777
	case unix.S_IFIFO:
		h.Typeflag = tar.TypeFifo
	case unix.S_IFCHR, unix.S_IFBLK:
		h.Typeflag = tar.TypeChar
		if c.st.Mode&unix.S_IFMT == unix.S_IFBLK {
			h.Typeflag = tar.TypeBlock
		}
		h.Devmajor, h.Devminor = int64(unix.Major(c.st.Rdev)), int64(unix.Minor(c.st.Rdev))
	default:
		return nil // a socket is nothing to keep
	}
	attrs, err := xattrs(r.join(c.path))
	if err != nil {
		return inImage(err, c.path)
	}
	for _, a := range attrs {
		if h.PAXRecords == nil {
			h.PAXRecords = map[string]string{}
		}
		h.PAXRecords["SCHILY.xattr."+a.name] = a.value
	}
	if err := tw.WriteHeader(h); err != nil {
		return err
	}
	if h.Typeflag != tar.TypeReg {
		return nil
	}
	f, err := os.Open(r.join(c.path))
	if err != nil {
		return inImage(err, c.path)
	}
	defer f.Close()
	if _, err := io.CopyBuffer(struct{ io.Writer }{tw}, struct{ io.Reader }{f}, buf); err != nil {
		return inImage(err, c.path)
	}
	return nil
}
