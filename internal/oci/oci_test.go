package oci

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// sample is half noise and half repetition, n bytes.
func sample(n int) []byte {
	r := rand.New(rand.NewPCG(1, 2))
	b := make([]byte, 0, n)
	for len(b) < n {
		if r.IntN(2) == 0 || len(b) < 100 {
			for range r.IntN(300) {
				b = append(b, byte(r.IntN(256)))
			}
			continue
		}
		from := r.IntN(len(b) - 50)
		b = append(b, b[from:from+r.IntN(50)]...)
	}
	return b[:n]
}

func compress(t testing.TB, in []byte, chunk int) []byte {
	t.Helper()
	var out bytes.Buffer
	z := NewGzipWriter(&out)
	for len(in) > 0 {
		n := min(chunk, len(in))
		if _, err := z.Write(in[:n]); err != nil {
			t.Fatal(err)
		}
		in = in[n:]
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestGzipRoundTripAndDeterminism(t *testing.T) {
	for _, n := range []int{0, 1, window, blockSize - 1, blockSize, blockSize + 1, 5*blockSize + 12345} {
		in := sample(n)
		want := compress(t, in, 4096)
		r, err := gzip.NewReader(bytes.NewReader(want))
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(r)
		if err != nil || !bytes.Equal(got, in) {
			t.Fatalf("%d bytes do not come back: %v", n, err)
		}
		for _, procs := range []int{1, 2, 7} {
			old := runtime.GOMAXPROCS(procs)
			again := compress(t, in, 999983)
			runtime.GOMAXPROCS(old)
			if !bytes.Equal(want, again) {
				t.Errorf("%d bytes: output differs with %d processors", n, procs)
			}
		}
	}
}

type full struct{ left int }

func (f *full) Write(p []byte) (int, error) {
	if f.left -= len(p); f.left < 0 {
		return 0, errors.New("disk full")
	}
	return len(p), nil
}

func TestGzipReportsWriteErrors(t *testing.T) {
	z := NewGzipWriter(&full{left: 1000})
	in := sample(8 * blockSize)
	_, werr := z.Write(in)
	if cerr := z.Close(); werr == nil && cerr == nil {
		t.Fatal("a full disk went unnoticed")
	}
}

func TestLayout(t *testing.T) {
	dir := t.TempDir()
	if _, err := Open(dir); !errors.Is(err, ErrNotLayout) {
		t.Fatalf("an empty directory: %v", err)
	}
	l, err := Create(dir)
	if err != nil {
		t.Fatal(err)
	}
	p := pipelines.Platform{OS: "linux", Architecture: "arm64"}
	config, err := l.PutJSON(v1.MediaTypeImageConfig, v1.Image{Platform: ToPlatform(p)})
	if err != nil {
		t.Fatal(err)
	}
	m, err := l.PutJSON(v1.MediaTypeImageManifest, v1.Manifest{Config: config})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.SetIndex(v1.Index{Manifests: []v1.Descriptor{m}}); err != nil {
		t.Fatal(err)
	}
	l, err = Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	got, err := l.Manifest(p)
	if err != nil || got.Digest != m.Digest {
		t.Fatalf("manifest for %s: %v %v", p, got.Digest, err)
	}
	if _, err := l.Manifest(pipelines.Platform{OS: "linux", Architecture: "s390x"}); err == nil {
		t.Fatal("found an image that is not there")
	}
	if err := l.Verify(m); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(l.BlobPath(config.Digest), []byte("{}"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := l.Verify(m); err == nil {
		t.Fatal("a changed configuration passed verification")
	}
}

func TestLayoutOfSeveralPlatforms(t *testing.T) {
	// As cfbuild, buildx and skopeo write it: index.json names one index.
	l, err := Create(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	var ds []v1.Descriptor
	for _, arch := range []string{"amd64", "arm64"} {
		p := v1.Platform{OS: "linux", Architecture: arch}
		cfg, err := l.PutJSON(v1.MediaTypeImageConfig, v1.Image{Platform: p})
		if err != nil {
			t.Fatal(err)
		}
		d, err := l.PutJSON(v1.MediaTypeImageManifest, v1.Manifest{Config: cfg})
		if err != nil {
			t.Fatal(err)
		}
		if arch == "amd64" {
			d.Platform = &p // the other is judged by its configuration
		}
		ds = append(ds, d)
	}
	attestation := ds[0]
	attestation.Platform = &v1.Platform{OS: "unknown", Architecture: "unknown"}
	nested, err := l.PutJSON(v1.MediaTypeImageIndex, v1.Index{Manifests: append(ds, attestation)})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.SetIndex(v1.Index{Manifests: []v1.Descriptor{nested}}); err != nil {
		t.Fatal(err)
	}
	ps, err := l.Platforms()
	if err != nil || len(ps) != 2 || ps[0].String() != "linux/amd64" || ps[1].String() != "linux/arm64" {
		t.Errorf("platforms %v, %v", ps, err)
	}
	for i, p := range ps {
		if d, err := l.Manifest(p); err != nil || d.Digest != ds[i].Digest {
			t.Errorf("%s: %v, %v", p, d, err)
		}
	}
	if _, err := l.Manifest(pipelines.Platform{OS: "linux", Architecture: "s390x"}); err == nil {
		t.Error("found an image for s390x")
	}
}

func TestLinkBlobChecksCopies(t *testing.T) {
	l, err := Create(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	w, err := l.NewBlob()
	if err != nil {
		t.Fatal(err)
	}
	w.Write([]byte("x"))
	w.Abort()
	left, _ := os.ReadDir(filepath.Dir(l.BlobPath(digest.FromString("x"))))
	if len(left) != 0 {
		t.Fatalf("an aborted blob left %v", left)
	}
}

func BenchmarkGzip(b *testing.B) {
	in := sample(64 << 20)
	b.SetBytes(int64(len(in)))
	for b.Loop() {
		z := NewGzipWriter(io.Discard)
		z.Write(in)
		z.Close()
	}
}
