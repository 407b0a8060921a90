package lint

import (
	"archive/tar"
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cfbuild/cfbuild/internal/oci"
	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// today is the day the tests judge ends of life by.
var today = time.Date(2026, 11, 29, 0, 0, 0, 0, time.UTC)

// entry is one path of a layer; a name that ends in / is a directory.
type entry struct {
	name, data, link, hard string
	mode                   int64
	uid, gid               int
	xattr, dev             bool
}

// bad is an image in the making: a sound one to plant a fault in.
type bad struct {
	layers  [][]entry
	config  v1.Image
	history []v1.History
	notes   map[string]string
}

const (
	passwd    = "root:x:0:0:root:/root:/bin/sh\ndaemon:x:1:1::/:/usr/sbin/nologin\napp:x:999:999::/opt/app:/usr/sbin/nologin\n"
	group     = "root:x:0:\ndaemon:x:1:\nshadow:x:42:\napp:x:999:\n"
	osRelease = "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nID=debian\nVERSION_ID=\"12\"\n"
)

// sound is an image that no rule finds anything in.
func sound() *bad {
	b := &bad{layers: [][]entry{{
		{name: "etc/"}, {name: "etc/passwd", data: passwd}, {name: "etc/group", data: group},
		{name: "etc/shadow", data: "root:*:19000:0:99999:7:::\napp:!:19000::::::\n", mode: 0o640, gid: 42},
		{name: "etc/os-release", data: osRelease}, {name: "home/"}, {name: "tmp/", mode: 0o1777},
		{name: "usr/bin/sh", data: "\x7fELF\x00shell", mode: 0o755}, {name: "usr/bin/su", data: "\x7fELF\x00su", mode: 0o4755},
		{name: "opt/app/run", data: "\x7fELF\x00app", mode: 0o755, uid: 999, gid: 999},
		{name: "usr/share/doc/openssl/key.pem", data: privateKey()}, // an example of a manual
	}}}
	b.config.Platform = v1.Platform{OS: "linux", Architecture: "amd64"}
	b.config.Config = v1.ImageConfig{User: "app", Entrypoint: []string{"/opt/app/run"}, Env: []string{"PATH=/usr/local/bin:/usr/bin:/bin"},
		Labels: map[string]string{}}
	for _, k := range []string{"title", "description", "version", "source", "revision", "documentation"} {
		b.config.Config.Labels[ociLabel+k] = "x"
	}
	b.config.Config.Labels[ociLabel+"licenses"] = "MIT AND (GPL-2.0-or-later OR BSD-3-Clause)"
	return b
}

// add puts files into the first layer, top into a new one on top.
func (b *bad) add(es ...entry) { b.layers[0] = append(b.layers[0], es...) }
func (b *bad) top(es ...entry) { b.layers = append(b.layers, es) }

// write makes the layout.
func (b *bad) write(t testing.TB) (*oci.Layout, v1.Descriptor) {
	t.Helper()
	l, err := oci.Create(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	m := v1.Manifest{MediaType: v1.MediaTypeImageManifest, Layers: []v1.Descriptor{}, Annotations: b.notes}
	m.SchemaVersion = 2
	b.config.RootFS = v1.RootFS{Type: "layers"}
	for _, es := range b.layers {
		plain := archive(t, es)
		w, err := l.NewBlob()
		if err != nil {
			t.Fatal(err)
		}
		z := oci.NewGzipWriter(w)
		z.Write(plain)
		z.Close()
		d, n, err := w.Commit()
		if err != nil {
			t.Fatal(err)
		}
		m.Layers = append(m.Layers, v1.Descriptor{MediaType: v1.MediaTypeImageLayerGzip, Digest: d, Size: n})
		b.config.RootFS.DiffIDs = append(b.config.RootFS.DiffIDs, digest.FromBytes(plain))
		if b.history == nil {
			b.config.History = append(b.config.History, v1.History{CreatedBy: "RUN make"})
		}
	}
	if b.history != nil {
		b.config.History = b.history
	}
	if m.Config, err = l.PutJSON(v1.MediaTypeImageConfig, b.config); err != nil {
		t.Fatal(err)
	}
	d, err := l.PutJSON(v1.MediaTypeImageManifest, m)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.SetIndex(v1.Index{Manifests: []v1.Descriptor{d}}); err != nil {
		t.Fatal(err)
	}
	return l, d
}

func archive(t testing.TB, es []entry) []byte {
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for _, e := range es {
		h := &tar.Header{Name: e.name, Mode: e.mode, Uid: e.uid, Gid: e.gid, Typeflag: tar.TypeReg, Size: int64(len(e.data)), Format: tar.FormatPAX}
		switch {
		case e.link != "":
			h.Typeflag, h.Linkname = tar.TypeSymlink, e.link
		case e.hard != "":
			h.Typeflag, h.Linkname = tar.TypeLink, e.hard
		case e.dev:
			h.Typeflag, h.Devmajor, h.Devminor = tar.TypeChar, 1, 3
		case strings.HasSuffix(e.name, "/"):
			h.Typeflag = tar.TypeDir
			if h.Mode == 0 {
				h.Mode = 0o755
			}
		}
		if h.Mode == 0 {
			h.Mode = 0o644
		}
		if e.xattr {
			h.PAXRecords = map[string]string{"SCHILY.xattr.security.capability": "\x01\x00\x00\x02"}
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if h.Typeflag == tar.TypeReg {
			w.Write([]byte(e.data))
		}
	}
	w.Close()
	return buf.Bytes()
}

// privateKey makes a key: none may be in the source.
func privateKey() string {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		panic(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

// letters are n letters and digits that stand for what a service would make up.
func letters(n int) string { return strings.Repeat("aB3dE6gH", n/8+1)[:n] }

// rulesOf gives the ids of findings, each once, sorted.
func rulesOf(fs []Finding) []string {
	out := []string{}
	for _, f := range fs {
		if !slices.Contains(out, f.Rule) {
			out = append(out, f.Rule)
		}
	}
	slices.Sort(out)
	return out
}

func amd64() pipelines.Platform { return pipelines.Platform{OS: "linux", Architecture: "amd64"} }
