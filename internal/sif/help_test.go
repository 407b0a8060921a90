package sif

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"io"
	"path/filepath"
	"testing"
	"time"

	"github.com/cfbuild/cfbuild/internal/oci"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

var stamp = time.Unix(1700000000, 0).UTC()

// entry is a tar header with content.
type entry struct {
	tar.Header
	body string
}

func reg(name, body string) entry {
	return entry{tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644, ModTime: stamp}, body}
}

func dir(name string) entry {
	return entry{tar.Header{Name: name, Typeflag: tar.TypeDir, Mode: 0o755, ModTime: stamp}, ""}
}

func archive(t testing.TB, entries []entry) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		e.Size = int64(len(e.body))
		if err := w.WriteHeader(&e.Header); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, e.body); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// image writes a layout of one image.
func image(t testing.TB, c v1.Image, layers ...[]byte) (*oci.Layout, v1.Descriptor) {
	t.Helper()
	l, err := oci.Create(filepath.Join(t.TempDir(), "layout"))
	if err != nil {
		t.Fatal(err)
	}
	if c.OS == "" {
		c.OS = "linux"
	}
	if c.Architecture == "" {
		c.Architecture = "amd64"
	}
	c.Created = &stamp
	c.RootFS.Type = "layers"
	m := v1.Manifest{MediaType: v1.MediaTypeImageManifest}
	m.SchemaVersion = 2
	for _, plain := range layers {
		w, err := l.NewBlob()
		if err != nil {
			t.Fatal(err)
		}
		z := gzip.NewWriter(w)
		if _, err := z.Write(plain); err != nil {
			t.Fatal(err)
		}
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
		d, n, err := w.Commit()
		if err != nil {
			t.Fatal(err)
		}
		m.Layers = append(m.Layers, v1.Descriptor{MediaType: v1.MediaTypeImageLayerGzip, Digest: d, Size: n})
		c.RootFS.DiffIDs = append(c.RootFS.DiffIDs, digest.FromBytes(plain))
	}
	if m.Config, err = l.PutJSON(v1.MediaTypeImageConfig, c); err != nil {
		t.Fatal(err)
	}
	d, err := l.PutJSON(v1.MediaTypeImageManifest, m)
	if err != nil {
		t.Fatal(err)
	}
	d.Annotations = map[string]string{v1.AnnotationRefName: "a"}
	if err := l.SetIndex(v1.Index{Manifests: []v1.Descriptor{d}}); err != nil {
		t.Fatal(err)
	}
	return l, d
}

func converted(t testing.TB, l *oci.Layout, d v1.Descriptor, o Options) (string, Result) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "image.sif")
	r, err := Convert(context.Background(), l, d, path, o)
	if err != nil {
		t.Fatal(err)
	}
	return path, r
}
