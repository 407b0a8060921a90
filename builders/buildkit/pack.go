//go:build !no_buildkit && linux && containers_image_openpgp

package buildkit

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/cfbuild/cfbuild/internal/oci"
	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/opencontainers/go-digest"
	specs "github.com/opencontainers/image-spec/specs-go"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// item is one file of a pack. A directory holds others.
type item struct {
	kind  byte // tar's type flag: TypeReg, TypeDir, TypeSymlink
	mode  int64
	uid   int
	gid   int
	mtime time.Time // zero: the epoch
	link  string
	data  []byte // of a file, or
	file  string // the file of this machine that holds it
	size  int64
	attrs map[string]string

	below map[string]*item
}

func (it *item) dir() bool { return it.kind == tar.TypeDir }

func (it *item) add(name string, child *item) {
	if it.below == nil {
		it.below = map[string]*item{}
	}
	it.below[name] = child
}

func (it *item) names() []string {
	var out []string
	for n := range it.below {
		out = append(out, n)
	}
	slices.Sort(out)
	return out
}

func newDir(mode int64, uid, gid int) *item {
	return &item{kind: tar.TypeDir, mode: mode, uid: uid, gid: gid}
}

// pack writes items as an image of one layer, from which the daemon copies. What is
// equal makes an equal image: sorted names, owners in numbers, the epoch as time.
func pack(l *oci.Layout, p pipelines.Platform, epoch time.Time, root *item) (_ v1.Descriptor, err error) {
	w, err := l.NewBlob()
	if err != nil {
		return v1.Descriptor{}, err
	}
	defer w.Abort()
	tw := tar.NewWriter(w)
	err = writeItem(tw, "", root, epoch)
	if err = errors.Join(err, tw.Close()); err != nil {
		return v1.Descriptor{}, err
	}
	d, n, err := w.Commit()
	if err != nil {
		return v1.Descriptor{}, err
	}
	cfg, err := l.PutJSON(v1.MediaTypeImageConfig, v1.Image{Platform: oci.ToPlatform(p), RootFS: v1.RootFS{Type: "layers", DiffIDs: []digest.Digest{d}}})
	if err != nil {
		return v1.Descriptor{}, err
	}
	return l.PutJSON(v1.MediaTypeImageManifest, v1.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: v1.MediaTypeImageManifest,
		Config: cfg, Layers: []v1.Descriptor{{MediaType: v1.MediaTypeImageLayer, Digest: d, Size: n}}})
}

func writeItem(tw *tar.Writer, at string, it *item, epoch time.Time) error {
	h := &tar.Header{Typeflag: it.kind, Name: at, Mode: it.mode, Uid: it.uid, Gid: it.gid, ModTime: it.mtime, Linkname: it.link}
	if h.ModTime.IsZero() {
		h.ModTime = epoch
	}
	for k, v := range it.attrs {
		if h.PAXRecords == nil {
			h.PAXRecords = map[string]string{}
		}
		h.PAXRecords["SCHILY.xattr."+k] = v
	}
	switch it.kind {
	case tar.TypeDir:
		h.Name = at + "/"
	case tar.TypeReg:
		h.Size = int64(len(it.data))
		if it.file != "" {
			h.Size = it.size
		}
	}
	if at != "" {
		if err := tw.WriteHeader(h); err != nil {
			return err
		}
	}
	if it.kind == tar.TypeReg {
		if err := writeData(tw, it); err != nil {
			return err
		}
	}
	for _, n := range it.names() {
		if strings.HasPrefix(n, ".wh.") {
			return fmt.Errorf("%s: names that begin with .wh. cannot be in an image layer", path.Join("/", at, n))
		}
		if err := writeItem(tw, path.Join(at, n), it.below[n], epoch); err != nil {
			return err
		}
	}
	return nil
}

func writeData(tw *tar.Writer, it *item) error {
	if it.file == "" {
		_, err := tw.Write(it.data)
		return err
	}
	f, err := os.Open(it.file)
	if err != nil {
		return err
	}
	defer f.Close()
	n, err := io.Copy(tw, io.LimitReader(f, it.size))
	if err != nil {
		return err
	}
	var one [1]byte
	if more, _ := f.Read(one[:]); more > 0 || n < it.size {
		return fmt.Errorf("%s: was written to while it was read", it.file)
	}
	return nil
}
