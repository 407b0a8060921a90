package oci

import (
	"errors"
	"fmt"
	"os"
	"testing"

	"github.com/cfbuild/cfbuild/internal/oci"
	"github.com/cfbuild/cfbuild/internal/registrytest"
	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/cfbuild/cfbuild/publishers"
	"github.com/cfbuild/cfbuild/site"
)

func TestPull(t *testing.T) {
	r := registrytest.Start(t)
	p := New(fast(plain(r)))
	receipt, err := p.Push(t.Context(), makeBundle(t, "gzip", 5000, "linux/amd64", "linux/arm64"), "base", r.Host()+"/g/base", []string{"12"}, V2S2, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		ref, want string
		only      []pipelines.Platform
	}{
		{r.Host() + "/g/base:12", "[linux/amd64 linux/arm64]", nil},
		{r.Host() + "/g/base@" + receipt.Digest, "[linux/arm64]", []pipelines.Platform{platform(t, "linux/arm64")}},
	} {
		dir := t.TempDir()
		d, err := p.Pull(t.Context(), c.ref, dir, c.only)
		if err != nil || d != receipt.Digest {
			t.Fatalf("%s: %s, %v", c.ref, d, err)
		}
		l, err := oci.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		ps, err := l.Platforms()
		if err != nil || fmt.Sprint(ps) != c.want {
			t.Errorf("%s: %v, %v", c.ref, ps, err)
		}
		images, err := l.Images()
		if err != nil || len(images) == 0 {
			t.Fatal(err)
		}
		for _, d := range images {
			if err := l.Verify(d); err != nil {
				t.Error(err)
			}
		}
	}
	t.Run("one manifest through a mirror", func(t *testing.T) {
		part := makePart(t, "base", "linux/s390x", "zstd", 10)
		receipt, err := p.Push(t.Context(), part.Path, "base", r.Host()+"/lib/one", []string{"1"}, OCI, nil)
		if err != nil {
			t.Fatal(err)
		}
		o := fast(site.Site{Registries: []site.Registry{{Prefix: "registry.example.org", Location: "registry.example.org",
			Mirrors: []site.RegistryMirror{{Location: r.Host(), Insecure: true}}}}})
		if d, err := New(o).Pull(t.Context(), "registry.example.org/lib/one:1", t.TempDir(), nil); err != nil || d != receipt.Digest {
			t.Errorf("%s, %v", d, err)
		}
	})
}

func TestPullRefuses(t *testing.T) {
	r := registrytest.Start(t)
	o := fast(plain(r))
	o.Retries = -1
	p := New(o)
	if _, err := p.Push(t.Context(), makeBundle(t, "gzip", 5000, "linux/amd64"), "base", r.Host()+"/base", []string{"1"}, V2S2, nil); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		ref  string
		only []pipelines.Platform
	}{
		{r.Host() + "/base:2", nil},
		{r.Host() + "/base:1", []pipelines.Platform{platform(t, "linux/s390x")}},
		{"UPPER/case", nil},
	} {
		dir := t.TempDir()
		_, err := p.Pull(t.Context(), c.ref, dir, c.only)
		var pe *publishers.PublishError
		if !errors.As(err, &pe) || pe.Stage != "pull" {
			t.Errorf("%s: %v", c.ref, err)
		}
		if l, err := oci.Open(dir); err == nil {
			if ds, _ := l.Images(); len(ds) > 0 {
				t.Errorf("%s: an image is left", c.ref)
			}
		} else if !errors.Is(err, os.ErrNotExist) && !errors.Is(err, oci.ErrNotLayout) {
			t.Error(err)
		}
	}
}
