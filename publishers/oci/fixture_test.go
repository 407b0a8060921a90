package oci

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"io"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/cfbuild/cfbuild/internal/oci"
	"github.com/cfbuild/cfbuild/internal/registrytest"
	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/cfbuild/cfbuild/site"
	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

func platform(t testing.TB, s string) pipelines.Platform {
	t.Helper()
	p, err := pipelines.ParsePlatform(s)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// layerTar is a layer with one file named after the platform and one of size
// bytes that do not compress.
func layerTar(t testing.TB, name string, size int) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	noise := make([]byte, size)
	rand.NewChaCha8([32]byte([]byte("0123456789abcdef0123456789abcdef"))).Read(noise)
	for _, f := range []struct {
		name string
		data []byte
	}{{"platform", []byte(name + "\n")}, {"noise", noise}} {
		if err := w.WriteHeader(&tar.Header{Name: f.name, Size: int64(len(f.data)), Mode: 0o644, ModTime: time.Unix(1e9, 0)}); err != nil {
			t.Fatal(err)
		}
		w.Write(f.data)
	}
	w.Close()
	return buf.Bytes()
}

func putBlob(t testing.TB, l *oci.Layout, write func(io.Writer)) (digest.Digest, int64) {
	t.Helper()
	w, err := l.NewBlob()
	if err != nil {
		t.Fatal(err)
	}
	write(w)
	d, n, err := w.Commit()
	if err != nil {
		t.Fatal(err)
	}
	return d, n
}

// makePart writes what a builder gives: a layout with one image of two layers,
// the first the same for every platform. kind is "gzip", "zstd" or "tar".
func makePart(t testing.TB, target, plat, kind string, size int) pipelines.Artifact {
	t.Helper()
	p := platform(t, plat)
	dir := filepath.Join(t.TempDir(), target+"-"+p.Short())
	l, err := oci.Create(dir)
	if err != nil {
		t.Fatal(err)
	}
	m := v1.Manifest{MediaType: v1.MediaTypeImageManifest, Annotations: map[string]string{"org.example.note": "kept in OCI only"}}
	m.SchemaVersion = 2
	cfg := v1.Image{Platform: v1.Platform{OS: "linux", Architecture: p.Architecture, Variant: p.Variant}}
	cfg.RootFS.Type = "layers"
	cfg.Config.Cmd = []string{"/bin/true"}
	for _, layer := range [][]byte{layerTar(t, "common", 300), layerTar(t, plat, size)} {
		mediaType := v1.MediaTypeImageLayerGzip
		d, n := putBlob(t, l, func(w io.Writer) {
			switch kind {
			case "gzip":
				z := oci.NewGzipWriter(w)
				z.Write(layer)
				z.Close()
			case "zstd":
				mediaType = v1.MediaTypeImageLayerZstd
				z, _ := zstd.NewWriter(w)
				z.Write(layer)
				z.Close()
			case "tar":
				mediaType = v1.MediaTypeImageLayer
				w.Write(layer)
			}
		})
		m.Layers = append(m.Layers, v1.Descriptor{MediaType: mediaType, Digest: d, Size: n})
		cfg.RootFS.DiffIDs = append(cfg.RootFS.DiffIDs, digest.FromBytes(layer))
	}
	if m.Config, err = l.PutJSON(v1.MediaTypeImageConfig, cfg); err != nil {
		t.Fatal(err)
	}
	d, err := l.PutJSON(v1.MediaTypeImageManifest, m)
	if err != nil {
		t.Fatal(err)
	}
	q := oci.ToPlatform(p)
	d.Platform = &q
	if err := l.SetIndex(v1.Index{Manifests: []v1.Descriptor{d}}); err != nil {
		t.Fatal(err)
	}
	return pipelines.Artifact{Job: target + "-" + p.Short(), Target: target, Platform: p, Format: pipelines.FormatOCI, Path: dir,
		Digest: d.Digest.String(), Size: d.Size, MediaType: d.MediaType}
}

// makeBundle gives a layout with several platforms.
func makeBundle(t testing.TB, kind string, size int, platforms ...string) string {
	t.Helper()
	var parts []pipelines.Artifact
	for _, p := range platforms {
		parts = append(parts, makePart(t, "base", p, kind, size))
	}
	dir := filepath.Join(t.TempDir(), "base")
	if _, _, err := New(Options{}).Bundle(t.Context(), parts, dir); err != nil {
		t.Fatal(err)
	}
	return dir
}

// plain is a site that allows the registry plain HTTP.
func plain(rs ...*registrytest.Registry) site.Site {
	var s site.Site
	for _, r := range rs {
		s.Registries = append(s.Registries, site.Registry{Prefix: r.Host(), Insecure: true})
	}
	return s
}

// fast has short waits.
func fast(s site.Site) Options {
	return Options{Site: s, Backoff: time.Millisecond, AuthFile: "/proc/none"}
}

// log collects events.
type eventLog struct {
	mu     sync.Mutex
	events []pipelines.Event
}

func (l *eventLog) sink(e pipelines.Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.events = append(l.events, e)
}

// text is every event as JSON, for looking for what must not be there.
func (l *eventLog) text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	b, _ := json.Marshal(l.events)
	return string(b)
}

func (l *eventLog) last(kind pipelines.EventKind) (pipelines.Event, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := len(l.events) - 1; i >= 0; i-- {
		if l.events[i].Kind == kind {
			return l.events[i], true
		}
	}
	return pipelines.Event{}, false
}
