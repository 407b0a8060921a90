package assemble

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/cfbuild/cfbuild/internal/oci"
	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// Image is an image of a layout, to stand on.
type Image struct {
	Layout *oci.Layout
	// Manifest has OCI's names for the media types of layers.
	Manifest v1.Manifest
	// Stored is the manifest's descriptor, Config the configuration as it is stored.
	Stored v1.Descriptor
	Config []byte
	// DiffIDs of the layers.
	DiffIDs []digest.Digest
}

// OpenImage is [Image.Read] for an image of the layout.
func OpenImage(l *oci.Layout, d v1.Descriptor, p pipelines.Platform) (*Image, error) {
	img := &Image{Layout: l}
	return img, img.Read(d, p)
}

// Read reads manifest and configuration from img.Layout, verified, and checks that
// they fit each other and the platform. Layers are not read.
func (img *Image) Read(d v1.Descriptor, p pipelines.Platform) error {
	if err := img.Layout.ReadJSON(d, &img.Manifest); err != nil {
		return fmt.Errorf("manifest: %w", err)
	}
	img.Stored = d
	var err error
	if img.Config, err = img.Layout.ReadBlob(img.Manifest.Config); err != nil {
		return fmt.Errorf("config: %w", err)
	}
	var c v1.Image
	if err := json.Unmarshal(img.Config, &c); err != nil {
		return fmt.Errorf("config: %w", err)
	}
	img.DiffIDs = c.RootFS.DiffIDs
	if len(img.DiffIDs) != len(img.Manifest.Layers) {
		return fmt.Errorf("image %s: %d layers, its config lists %d", d.Digest, len(img.Manifest.Layers), len(img.DiffIDs))
	}
	if got := oci.FromPlatform(c.Platform); c.Architecture != "" && got.Architecture != p.Architecture {
		return fmt.Errorf("image %s: is for %s, not for %s", d.Digest, got, p)
	}
	for i, l := range img.Manifest.Layers {
		t, err := layerType(l.MediaType)
		if err != nil {
			return err
		}
		img.Manifest.Layers[i].MediaType = t
	}
	return nil
}

// layerType gives the OCI name of a layer's media type.
func layerType(t string) (string, error) {
	switch strings.Replace(t, "nondistributable.", "", 1) {
	case v1.MediaTypeImageLayerGzip, "application/vnd.docker.image.rootfs.diff.tar.gzip", "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip":
		return v1.MediaTypeImageLayerGzip, nil
	case v1.MediaTypeImageLayerZstd:
		return v1.MediaTypeImageLayerZstd, nil
	case v1.MediaTypeImageLayer, "application/vnd.docker.image.rootfs.diff.tar":
		return v1.MediaTypeImageLayer, nil
	}
	return "", fmt.Errorf("layer of type %q cannot be used", t)
}
