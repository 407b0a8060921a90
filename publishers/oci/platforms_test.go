package oci

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/cfbuild/cfbuild/internal/registrytest"
	"github.com/cfbuild/cfbuild/site"
)

func TestPlatforms(t *testing.T) {
	r := registrytest.Start(t)
	p := New(fast(plain(r)))
	receipt, err := p.Push(t.Context(), makeBundle(t, "gzip", 10, "linux/s390x", "linux/arm/v5", "linux/amd64"), "base",
		r.Host()+"/g/base", []string{"12"}, V2S2, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := "[linux/amd64 linux/arm/v5 linux/s390x]"
	for _, ref := range []string{r.Host() + "/g/base:12", r.Host() + "/g/base@" + receipt.Digest} {
		ps, d, err := p.Platforms(t.Context(), ref)
		if err != nil || fmt.Sprint(ps) != want || d != receipt.Digest {
			t.Errorf("%s: %v %s %v", ref, ps, d, err)
		}
	}
	t.Run("one manifest", func(t *testing.T) {
		part := makePart(t, "base", "linux/arm64", "gzip", 10)
		if _, err := p.Push(t.Context(), part.Path, "base", r.Host()+"/one", nil, OCI, nil); err != nil {
			t.Fatal(err)
		}
		ps, d, err := p.Platforms(t.Context(), r.Host()+"/one@"+part.Digest)
		if err != nil || fmt.Sprint(ps) != "[linux/arm64]" || d != part.Digest {
			t.Errorf("%v %s %v", ps, d, err)
		}
	})
	t.Run("mirrors", func(t *testing.T) {
		dead := registrytest.Start(t)
		dead.Die()
		empty := registrytest.Start(t)
		o := fast(site.Site{Registries: []site.Registry{{Prefix: "registry.example.org/lib", Location: "registry.example.org/unreachable",
			Mirrors: []site.RegistryMirror{{Location: dead.Host() + "/cache", Insecure: true}, {Location: empty.Host(), Insecure: true},
				{Location: r.Host() + "/g", Insecure: true}}}}})
		o.Retries = 1
		ps, d, err := New(o).Platforms(t.Context(), "registry.example.org/lib/base:12")
		if err != nil || fmt.Sprint(ps) != want || d != receipt.Digest {
			t.Errorf("%v %s %v", ps, d, err)
		}
		if empty.Count("GET", "/v2/base/manifests/12", "") == 0 {
			t.Error("the second mirror was not asked")
		}
	})
	t.Run("location", func(t *testing.T) {
		o := fast(site.Site{Registries: []site.Registry{{Prefix: "docker.io", Location: r.Host() + "/mirror", Insecure: true}}})
		if _, err := p.Push(t.Context(), makeBundle(t, "gzip", 10, "linux/386"), "x", r.Host()+"/mirror/library/debian", []string{"latest"}, V2S2, nil); err != nil {
			t.Fatal(err)
		}
		ps, _, err := New(o).Platforms(t.Context(), "debian")
		if err != nil || fmt.Sprint(ps) != "[linux/386]" {
			t.Errorf("%v %v", ps, err)
		}
	})
	t.Run("unknown", func(t *testing.T) {
		_, _, err := p.Platforms(t.Context(), r.Host()+"/g/base:13")
		pe := publishError(t, err)
		if pe.Stage != "inspect" || !strings.Contains(err.Error(), r.Host()+"/g/base") || pe.Hint() == "" {
			t.Errorf("stage %q, error %v, hint %q", pe.Stage, err, pe.Hint())
		}
		if _, _, err := p.Platforms(t.Context(), "UPPER"); err == nil {
			t.Error("no error")
		}
	})
}

func TestEndpointsTakeTheLongestPrefix(t *testing.T) {
	s := site.Site{Registries: []site.Registry{
		{Prefix: "quay.io", Mirrors: []site.RegistryMirror{{Location: "a.example"}}},
		{Prefix: "quay.io/centos", Mirrors: []site.RegistryMirror{{Location: "b.example:5000/c"}}},
		{Prefix: "quay.io/cent", Mirrors: []site.RegistryMirror{{Location: "c.example"}}},
	}}
	repo, err := parseRepository("quay.io/centos/stream9")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range New(Options{Site: s}).endpoints(repo) {
		got = append(got, e.ref.String())
	}
	if want := []string{"b.example:5000/c/stream9", "quay.io/centos/stream9"}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}
