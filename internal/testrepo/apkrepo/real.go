package apkrepo

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/cfbuild/cfbuild/internal/testneed"
)

// What is Alpine's own is not part of this repository, and tests fetch it from nowhere:
// who has it names it.
const (
	// ImageVariable names an image of Alpine for x86_64 as docker save writes it, plain
	// or compressed with gzip.
	ImageVariable = "CFBUILD_TEST_ALPINE"
	// IndexVariable names an APKINDEX.tar.gz of main of one of Alpine's branches for
	// x86_64, with Alpine's signature.
	IndexVariable = "CFBUILD_TEST_APKINDEX"
)

// RealIndex is main of one of Alpine's branches, with Alpine's own signature; without
// one the test is skipped.
func RealIndex(t testing.TB) []byte {
	t.Helper()
	data, err := os.ReadFile(testneed.Named(t, IndexVariable, "an APKINDEX.tar.gz of Alpine's main for x86_64"))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

var image struct {
	sync.Mutex
	root []Entry // every path of the image
}

// Root gives every path of the image of Alpine, without leading slashes; without one
// the test is skipped.
func Root(t testing.TB) []Entry {
	t.Helper()
	image.Lock()
	defer image.Unlock()
	if image.root != nil {
		return image.root
	}
	name := testneed.Named(t, ImageVariable, "an image of Alpine for x86_64, as docker save writes it")
	data, err := os.ReadFile(name)
	if err == nil {
		image.root, err = readImage(data)
	}
	if err != nil {
		t.Fatalf("%s=%s: %v", ImageVariable, name, err)
	}
	return image.root
}

// unzip takes one compression with gzip off, where there is one.
func unzip(data []byte) ([]byte, error) {
	if !bytes.HasPrefix(data, []byte{0x1f, 0x8b}) {
		return data, nil
	}
	z, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(z)
}

// readImage reads the one layer of an image.
func readImage(data []byte) ([]Entry, error) {
	data, err := unzip(data)
	if err != nil {
		return nil, err
	}
	files, err := readTar(data)
	if err != nil {
		return nil, err
	}
	var list []struct{ Layers []string }
	if err := json.Unmarshal(lookup(files, "manifest.json").Data, &list); err != nil {
		return nil, fmt.Errorf("manifest.json: %w", err)
	}
	if len(list) != 1 || len(list[0].Layers) != 1 {
		return nil, errors.New("not one image with one layer, as Alpine's own is")
	}
	layer, err := unzip(lookup(files, list[0].Layers[0]).Data)
	if err != nil {
		return nil, err
	}
	out, err := readTar(layer)
	if err == nil && lookup(out, "bin/busybox").Name == "" && lookup(out, "usr/bin/busybox").Name == "" {
		err = errors.New("it has no busybox: not an image of Alpine")
	}
	return out, err
}

func readTar(data []byte) ([]Entry, error) {
	var out []Entry
	for r := tar.NewReader(bytes.NewReader(data)); ; {
		h, err := r.Next()
		if err == io.EOF {
			return out, nil
		}
		if err != nil {
			return nil, err
		}
		body, err := io.ReadAll(r)
		if err != nil {
			return nil, err
		}
		h.Name = strings.TrimSuffix(strings.TrimPrefix(h.Name, "./"), "/")
		h.Uname, h.Gname = "", ""
		h.Mode &= 0o7777
		out = append(out, Entry{*h, body})
	}
}

// lookup gives one path, the zero Entry where there is none.
func lookup(list []Entry, name string) Entry {
	if i := slices.IndexFunc(list, func(e Entry) bool { return e.Name == name }); i >= 0 {
		return list[i]
	}
	return Entry{}
}

// file gives the content of the first of some paths of the image that is a file.
func file(t testing.TB, names ...string) []byte {
	t.Helper()
	root := Root(t)
	for _, name := range names {
		if e := lookup(root, name); e.Typeflag == tar.TypeReg && e.Name != "" {
			return e.Data
		}
	}
	t.Fatalf("the image of Alpine has no file /%s", path.Clean(names[0]))
	return nil
}
