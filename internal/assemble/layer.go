package assemble

import (
	"archive/tar"
	"fmt"
	"io"
	"path"
	"strings"
	"time"

	"github.com/cfbuild/cfbuild/internal/oci"
	"github.com/opencontainers/go-digest"
)

// Entry is one path that a layer adds, changes or removes.
type Entry struct {
	// Path has no leading slash; it is empty for the root.
	Path string
	// Gone: the path is removed, and nothing else of the entry counts.
	Gone bool
	// Type is the tar type: TypeReg, TypeDir, TypeSymlink, TypeChar, TypeBlock or
	// TypeFifo.
	Type byte
	// Mode is the permission bits with setuid, setgid and sticky (07777).
	Mode     uint32
	UID, GID int
	// Time in Unix seconds.
	Time int64
	// Size of a regular file's content in bytes.
	Size int64
	// Link is a symbolic link's target.
	Link string
	// Major and Minor of a device.
	Major, Minor int64
	// Xattrs by name.
	Xattrs map[string]string
	// File is equal for names of one regular file, and nil for a file with one name.
	File any
}

// LayerWriter writes entries as a layer, in one form. Entries must come sorted by path.
type LayerWriter struct {
	w     counter
	tw    *tar.Writer
	epoch time.Time
	first map[any]string
	buf   []byte
}

// counter knows how far a layer has been written.
type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}

// MakeLayer makes the blob of a layer from what fill writes. A layer nothing is
// written to is still one: whoever finds no entries says Empty.
func MakeLayer(l *oci.Layout, epoch time.Time, fill func(w *LayerWriter) error) (Layer, error) {
	blob, err := l.NewBlob()
	if err != nil {
		return Layer{}, err
	}
	defer blob.Abort()
	sum := digest.SHA256.Digester()
	z := oci.NewGzipWriter(blob)
	w := &LayerWriter{epoch: epoch, first: map[any]string{}, buf: make([]byte, 256<<10)}
	w.w.w = io.MultiWriter(sum.Hash(), z)
	w.tw = tar.NewWriter(&w.w)
	err = fill(w)
	if err == nil {
		err = w.tw.Close()
	}
	if cerr := z.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return Layer{}, err
	}
	made := Layer{DiffID: sum.Digest()}
	made.Digest, made.Size, err = blob.Commit()
	return made, err
}

// Add writes an entry. open gives a regular file's content, which is as long as the
// entry says; it is not called for further names of a file.
func (w *LayerWriter) Add(e Entry, open func() (io.ReadCloser, error)) error {
	if err := checkName(e.Path); err != nil {
		return err
	}
	if e.Gone {
		return w.tw.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: path.Join(path.Dir(e.Path), oci.Whiteout+path.Base(e.Path)), ModTime: w.epoch})
	}
	h := &tar.Header{Typeflag: e.Type, Name: e.Path, Mode: int64(e.Mode), Uid: e.UID, Gid: e.GID, ModTime: time.Unix(e.Time, 0)}
	switch e.Type {
	case tar.TypeDir:
		if h.Name = e.Path + "/"; e.Path == "" {
			h.Name = "./"
		}
	case tar.TypeReg:
		h.Size = e.Size
		if e.File == nil {
			break
		}
		if name, ok := w.first[e.File]; ok {
			h.Typeflag, h.Linkname, h.Size = tar.TypeLink, name, 0
			return w.tw.WriteHeader(h)
		}
		w.first[e.File] = e.Path
	case tar.TypeSymlink:
		h.Linkname, h.Mode = e.Link, 0o777
	case tar.TypeChar, tar.TypeBlock:
		h.Devmajor, h.Devminor = e.Major, e.Minor
	}
	for name, value := range e.Xattrs {
		if h.PAXRecords == nil {
			h.PAXRecords = map[string]string{}
		}
		h.PAXRecords[xattrRecord+name] = value
	}
	if err := w.tw.WriteHeader(h); err != nil || h.Typeflag != tar.TypeReg {
		return err
	}
	f, err := open()
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.CopyBuffer(struct{ io.Writer }{w.tw}, struct{ io.Reader }{f}, w.buf)
	return err
}

// xattrRecord begins the PAX records of extended attributes.
const xattrRecord = "SCHILY.xattr."

// at is where the next entry will begin in the archive.
func (w *LayerWriter) at() (int64, error) {
	err := w.tw.Flush()
	return w.w.n, err
}

// checkName: a name that means something else in a layer cannot be in one.
func checkName(rel string) error {
	if strings.HasPrefix(path.Base(rel), oci.Whiteout) {
		return fmt.Errorf("/%s: names that begin with .wh. cannot be in an image layer", rel)
	}
	return nil
}

// Clamp gives the time stamps of a layer: none later than the epoch, and the epoch
// for whatever was made since the layer was begun. All are Unix seconds.
func Clamp(epoch, started int64) func(int64) int64 {
	return func(t int64) int64 {
		if t > epoch || t >= started {
			return epoch
		}
		return t
	}
}

// ContentXattr says whether an extended attribute belongs to a file's content: not
// those that a storage or the machine's security module put there.
func ContentXattr(name string) bool {
	for _, p := range []string{"trusted.", "user.overlay.", "user.fuseoverlayfs.", "user.containers."} {
		if strings.HasPrefix(name, p) {
			return false
		}
	}
	return name != "" && (!strings.HasPrefix(name, "security.") || name == "security.capability")
}
