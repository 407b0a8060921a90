package sif

import (
	"archive/tar"
	"context"
	"path/filepath"
	"testing"
	"time"

	"github.com/cfbuild/cfbuild/internal/layertest"
	"github.com/cfbuild/cfbuild/internal/oci"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

var stamp = time.Unix(1700000000, 0).UTC()

type entry = layertest.Member

func reg(name, body string) entry {
	return entry{Header: tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644, ModTime: stamp}, Data: body}
}

func dir(name string) entry {
	return entry{Header: tar.Header{Name: name, Typeflag: tar.TypeDir, Mode: 0o755, ModTime: stamp}}
}

func archive(t testing.TB, entries []entry) []byte { return layertest.Tar(t, entries...) }

// image writes a layout of one image.
func image(t testing.TB, c v1.Image, layers ...[]byte) (*oci.Layout, v1.Descriptor) {
	t.Helper()
	if c.OS == "" {
		c.OS = "linux"
	}
	if c.Architecture == "" {
		c.Architecture = "amd64"
	}
	c.Created = &stamp
	l, d := layertest.Image(t, c, layertest.Gzip, layers...)
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
