package oci

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

type member struct{ name, data, link string }

func tarOf(t *testing.T, ms ...member) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, m := range ms {
		h := &tar.Header{Name: m.name, Size: int64(len(m.data)), Mode: 0o644, Typeflag: tar.TypeReg}
		if m.link != "" {
			h.Typeflag, h.Linkname, h.Size = tar.TypeSymlink, m.link, 0
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		w.Write([]byte(m.data))
	}
	w.Close()
	return b.Bytes()
}

// docker save's form before version 25: two equal layers are one file and a link.
func savedByDocker(t *testing.T) []member {
	layer := string(tarOf(t, member{name: "etc/motd", data: "hello"}))
	d := digest.FromString(layer)
	config, _ := json.Marshal(v1.Image{Platform: v1.Platform{OS: "linux", Architecture: "arm64"}, RootFS: v1.RootFS{Type: "layers", DiffIDs: []digest.Digest{d, d}}})
	return []member{{name: "aaa/layer.tar", data: layer}, {name: "bbb/layer.tar", link: "../aaa/layer.tar"}, {name: "conf.json", data: string(config)},
		{name: "../../etc/evil", data: "x"}, {name: "repositories", data: "{}"},
		{name: "manifest.json", data: `[{"Config":"conf.json","RepoTags":["x:1"],"Layers":["aaa/layer.tar","bbb/layer.tar"]}]`}}
}

func TestUnarchive(t *testing.T) {
	plain := tarOf(t, savedByDocker(t)...)
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	z.Write(plain)
	z.Close()
	for name, data := range map[string][]byte{"plain": plain, "gzip": zipped.Bytes()} {
		dir := t.TempDir()
		file := filepath.Join(dir, "image.tar")
		if err := os.WriteFile(file, data, 0o644); err != nil {
			t.Fatal(err)
		}
		l, err := Unarchive(t.Context(), file, filepath.Join(dir, "layout"))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		images, err := l.Images()
		if err != nil || len(images) != 1 || images[0].Platform.Architecture != "arm64" {
			t.Fatalf("%s: %v %v", name, images, err)
		}
		if err := l.Verify(images[0]); err != nil {
			t.Error(err)
		}
		if m, _, err := l.Image(images[0]); err != nil || len(m.Layers) != 2 || m.Layers[0].Digest != m.Layers[1].Digest {
			t.Errorf("%s: %+v %v", name, m, err)
		}
	}
}

func TestUnarchiveRefuses(t *testing.T) {
	whole := savedByDocker(t)
	for name, data := range map[string][]byte{
		"empty":          nil,
		"text":           bytes.Repeat([]byte("no archive\n"), 100),
		"other archive":  tarOf(t, member{name: "x", data: "y"}),
		"cut":            tarOf(t, whole...)[:1500],
		"layer missing":  tarOf(t, whole[2:]...),
		"link in a ring": tarOf(t, member{name: "aaa/layer.tar", link: "../bbb/layer.tar"}, member{name: "bbb/layer.tar", link: "../aaa/layer.tar"}, whole[2], whole[5]),
		"no JSON":        tarOf(t, member{name: "manifest.json", data: "["}),
		"no index":       tarOf(t, member{name: "index.json", data: "["}),
		"cut gzip":       {0x1f, 0x8b, 8, 0, 0},
	} {
		dir := t.TempDir()
		file := filepath.Join(dir, "image.tar")
		if err := os.WriteFile(file, data, 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := Unarchive(t.Context(), file, filepath.Join(dir, "layout")); !errors.Is(err, ErrNotLayout) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := Unarchive(t.Context(), filepath.Join(t.TempDir(), "none"), t.TempDir()); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}
