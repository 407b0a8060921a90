package oci

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/cfbuild/cfbuild/internal/oci"
	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"go.podman.io/image/v5/manifest"
)

// form is how an image's manifest and layers are written.
type form struct {
	name             string
	manifest, config string
	list             string
	gzip, zstd, tar  string // layer media types; empty: gzip is used instead
}

func formOf(name string) (form, error) {
	switch name {
	case "", V2S2:
		return form{name: V2S2, manifest: manifest.DockerV2Schema2MediaType, config: manifest.DockerV2Schema2ConfigMediaType,
			list: manifest.DockerV2ListMediaType, gzip: manifest.DockerV2Schema2LayerMediaType}, nil
	case OCI:
		return form{name: OCI, manifest: v1.MediaTypeImageManifest, config: v1.MediaTypeImageConfig,
			list: v1.MediaTypeImageIndex, gzip: v1.MediaTypeImageLayerGzip, zstd: v1.MediaTypeImageLayerZstd,
			tar: v1.MediaTypeImageLayer}, nil
	}
	return form{}, fmt.Errorf("media type %q is unknown: use %s or %s", name, V2S2, OCI)
}

// layerKind reads a layer's media type: "gzip", "zstd" or "tar".
func layerKind(mediaType string) (string, error) {
	switch mediaType {
	case v1.MediaTypeImageLayerGzip, manifest.DockerV2Schema2LayerMediaType, manifest.DockerV2Schema2ForeignLayerMediaTypeGzip,
		"application/vnd.oci.image.layer.nondistributable.v1.tar+gzip":
		return "gzip", nil
	case v1.MediaTypeImageLayerZstd, "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd",
		"application/vnd.docker.image.rootfs.diff.tar.zstd":
		return "zstd", nil
	case v1.MediaTypeImageLayer, manifest.DockerV2SchemaLayerMediaTypeUncompressed, manifest.DockerV2Schema2ForeignLayerMediaType,
		"application/vnd.oci.image.layer.nondistributable.v1.tar":
		return "tar", nil
	}
	return "", fmt.Errorf("layer media type %q is not one of an image", mediaType)
}

// converted is one platform's image as it is sent.
type converted struct {
	image
	desc     v1.Descriptor // with platform
	manifest []byte
	config   piece
	layers   []piece
}

// scratch is a layout that takes recompressed layers; it is made when needed.
type scratch struct {
	parent string
	l      *oci.Layout
}

func (s *scratch) layout() (*oci.Layout, error) {
	if s.l == nil {
		dir, err := os.MkdirTemp(s.parent, "cfbuild-publish-")
		if err != nil {
			return nil, err
		}
		if s.l, err = oci.Create(dir); err != nil {
			os.RemoveAll(dir)
			return nil, err
		}
	}
	return s.l, nil
}

func (s *scratch) remove() {
	if s.l != nil {
		os.RemoveAll(s.l.Dir())
	}
}

// convert writes an image in a form. Where nothing has to change the manifest
// keeps its bytes and so its digest.
func convert(ctx context.Context, m image, f form, s *scratch) (converted, error) {
	c := converted{image: m}
	changed := m.desc.MediaType != f.manifest || m.manifest.Config.MediaType != f.config
	switch m.manifest.Config.MediaType {
	case v1.MediaTypeImageConfig, manifest.DockerV2Schema2ConfigMediaType:
	default:
		return c, fmt.Errorf("%s: configuration media type %q is not one of an image", m.platform, m.manifest.Config.MediaType)
	}
	config := m.manifest.Config
	c.config = piece{config.Digest, config.Size, m.layout.BlobPath(config.Digest), f.config}
	for i, d := range m.manifest.Layers {
		kind, err := layerKind(d.MediaType)
		if err != nil {
			return c, fmt.Errorf("%s: layer %d: %w", m.platform, i+1, err)
		}
		p := piece{d.Digest, d.Size, m.layout.BlobPath(d.Digest), f.gzip}
		switch {
		case kind == "zstd" && f.zstd != "":
			p.mediaType = f.zstd
		case kind == "tar" && f.tar != "":
			p.mediaType = f.tar
		case kind != "gzip":
			if p, err = recompress(ctx, p, kind, m.config.RootFS.DiffIDs[i], s); err != nil {
				return c, fmt.Errorf("%s: layer %d: %w", m.platform, i+1, err)
			}
			p.mediaType = f.gzip
		}
		if st, err := os.Stat(p.path); err != nil {
			return c, fmt.Errorf("%s: layer %d: %w", m.platform, i+1, err)
		} else if st.Size() != p.size {
			return c, fmt.Errorf("%s: layer %d: %s has %d bytes, the manifest says %d", m.platform, i+1, p.path, st.Size(), p.size)
		}
		changed = changed || p.mediaType != d.MediaType
		c.layers = append(c.layers, p)
	}
	var err error
	switch {
	case !changed:
		c.manifest, err = m.layout.ReadBlob(m.desc)
	case f.name == V2S2:
		c.manifest, err = dockerManifest(c)
	default:
		c.manifest, err = ociManifest(c)
	}
	if err != nil {
		return c, fmt.Errorf("%s: manifest: %w", m.platform, err)
	}
	c.desc = v1.Descriptor{MediaType: f.manifest, Digest: digest.FromBytes(c.manifest), Size: int64(len(c.manifest)), Platform: m.desc.Platform}
	return c, nil
}

