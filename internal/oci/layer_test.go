package oci_test

import (
	"archive/tar"
	"bytes"
	"encoding/base64"
	"errors"
	"io"
	"os"
	"testing"

	"github.com/cfbuild/cfbuild/internal/layertest"
	"github.com/cfbuild/cfbuild/internal/oci"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// bzipped is "hello\n".
const bzipped = "QlpoOTFBWSZTWcHAgOIAAAFBAAAQAkSgADDNAMNGKZcXckU4UJDBwIDi"

func TestDecompress(t *testing.T) {
	hello, err := base64.StdEncoding.DecodeString(bzipped)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ in, want string }{
		"bzip2": {string(hello), "hello\n"},
		"name":  {"BZh9 is a name", "BZh9 is a name"},
		"short": {"BZ", "BZ"},
		"empty": {"", ""},
	} {
		r, err := oci.Decompress(bytes.NewReader([]byte(c.in)))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		got, err := io.ReadAll(r)
		if err != nil || string(got) != c.want {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}

func TestOpenLayer(t *testing.T) {
	archive := layertest.Tar(t, layertest.Member{Header: tar.Header{Name: "x", Typeflag: tar.TypeReg}, Data: "1"})
	id := digest.FromBytes(archive)
	for _, how := range []string{layertest.Plain, layertest.Gzip, layertest.Zstd} {
		l := layertest.Layout(t)
		d := layertest.Blob(t, l, archive, how)
		for name, c := range map[string]struct {
			d    v1.Descriptor
			diff digest.Digest
			bad  bool
		}{
			"right":   {d, id, false},
			"unknown": {d, "", false},
			"size":    {v1.Descriptor{Digest: d.Digest, Size: d.Size + 1}, id, true},
			"diff ID": {d, digest.FromString("x"), true},
			"no diff": {d, "sha256:..", true},
			"digest":  {v1.Descriptor{Digest: "sha256:../../x", Size: d.Size}, "", true},
		} {
			err := read(l, c.d, c.diff, archive)
			if errors.Is(err, oci.ErrCorrupt) != c.bad || (!c.bad && err != nil) {
				t.Errorf("%s, %s: %v", how, name, err)
			}
		}
		if err := os.WriteFile(l.BlobPath(d.Digest), nil, 0o644); err != nil {
			t.Fatal(err)
		}
		if err := read(l, d, "", nil); !errors.Is(err, oci.ErrCorrupt) {
			t.Errorf("%s, empty: %v", how, err)
		}
	}
}

// read reads half of a layer, and leaves the rest to Finish.
func read(l *oci.Layout, d v1.Descriptor, diff digest.Digest, want []byte) error {
	r, err := l.OpenLayer(d, diff)
	if err != nil {
		return err
	}
	defer r.Close()
	half := make([]byte, len(want)/2)
	if _, err := io.ReadFull(r, half); err != nil {
		return err
	}
	if !bytes.Equal(half, want[:len(half)]) {
		return errors.New("other content")
	}
	if err := r.Finish(); err != nil {
		return err
	}
	if r.DiffID() != digest.FromBytes(want) || r.Bytes() != int64(len(want)) {
		return errors.New("wrong diff ID or length")
	}
	return nil
}
