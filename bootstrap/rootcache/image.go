package rootcache

import (
	"bufio"
	"crypto/sha256"
	"io"
	"time"

	digest "github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/cfbuild/cfbuild/internal/oci"
	"github.com/cfbuild/cfbuild/pipelines"
)

// Path is the search path of programs in a root.
const Path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// WriteImage writes an image whose one layer is the tar that write makes. The same
// packages make the same image, whichever request named them: by is all that its
// history says ("cfbuild bootstrap deb").
func WriteImage(layout *oci.Layout, p pipelines.Platform, epoch time.Time, by string, write func(io.Writer) error) (Image, error) {
	layer, diff, err := writeLayer(layout, write)
	if err != nil {
		return Image{}, err
	}
	platform := oci.ToPlatform(p)
	config, err := layout.PutJSON(v1.MediaTypeImageConfig, v1.Image{
		Created:  &epoch,
		Platform: platform,
		Config:   v1.ImageConfig{Env: []string{"PATH=" + Path}},
		RootFS:   v1.RootFS{Type: "layers", DiffIDs: []digest.Digest{diff}},
		History:  []v1.History{{Created: &epoch, CreatedBy: by}},
	})
	if err != nil {
		return Image{}, err
	}
	m := v1.Manifest{MediaType: v1.MediaTypeImageManifest, Config: config, Layers: []v1.Descriptor{layer}}
	m.SchemaVersion = 2
	desc, err := layout.PutJSON(v1.MediaTypeImageManifest, m)
	if err != nil {
		return Image{}, err
	}
	desc.Platform = &platform
	idx := v1.Index{MediaType: v1.MediaTypeImageIndex, Manifests: []v1.Descriptor{desc}}
	idx.SchemaVersion = 2
	return Image{desc, layer}, layout.SetIndex(idx)
}

// writeLayer compresses a tar into a blob.
func writeLayer(layout *oci.Layout, write func(io.Writer) error) (v1.Descriptor, digest.Digest, error) {
	blob, err := layout.NewBlob()
	if err != nil {
		return v1.Descriptor{}, "", err
	}
	defer blob.Abort()
	z, h := oci.NewGzipWriter(blob), sha256.New()
	w := bufio.NewWriterSize(io.MultiWriter(h, z), 256<<10)
	if err = write(w); err == nil {
		err = w.Flush()
	}
	if err2 := z.Close(); err == nil {
		err = err2
	}
	if err != nil {
		return v1.Descriptor{}, "", err
	}
	dg, size, err := blob.Commit()
	return v1.Descriptor{MediaType: v1.MediaTypeImageLayerGzip, Digest: dg, Size: size}, digest.NewDigest(digest.SHA256, h), err
}
