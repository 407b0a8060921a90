package assemble_test

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cfbuild/cfbuild/internal/assemble"
	"github.com/cfbuild/cfbuild/internal/layertest"
	"github.com/cfbuild/cfbuild/internal/oci"
	"github.com/cfbuild/cfbuild/pipelines"
)

// nothing wants no output, nothing beside it, and nothing half-done in the cache.
func (l *lab) nothing() {
	l.t.Helper()
	left, err := os.ReadDir(filepath.Dir(l.spec.Output))
	if err != nil || len(left) > 0 {
		l.t.Errorf("left beside the output: %v, %v", left, err)
	}
	err = filepath.WalkDir(l.spec.Cache, func(p string, d fs.DirEntry, err error) error {
		if err == nil && strings.HasPrefix(d.Name(), ".") {
			l.t.Errorf("left in the cache: %s", p)
		}
		return err
	})
	if err != nil {
		l.t.Error(err)
	}
}

func TestBadLayers(t *testing.T) {
	for name, c := range map[string]struct {
		raw  []member
		is   error
		says string
	}{
		"up":                {raw: []member{m("../x:1")}, is: oci.ErrHostile},
		"up within":         {raw: []member{m("d/../../x:1")}, is: oci.ErrHostile},
		"link up":           {raw: []member{m("n=>../x")}, is: oci.ErrHostile},
		"whiteout up":       {raw: []member{m("../.wh.x:")}, is: oci.ErrHostile},
		"whiteout of dots":  {raw: []member{m("d/.wh..:")}, is: oci.ErrHostile},
		"whiteout of none":  {raw: []member{m("d/.wh.:")}, is: oci.ErrHostile},
		"below a file":      {raw: []member{m("f/x:1")}, is: oci.ErrHostile, says: "/f/x: hostile name: /f: not a directory"},
		"below an own file": {raw: []member{m("n:1"), m("n/x:1")}, is: oci.ErrHostile},
		"below an own link": {raw: []member{m("n->d"), m("n/x:1")}, is: oci.ErrHostile},
		"loop below":        {raw: []member{m("loop/x:1")}, is: oci.ErrHostile},
		"root is a file":    {raw: []member{m(".:1")}, is: oci.ErrHostile},
		"link to nothing":   {raw: []member{m("n=>nowhere")}, is: oci.ErrCorrupt, says: "hard link to /nowhere, which is not there"},
		"link to directory": {raw: []member{m("n=>d")}, is: oci.ErrCorrupt},
		"below a whiteout":  {raw: []member{m(".wh.f/"), m(".wh.f/x:1")}, is: oci.ErrHostile, says: "names that begin with .wh."},
		"unknown type":      {raw: []member{{Header: tar.Header{Name: "x", Typeflag: 'Z'}}}, is: oci.ErrCorrupt, says: `unknown type 'Z'`},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t, layertest.Tar(t, append(baseTar, m("loop->loop"))...)).raw(layertest.Tar(t, c.raw...), layertest.Gzip)
			_, err := l.write()
			l.bad(err, c.is, c.says)
		})
	}
}

// bad wants the error of a step's layer.
func (l *lab) bad(err, is error, says string) {
	l.t.Helper()
	le, ok := errors.AsType[*assemble.LayerError](err)
	if !ok || !errors.Is(err, is) {
		l.t.Fatalf("got %v, want %v", err, is)
	}
	if le.Hint() == "" || le.Node == nil || !strings.HasPrefix(err.Error(), "recipe.go:7: layer sha256:") || !strings.Contains(err.Error(), says) {
		l.t.Errorf("error %q, hint %q", err, le.Hint())
	}
	l.nothing()
}