func dockerManifest(c converted) ([]byte, error) {
	desc := func(p piece) manifest.Schema2Descriptor {
		return manifest.Schema2Descriptor{MediaType: p.mediaType, Size: p.size, Digest: p.digest}
	}
	layers := []manifest.Schema2Descriptor{}
	for _, p := range c.layers {
		layers = append(layers, desc(p))
	}
	return manifest.Schema2FromComponents(desc(c.config), layers).Serialize()
}

func ociManifest(c converted) ([]byte, error) {
	m := c.image.manifest
	m.SchemaVersion, m.MediaType = 2, v1.MediaTypeImageManifest
	m.Config.MediaType = c.config.mediaType
	m.Layers = nil
	for i, p := range c.layers {
		m.Layers = append(m.Layers, v1.Descriptor{MediaType: p.mediaType, Digest: p.digest, Size: p.size,
			Annotations: c.image.manifest.Layers[i].Annotations})
	}
	return json.Marshal(m)
}

// list joins converted images into a manifest list or index.
func list(cs []converted, f form) ([]byte, error) {
	if f.name == OCI {
		var ds []v1.Descriptor
		for _, c := range cs {
			ds = append(ds, c.desc)
		}
		return json.Marshal(indexOf(ds))
	}
	var ds []manifest.Schema2ManifestDescriptor
	for _, c := range cs {
		p := c.desc.Platform
		ds = append(ds, manifest.Schema2ManifestDescriptor{
			Schema2Descriptor: manifest.Schema2Descriptor{MediaType: c.desc.MediaType, Size: c.desc.Size, Digest: c.desc.Digest},
			Platform: manifest.Schema2PlatformSpec{Architecture: p.Architecture, OS: p.OS, Variant: p.Variant,
				OSVersion: p.OSVersion, OSFeatures: p.OSFeatures}})
	}
	return manifest.Schema2ListFromComponents(ds).Serialize()
}

// recompress gives a layer as gzip and checks what it holds against its diff_id.
func recompress(ctx context.Context, p piece, kind string, diffID digest.Digest, s *scratch) (piece, error) {
	l, err := s.layout()
	if err != nil {
		return p, err
	}
	f, err := os.Open(p.path)
	if err != nil {
		return p, err
	}
	defer f.Close()
	plain, closePlain, err := decompressor(kind, f)
	if err != nil {
		return p, err
	}
	defer closePlain()
	w, err := l.NewBlob()
	if err != nil {
		return p, err
	}
	defer w.Abort()
	z := oci.NewGzipWriter(w)
	sum := digest.SHA256.Digester()
	_, err = io.Copy(io.MultiWriter(z, sum.Hash()), ctxReader{ctx, plain})
	if cerr := z.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return p, fmt.Errorf("%s to gzip: %w", kind, err)
	}
	if sum.Digest() != diffID {
		return p, fmt.Errorf("%s: its content is %s, the configuration says %s", p.path, sum.Digest(), diffID)
	}
	d, n, err := w.Commit()
	return piece{digest: d, size: n, path: l.BlobPath(d)}, err
}

func decompressor(kind string, r io.Reader) (io.Reader, func(), error) {
	switch kind {
	case "zstd":
		z, err := zstd.NewReader(r)
		if err != nil {
			return nil, nil, err
		}
		return z, z.Close, nil
	case "tar":
		return r, func() {}, nil
	}
	return nil, nil, errors.New("unknown compression " + kind)
}

// ctxReader ends reading when its context does.
type ctxReader struct {
	ctx context.Context
	r   io.Reader
}

func (c ctxReader) Read(p []byte) (int, error) {
	if err := context.Cause(c.ctx); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}
