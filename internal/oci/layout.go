// Package oci reads and writes OCI image layout directories (OCI image spec,
// image-layout.md) and compresses layers in parallel.
package oci

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/cfbuild/cfbuild/internal/atomicfile"
	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/opencontainers/go-digest"
	specs "github.com/opencontainers/image-spec/specs-go"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// MaxJSON bounds the manifests, indexes and configurations that are read, in
// bytes; registries refuse more than 4 MiB.
const MaxJSON = 4 << 20

// ErrNotLayout: a directory is not an OCI image layout.
var ErrNotLayout = errors.New("not an OCI image layout")

// Layout is an OCI image layout directory. Writing blobs is safe for several
// goroutines and processes at once.
type Layout struct{ dir string }

// Create makes an empty layout; the directory may exist if it is empty.
func Create(dir string) (*Layout, error) {
	if err := os.MkdirAll(filepath.Join(dir, v1.ImageBlobsDir, "sha256"), 0o755); err != nil {
		return nil, err
	}
	b, err := json.Marshal(v1.ImageLayout{Version: v1.ImageLayoutVersion})
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(dir, v1.ImageLayoutFile), b, 0o644); err != nil {
		return nil, err
	}
	l := &Layout{dir}
	return l, l.SetIndex(v1.Index{})
}

// Open opens a layout that exists. The error matches [ErrNotLayout] when the
// directory is something else.
func Open(dir string) (*Layout, error) {
	b, err := os.ReadFile(filepath.Join(dir, v1.ImageLayoutFile))
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("%s: %w: it has no %s file", dir, ErrNotLayout, v1.ImageLayoutFile)
		}
		return nil, err
	}
	var v v1.ImageLayout
	if err := json.Unmarshal(b, &v); err != nil || v.Version != v1.ImageLayoutVersion {
		return nil, fmt.Errorf("%s: %w: version %q, want %s", dir, ErrNotLayout, v.Version, v1.ImageLayoutVersion)
	}
	return &Layout{dir}, nil
}

// Dir is the layout's directory.
func (l *Layout) Dir() string { return l.dir }

// BlobPath is where a blob is or would be.
func (l *Layout) BlobPath(d digest.Digest) string {
	return filepath.Join(l.dir, v1.ImageBlobsDir, d.Algorithm().String(), d.Encoded())
}

// Index reads index.json.
func (l *Layout) Index() (v1.Index, error) {
	var idx v1.Index
	b, err := os.ReadFile(filepath.Join(l.dir, v1.ImageIndexFile))
	if err != nil {
		return idx, err
	}
	if err := json.Unmarshal(b, &idx); err != nil {
		return idx, fmt.Errorf("%s: %w", filepath.Join(l.dir, v1.ImageIndexFile), err)
	}
	return idx, nil
}

// SetIndex replaces index.json in one step.
func (l *Layout) SetIndex(idx v1.Index) error {
	idx.Versioned = specs.Versioned{SchemaVersion: 2}
	idx.MediaType = v1.MediaTypeImageIndex
	if idx.Manifests == nil {
		idx.Manifests = []v1.Descriptor{}
	}
	b, err := json.Marshal(idx)
	if err != nil {
		return err
	}
	return atomicfile.Write(filepath.Join(l.dir, v1.ImageIndexFile), b, 0o644)
}

// PutJSON stores a manifest or configuration.
func (l *Layout) PutJSON(mediaType string, v any) (v1.Descriptor, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return v1.Descriptor{}, err
	}
	w, err := l.NewBlob()
	if err != nil {
		return v1.Descriptor{}, err
	}
	defer w.Abort()
	if _, err := w.Write(b); err != nil {
		return v1.Descriptor{}, err
	}
	d, n, err := w.Commit()
	return v1.Descriptor{MediaType: mediaType, Digest: d, Size: n}, err
}

// ReadJSON reads a blob into v and verifies its digest and size.
func (l *Layout) ReadJSON(d v1.Descriptor, v any) error {
	b, err := l.ReadBlob(d)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, v); err != nil {
		return fmt.Errorf("%s: %w", l.BlobPath(d.Digest), err)
	}
	return nil
}

// ReadBlob reads a small blob whole and verifies its digest and size.
func (l *Layout) ReadBlob(d v1.Descriptor) ([]byte, error) {
	if err := d.Digest.Validate(); err != nil {
		return nil, fmt.Errorf("digest %q: %w", d.Digest, err)
	}
	f, err := os.Open(l.BlobPath(d.Digest))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, MaxJSON+1))
	if err != nil {
		return nil, err
	}
	if len(b) > MaxJSON {
		return nil, fmt.Errorf("%s: larger than %d bytes", f.Name(), MaxJSON)
	}
	if d.Size > 0 && int64(len(b)) != d.Size {
		return nil, fmt.Errorf("%s: has %d bytes, its descriptor says %d", f.Name(), len(b), d.Size)
	}
	if got := digest.FromBytes(b); got != d.Digest {
		return nil, fmt.Errorf("%s: content is %s", f.Name(), got)
	}
	return b, nil
}

