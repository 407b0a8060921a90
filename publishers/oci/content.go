package oci

import (
	"fmt"
	"slices"

	"github.com/cfbuild/cfbuild/internal/oci"
	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// image is one platform's image in a layout on disk.
type image struct {
	layout   *oci.Layout
	platform pipelines.Platform
	// desc is its descriptor with a complete platform object and no annotations.
	desc     v1.Descriptor
	manifest v1.Manifest
	config   v1.Image
}

// blobs are the digests that make up the image, the manifest first.
func (m image) blobs() []v1.Descriptor {
	return append([]v1.Descriptor{m.desc, m.manifest.Config}, m.manifest.Layers...)
}

// readLayout lists the images of a layout, sorted by platform, without attestations.
func readLayout(dir string) ([]image, error) {
	l, err := oci.Open(dir)
	if err != nil {
		return nil, err
	}
	ds, err := l.Images()
	if err != nil {
		return nil, err
	}
	var out []image
	for _, d := range ds {
		m, err := readImage(l, d)
		if err != nil {
			return nil, err
		}
		out = append(out, m)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%s: the layout holds no image with a known platform", dir)
	}
	return sortImages(out)
}

func readImage(l *oci.Layout, d v1.Descriptor) (image, error) {
	man, cfg, err := l.Image(d)
	if err != nil {
		return image{}, err
	}
	m := image{layout: l, manifest: man, config: cfg, platform: oci.FromPlatform(cfg.Platform)}
	full := cfg.Platform
	if d.Platform != nil {
		said := oci.FromPlatform(*d.Platform)
		if said.OS != m.platform.OS || said.Architecture != m.platform.Architecture ||
			cfg.Variant != "" && said.Variant != m.platform.Variant {
			return image{}, fmt.Errorf("image %s: the index says %s, its configuration %s", d.Digest, said, m.platform)
		}
		m.platform, full = said, *d.Platform
	}
	if m.platform.OS == "" || m.platform.Architecture == "" {
		return image{}, fmt.Errorf("image %s: its configuration names no platform", d.Digest)
	}
	if len(man.Layers) != len(cfg.RootFS.DiffIDs) {
		return image{}, fmt.Errorf("image %s: %d layers, but %d diff_ids in its configuration", d.Digest, len(man.Layers), len(cfg.RootFS.DiffIDs))
	}
	p := oci.ToPlatform(m.platform)
	p.OSVersion, p.OSFeatures = full.OSVersion, full.OSFeatures
	m.desc = v1.Descriptor{MediaType: d.MediaType, Digest: d.Digest, Size: d.Size, Platform: &p}
	return m, nil
}

// sortImages sorts by platform and refuses two images for one platform; the same
// image twice counts once.
func sortImages(ms []image) ([]image, error) {
	slices.SortStableFunc(ms, func(a, b image) int { return pipelines.ComparePlatforms(a.platform, b.platform) })
	ms = slices.CompactFunc(ms, func(a, b image) bool { return a.platform == b.platform && a.desc.Digest == b.desc.Digest })
	for i := 1; i < len(ms); i++ {
		if ms[i].platform == ms[i-1].platform {
			return nil, fmt.Errorf("two images for %s: %s and %s", ms[i].platform, ms[i-1].desc.Digest, ms[i].desc.Digest)
		}
	}
	return ms, nil
}

// indexOf joins images into an OCI index. Its bytes depend on the images alone.
func indexOf(ds []v1.Descriptor) v1.Index {
	idx := v1.Index{MediaType: v1.MediaTypeImageIndex, Manifests: ds}
	idx.SchemaVersion = 2
	return idx
}

func platformsOf(ms []image) []pipelines.Platform {
	var out []pipelines.Platform
	for _, m := range ms {
		out = append(out, m.platform)
	}
	return out
}

// piece is a blob on disk that goes to a registry or an archive.
type piece struct {
	digest    digest.Digest
	size      int64
	path      string
	mediaType string
}