func TestBrokenBlobs(t *testing.T) {
	good := layertest.Tar(t, m("n:1"), m("big:"+strings.Repeat("x", 1<<20)))
	for name, c := range map[string]struct {
		how  string
		harm func(b []byte) []byte
	}{
		"gzip cut":       {layertest.Gzip, func(b []byte) []byte { return b[:len(b)-20] }},
		"gzip changed":   {layertest.Gzip, func(b []byte) []byte { b[len(b)/2] ^= 0x55; return b }},
		"gzip sum":       {layertest.Gzip, func(b []byte) []byte { b[len(b)-5] ^= 1; return b }},
		"zstd cut":       {layertest.Zstd, func(b []byte) []byte { return b[:len(b)/2] }},
		"tar cut":        {layertest.Plain, func(b []byte) []byte { return b[:700] }},
		"tar changed":    {layertest.Plain, func(b []byte) []byte { b[600] = 'y'; return b }},
		"longer":         {layertest.Plain, func(b []byte) []byte { return append(b, 0) }},
		"empty":          {layertest.Gzip, func(b []byte) []byte { return nil }},
		"something else": {layertest.Gzip, func(b []byte) []byte { return bytes.Repeat([]byte("no tar "), 200) }},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t, layertest.Tar(t, baseTar...)).raw(good, c.how)
			p := l.spec.Raw.BlobPath(l.spec.Groups[0].Raw.Digest)
			b, err := os.ReadFile(p)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(p, c.harm(b), 0o644); err != nil {
				t.Fatal(err)
			}
			_, err = l.write()
			l.bad(err, oci.ErrCorrupt, "")
		})
	}
	t.Run("archive cut, digest right", func(t *testing.T) {
		l := newLab(t, layertest.Tar(t, baseTar...)).raw(good[:len(good)/2], layertest.Gzip)
		_, err := l.write()
		l.bad(err, oci.ErrCorrupt, "unexpected EOF")
	})
	t.Run("missing", func(t *testing.T) {
		l := newLab(t, layertest.Tar(t, baseTar...)).raw(good, layertest.Gzip)
		if err := os.Remove(l.spec.Raw.BlobPath(l.spec.Groups[0].Raw.Digest)); err != nil {
			t.Fatal(err)
		}
		if _, err := l.write(); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("got %v", err)
		}
		l.nothing()
	})
	t.Run("no digest", func(t *testing.T) {
		l := newLab(t).raw(good, layertest.Gzip)
		l.spec.Groups[0].Raw.Digest = "sha256:../../x"
		_, err := l.write()
		if !errors.Is(err, oci.ErrCorrupt) {
			t.Errorf("got %v", err)
		}
	})
}

func TestBrokenBase(t *testing.T) {
	harm := func(t *testing.T, l *lab, i int) {
		img, err := assemble.OpenImage(l.spec.Base.Layout, l.spec.Base.Desc, amd64)
		if err != nil {
			t.Fatal(err)
		}
		p := l.spec.Base.Layout.BlobPath(img.Manifest.Layers[i].Digest)
		b, err := os.ReadFile(p)
		if err != nil {
			t.Fatal(err)
		}
		b[len(b)/2] ^= 0x55
		if err := os.WriteFile(p, b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	configure := assemble.Group{Nodes: []pipelines.Node{{Op: pipelines.Configure{User: "x"}, Name: "configure"}}}
	for name, groups := range map[string][]assemble.Group{"passed on": nil, "configured": {configure}} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t, layertest.Tar(t, baseTar...), layertest.Tar(t, m("n:1")))
			l.spec.Groups = groups
			harm(t, l, 1)
			_, err := l.write()
			le, ok := errors.AsType[*assemble.LayerError](err)
			if !ok || le.Node != nil || le.Hint() == "" || !errors.Is(err, oci.ErrCorrupt) {
				t.Errorf("got %v", err)
			}
			l.nothing()
		})
	}
	t.Run("read ahead", func(t *testing.T) {
		l := newLab(t, layertest.Tar(t, baseTar...), layertest.Tar(t, m("n:1")))
		harm(t, l, 1)
		err := assemble.ReadAhead(t.Context(), *l.spec.Base, amd64, l.spec.Cache)
		if le, ok := errors.AsType[*assemble.LayerError](err); !ok || le.Node != nil || !errors.Is(err, oci.ErrCorrupt) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("other platform", func(t *testing.T) {
		l := newLab(t, layertest.Tar(t, baseTar...))
		l.spec.Platform.Architecture = "arm64"
		if _, err := l.write(); err == nil || !strings.Contains(err.Error(), "is for linux/amd64, not for linux/arm64") {
			t.Errorf("got %v", err)
		}
	})
}

func TestOutputExists(t *testing.T) {
	l := newLab(t).raw(layertest.Tar(t, m("n:1")), layertest.Plain)
	l.spec.Output = t.TempDir()
	if _, err := assemble.Write(t.Context(), l.spec); !errors.Is(err, fs.ErrExist) {
		t.Errorf("got %v", err)
	}
}

func TestCancelled(t *testing.T) {
	l := newLab(t, layertest.Tar(t, baseTar...)).raw(layertest.Tar(t, m("n:1")), layertest.Gzip)
	l.spec.Output = t.TempDir() + "/out"
	why := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(why)
	if _, err := assemble.Write(ctx, l.spec); !errors.Is(err, why) {
		t.Errorf("got %v", err)
	}
	l.nothing()
}

func TestBareGroupsHaveNoLayer(t *testing.T) {
	l := newLab(t).raw(layertest.Tar(t, m("n:1")), layertest.Plain)
	l.spec.Groups[0].Nodes = []pipelines.Node{{Op: pipelines.Configure{User: "x"}, Name: "configure"}}
	if _, err := l.write(); err == nil || !strings.Contains(err.Error(), "only configure") {
		t.Errorf("got %v", err)
	}
}
