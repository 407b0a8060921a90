package oci

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cfbuild/cfbuild/internal/oci"
	"github.com/cfbuild/cfbuild/internal/registrytest"
	"github.com/cfbuild/cfbuild/internal/sif"
	"github.com/cfbuild/cfbuild/internal/testneed"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// sifFile is as much of a SIF file as a registry sees.
func sifFile(t *testing.T, size int) string {
	t.Helper()
	b := append(make([]byte, 32), sifMagic...)
	b = append(b, bytes.Repeat([]byte("squash"), size/6)...)
	path := filepath.Join(t.TempDir(), "base-amd64.sif")
	if err := os.WriteFile(path, b, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestPushSIF(t *testing.T) {
	r := registrytest.Start(t)
	path, repo := sifFile(t, 400_000), r.Host()+"/group/base"
	p := New(fast(plain(r)))
	// A break in the middle is mended.
	r.Fail(registrytest.Fault{Method: "PATCH", Times: 1, Cut: true, CutAfter: 100_000})
	got, err := p.PushSIF(t.Context(), path, "base", platform(t, "linux/amd64"), repo, []string{"1.0-amd64", "amd64"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, tag := range []string{"1.0-amd64", "amd64", got.Digest} {
		mediaType, raw := get(t, r, "group/base", tag)
		var m v1.Manifest
		if err := json.Unmarshal(raw, &m); err != nil {
			t.Fatal(err)
		}
		file, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if mediaType != v1.MediaTypeImageManifest || m.MediaType != mediaType || m.Config.MediaType != MediaTypeSIFConfig || len(m.Layers) != 1 ||
			m.Layers[0].MediaType != MediaTypeSIF || m.Layers[0].Digest != digest.FromBytes(file) ||
			m.Layers[0].Annotations[v1.AnnotationTitle] != "base-amd64.sif" || digest.FromBytes(raw).String() != got.Digest {
			t.Errorf("%s: %s %s", tag, mediaType, raw)
		}
	}
	if got.Target != "base" || got.Ref != repo || got.Pushed < 400_000 || len(got.Platforms) != 1 {
		t.Errorf("receipt %+v", got)
	}
	r.Forget()
	again, err := New(fast(plain(r))).PushSIF(t.Context(), path, "base", platform(t, "linux/amd64"), repo, []string{"1.0-amd64", "amd64"}, nil)
	if err != nil || again.Digest != got.Digest || r.Count("PUT POST PATCH", "", "") != 0 {
		t.Errorf("again: %+v, %v, %d uploads", again, err, r.Count("PUT POST PATCH", "", ""))
	}
}

func TestPushSIFFails(t *testing.T) {
	r := registrytest.Start(t)
	repo := r.Host() + "/group/base"
	other := filepath.Join(t.TempDir(), "x.sif")
	if err := os.WriteFile(other, []byte("#!/bin/sh\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ path, repo, tag, stage, says string }{
		{other, repo, "1", "file", "is not a SIF file"},
		{other + ".no", repo, "1", "file", "no such file"},
		{other, repo, "a b", "reference", `tag "a b"`},
		{other, repo + ":1", "1", "reference", "without tag or digest"},
		{sifFile(t, 600), "127.0.0.1:1/group/base", "1", "connect", "connect"},
	} {
		_, err := New(Options{Site: plain(r), Retries: -1, AuthFile: "/proc/none"}).PushSIF(t.Context(), c.path, "base", platform(t, "linux/amd64"), c.repo, []string{c.tag}, nil)
		if pe := publishError(t, err); pe.Stage != c.stage || !strings.Contains(err.Error(), c.says) {
			t.Errorf("stage %q, %v; want %q, %q", pe.Stage, err, c.stage, c.says)
		}
	}
	if n := r.Count("PUT POST PATCH", "", ""); n != 0 {
		t.Errorf("%d uploads", n)
	}
}

// Real Apptainer pulls what was pushed, and gets the same bytes.
func TestApptainerPulls(t *testing.T) {
	program := testneed.Apptainer(t, "../../scripts/apptainer")
	a := makePart(t, "base", "linux/amd64", "gzip", 50_000)
	l, err := oci.Open(a.Path)
	if err != nil {
		t.Fatal(err)
	}
	d, err := l.Manifest(a.Platform)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "base-amd64.sif")
	if _, err := sif.Convert(t.Context(), l, d, path, sif.Options{Name: "base"}); err != nil {
		t.Fatal(err)
	}
	r := registrytest.Start(t)
	if _, err := New(fast(plain(r))).PushSIF(t.Context(), path, "base", a.Platform, r.Host()+"/group/base", []string{"1.0-amd64"}, nil); err != nil {
		t.Fatal(err)
	}
	pulled := filepath.Join(t.TempDir(), "pulled.sif")
	cmd := exec.Command(program, "pull", "--no-https", pulled, "oras://"+r.Host()+"/group/base:1.0-amd64")
	home := t.TempDir()
	cmd.Env = append(os.Environ(), "HOME="+home, "APPTAINER_CACHEDIR="+home, "TMPDIR="+home)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("apptainer pull: %v\n%s", err, out)
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(pulled)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("pulled %d bytes, pushed %d (%v)", len(got), len(want), err)
	}
}