// Image reads a manifest and its configuration.
func (l *Layout) Image(d v1.Descriptor) (m v1.Manifest, c v1.Image, err error) {
	if err = l.ReadJSON(d, &m); err != nil {
		return m, c, fmt.Errorf("manifest: %w", err)
	}
	if err = l.ReadJSON(m.Config, &c); err != nil {
		return m, c, fmt.Errorf("config: %w", err)
	}
	return m, c, nil
}

// maxDepth bounds how deep indexes nest in each other.
const maxDepth = 8

// Images lists the image manifests of the layout, in index.json's order. It goes
// into the indexes that index.json names, as tools write them for images with
// several platforms, and leaves out attestations and other artifacts.
func (l *Layout) Images() ([]v1.Descriptor, error) {
	idx, err := l.Index()
	if err != nil {
		return nil, err
	}
	return l.images(idx, 0)
}

func (l *Layout) images(idx v1.Index, depth int) ([]v1.Descriptor, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("%s: indexes nest deeper than %d", l.dir, maxDepth)
	}
	var out []v1.Descriptor
	for _, d := range idx.Manifests {
		switch d.MediaType {
		case v1.MediaTypeImageIndex, "application/vnd.docker.distribution.manifest.list.v2+json":
			var nested v1.Index
			if err := l.ReadJSON(d, &nested); err != nil {
				return nil, fmt.Errorf("index: %w", err)
			}
			more, err := l.images(nested, depth+1)
			if err != nil {
				return nil, err
			}
			out = append(out, more...)
		case v1.MediaTypeImageManifest, "application/vnd.docker.distribution.manifest.v2+json":
			if !IsAttestation(d) {
				out = append(out, d)
			}
		}
	}
	return out, nil
}

// IsAttestation knows the manifests that stand beside images without being one,
// such as those BuildKit adds.
func IsAttestation(d v1.Descriptor) bool {
	return d.Annotations["vnd.docker.reference.type"] != "" || d.ArtifactType != "" ||
		d.Platform != nil && d.Platform.Architecture == "unknown"
}

// Manifest picks the one manifest of the layout for a platform. A descriptor
// without a platform object is judged by its image configuration.
func (l *Layout) Manifest(p pipelines.Platform) (v1.Descriptor, error) {
	images, err := l.Images()
	if err != nil {
		return v1.Descriptor{}, err
	}
	var found []v1.Descriptor
	for _, d := range images {
		q, err := l.platform(d)
		if err != nil {
			return v1.Descriptor{}, err
		}
		if q == p && !slices.ContainsFunc(found, func(f v1.Descriptor) bool { return f.Digest == d.Digest }) {
			found = append(found, d)
		}
	}
	switch len(found) {
	case 0:
		return v1.Descriptor{}, fmt.Errorf("%s: no image for %s", l.dir, p)
	case 1:
		return found[0], nil
	}
	return v1.Descriptor{}, fmt.Errorf("%s: %d images for %s; name one by its digest", l.dir, len(found), p)
}

// Platforms lists the platforms of the layout's images, in its order, each once.
func (l *Layout) Platforms() ([]pipelines.Platform, error) {
	images, err := l.Images()
	if err != nil {
		return nil, err
	}
	var out []pipelines.Platform
	for _, d := range images {
		p, err := l.platform(d)
		if err != nil {
			return nil, err
		}
		if !slices.Contains(out, p) {
			out = append(out, p)
		}
	}
	return out, nil
}

func (l *Layout) platform(d v1.Descriptor) (pipelines.Platform, error) {
	if d.Platform != nil {
		return FromPlatform(*d.Platform), nil
	}
	_, c, err := l.Image(d)
	if err != nil {
		return pipelines.Platform{}, err
	}
	return FromPlatform(c.Platform), nil
}

// FromPlatform converts from the image spec's type and normalises.
func FromPlatform(p v1.Platform) pipelines.Platform {
	return pipelines.Platform{OS: p.OS, Architecture: p.Architecture, Variant: p.Variant}.Normalize()
}

// ToPlatform converts to the image spec's type. The default variant v8 of arm64
// is written out, as registries and clients do.
func ToPlatform(p pipelines.Platform) v1.Platform {
	q := v1.Platform{OS: p.OS, Architecture: p.Architecture, Variant: p.Variant}
	if q.Architecture == "arm64" && q.Variant == "" {
		q.Variant = "v8"
	}
	return q
}

// Verify reads every blob below a manifest and compares digest and size.
func (l *Layout) Verify(d v1.Descriptor) error {
	m, _, err := l.Image(d)
	if err != nil {
		return err
	}
	for _, layer := range m.Layers {
		if err := l.verifyBlob(layer); err != nil {
			return err
		}
	}
	return nil
}

func (l *Layout) verifyBlob(d v1.Descriptor) error {
	if err := d.Digest.Validate(); err != nil {
		return fmt.Errorf("digest %q: %w", d.Digest, err)
	}
	f, err := os.Open(l.BlobPath(d.Digest))
	if err != nil {
		return err
	}
	defer f.Close()
	v := d.Digest.Verifier()
	n, err := io.Copy(v, f)
	if err != nil {
		return err
	}
	if n != d.Size || !v.Verified() {
		return fmt.Errorf("blob %s: content does not match its descriptor", d.Digest)
	}
	return nil
}
