package assemble

import (
	"errors"
	"io"
	"os"
	"path/filepath"

	"github.com/cfbuild/cfbuild/internal/atomicfile"
	"github.com/cfbuild/cfbuild/internal/oci"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// Layer is a layer in the form images have it.
type Layer struct {
	// Empty: the layer changes nothing and is left out.
	Empty bool `json:"empty,omitempty"`
	// DiffID is the digest of the tar, Digest and Size (bytes) are the gzip's.
	DiffID digest.Digest `json:"diff_id,omitempty"`
	Digest digest.Digest `json:"digest,omitempty"`
	Size   int64         `json:"size,omitempty"`
}

// Blobs keeps compressed layers between builds; several builds may use it at once.
type Blobs struct {
	// Layout has the blobs.
	*oci.Layout
	// Meta is a directory of small files that say what became which blob.
	Meta string
}

// OpenBlobs opens the blobs in dir, or makes an empty place for them. meta must exist.
func OpenBlobs(dir, meta string) (Blobs, error) {
	l, err := oci.Open(dir)
	if err != nil {
		l, err = oci.Create(dir)
	}
	return Blobs{l, meta}, err
}

// Has says whether a blob is there with its size; its content is not read.
func (b Blobs) Has(d digest.Digest, size int64) bool {
	if d.Validate() != nil {
		return false
	}
	fi, err := os.Stat(b.BlobPath(d))
	return err == nil && fi.Size() == size
}

// passLayer puts a base layer into the output as it came; one that came without
// compression is compressed, once.
func (b Blobs) passLayer(out *oci.Layout, img *Image, d v1.Descriptor) (v1.Descriptor, error) {
	to := v1.Descriptor{MediaType: d.MediaType, Digest: d.Digest, Size: d.Size}
	if d.MediaType != v1.MediaTypeImageLayer {
		return to, out.LinkBlob(img.Layout.BlobPath(d.Digest), d.Digest)
	}
	meta := filepath.Join(b.Meta, "gz-"+d.Digest.Encoded())
	var made Layer
	if !atomicfile.ReadJSON(meta, &made) || !b.Has(made.Digest, made.Size) {
		var err error
		if made, err = b.compress(img.Layout.BlobPath(d.Digest)); err != nil {
			return to, err
		}
		if err := atomicfile.WriteJSON(meta, made); err != nil {
			return to, err
		}
	}
	to.MediaType, to.Digest, to.Size = v1.MediaTypeImageLayerGzip, made.Digest, made.Size
	return to, out.LinkBlob(b.BlobPath(made.Digest), made.Digest)
}

func (b Blobs) compress(path string) (made Layer, err error) {
	f, err := os.Open(path)
	if err != nil {
		return made, err
	}
	defer f.Close()
	w, err := b.NewBlob()
	if err != nil {
		return made, err
	}
	defer w.Abort()
	z := oci.NewGzipWriter(w)
	_, err = io.Copy(z, f)
	if err = errors.Join(err, z.Close()); err != nil {
		return made, err
	}
	made.Digest, made.Size, err = w.Commit()
	return made, err
}
