package deb_test

import (
	"testing"

	"github.com/cfbuild/cfbuild/bootstrap"
	"github.com/cfbuild/cfbuild/internal/oci"
	digest "github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// layerOf is the path of a root's one layer.
func layerOf(t testing.TB, root bootstrap.Root) string {
	t.Helper()
	l, err := oci.Open(root.Layout)
	if err != nil {
		t.Fatal(err)
	}
	m, _, err := l.Image(v1.Descriptor{MediaType: v1.MediaTypeImageManifest, Digest: digest.Digest(root.Digest), Size: manifestSize(t, l, root)})
	if err != nil {
		t.Fatal(err)
	}
	if len(m.Layers) != 1 {
		t.Fatalf("%d layers, not one", len(m.Layers))
	}
	return l.BlobPath(m.Layers[0].Digest)
}

func manifestSize(t testing.TB, l *oci.Layout, root bootstrap.Root) int64 {
	idx, err := l.Index()
	if err != nil {
		t.Fatal(err)
	}
	if len(idx.Manifests) != 1 || idx.Manifests[0].Digest.String() != root.Digest {
		t.Fatalf("index holds %v, not %s", idx.Manifests, root.Digest)
	}
	return idx.Manifests[0].Size
}
