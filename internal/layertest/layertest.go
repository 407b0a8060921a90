// Package layertest makes layers and images by hand, for tests.
package layertest

import (
	"archive/tar"
	"bytes"
	"io"
	"testing"

	"github.com/cfbuild/cfbuild/internal/oci"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
	specs "github.com/opencontainers/image-spec/specs-go"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// Member is one member of an archive.
type Member struct {
	tar.Header
	Data string
}

// Tar writes an archive.
func Tar(t testing.TB, members ...Member) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, m := range members {
		h := m.Header
		h.Size = int64(len(m.Data))
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, m.Data); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// How a blob is compressed.
const (
	Plain = "tar"
	Gzip  = "tar+gzip"
	Zstd  = "tar+zstd"
)

// Blob stores an archive.
func Blob(t testing.TB, l *oci.Layout, archive []byte, how string) v1.Descriptor {
	t.Helper()
	w, err := l.NewBlob()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	var z io.WriteCloser
	switch how {
	case Gzip:
		z = gzip.NewWriter(w)
	case Zstd:
		if z, err = zstd.NewWriter(w); err != nil {
			t.Fatal(err)
		}
	default:
		z = nopCloser{w}
	}
	if _, err := z.Write(archive); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	d, n, err := w.Commit()
	if err != nil {
		t.Fatal(err)
	}
	return v1.Descriptor{MediaType: "application/vnd.oci.image.layer.v1." + how, Digest: d, Size: n}
}

type nopCloser struct{ io.Writer }

func (nopCloser) Close() error { return nil }

// Layout makes an empty layout.
func Layout(t testing.TB) *oci.Layout {
	t.Helper()
	l, err := oci.Create(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// Image makes an image of archives in a new layout, and names it in the index. The
// configuration lacks nothing but the layers.
func Image(t testing.TB, c v1.Image, how string, archives ...[]byte) (*oci.Layout, v1.Descriptor) {
	t.Helper()
	l := Layout(t)
	var layers []v1.Descriptor
	c.RootFS = v1.RootFS{Type: "layers", DiffIDs: []digest.Digest{}}
	for _, a := range archives {
		layers = append(layers, Blob(t, l, a, how))
		c.RootFS.DiffIDs = append(c.RootFS.DiffIDs, digest.FromBytes(a))
	}
	d := Put(t, l, c, layers)
	if err := l.SetIndex(v1.Index{Manifests: []v1.Descriptor{d}}); err != nil {
		t.Fatal(err)
	}
	return l, d
}

// Put stores a configuration and the manifest of an image with these layers.
func Put(t testing.TB, l *oci.Layout, c v1.Image, layers []v1.Descriptor) v1.Descriptor {
	t.Helper()
	cfg, err := l.PutJSON(v1.MediaTypeImageConfig, c)
	if err != nil {
		t.Fatal(err)
	}
	d, err := l.PutJSON(v1.MediaTypeImageManifest, v1.Manifest{Versioned: specs.Versioned{SchemaVersion: 2},
		MediaType: v1.MediaTypeImageManifest, Config: cfg, Layers: layers})
	if err != nil {
		t.Fatal(err)
	}
	return d
}
