package oci

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cfbuild/cfbuild/internal/oci"
	"github.com/cfbuild/cfbuild/pipelines"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// whole asserts that a layout is complete and consistent, and gives its name and
// platforms.
func whole(t testing.TB, dir string) (string, []string) {
	t.Helper()
	l, err := oci.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	idx, err := l.Index()
	if err != nil || len(idx.Manifests) != 1 {
		t.Fatalf("index %+v: %v", idx, err)
	}
	images, err := readLayout(dir)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	blobs := map[string]bool{idx.Manifests[0].Digest.Encoded(): true}
	for _, m := range images {
		if err := l.Verify(m.desc); err != nil {
			t.Fatal(err)
		}
		for _, b := range m.blobs() {
			blobs[b.Digest.Encoded()] = true
		}
		out = append(out, m.platform.String())
	}
	have, err := os.ReadDir(filepath.Join(dir, "blobs", "sha256"))
	if err != nil || len(have) != len(blobs) {
		t.Fatalf("%d blobs are there, %d belong to it: %v", len(have), len(blobs), err)
	}
	return idx.Manifests[0].Annotations[v1.AnnotationRefName], out
}

// entries lists a directory, hidden files too.
func entries(t testing.TB, dir string) []string {
	t.Helper()
	es, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range es {
		out = append(out, e.Name())
	}
	return out
}

func TestBundle(t *testing.T) {
	p := New(Options{})
	amd64 := makePart(t, "base", "linux/amd64", "gzip", 100)
	arm := makePart(t, "base", "linux/arm/v7", "gzip", 100)
	parent := t.TempDir()
	dir := filepath.Join(parent, "out", "base")
	d1, same, err := p.Bundle(t.Context(), []pipelines.Artifact{arm, amd64}, dir)
	if err != nil || same {
		t.Fatal(d1, same, err)
	}
	name, platforms := whole(t, dir)
	if want := []string{"linux/amd64", "linux/arm/v7"}; name != "base" || !slices.Equal(platforms, want) {
		t.Errorf("name %q, platforms %v", name, platforms)
	}
	st1, _ := os.Stat(dir)
	d2, same, err := p.Bundle(t.Context(), []pipelines.Artifact{amd64, arm}, dir)
	if err != nil || !same || d2 != d1 {
		t.Errorf("the same parts in another order: %s unchanged %v, %v; want %s", d2, same, err, d1)
	}
	if st2, _ := os.Stat(dir); !os.SameFile(st1, st2) {
		t.Error("an unchanged layout was replaced")
	}
	// A damaged blob is found and mended.
	blobs := filepath.Join(dir, "blobs", "sha256")
	victim := filepath.Join(blobs, entries(t, blobs)[0])
	raw, _ := os.ReadFile(victim)
	raw[len(raw)-1] ^= 1
	os.Remove(victim)
	os.WriteFile(victim, raw, 0o644)
	if _, same, err := p.Bundle(t.Context(), []pipelines.Artifact{amd64, arm}, dir); err != nil || same {
		t.Errorf("a damaged layout counts as unchanged (%v)", err)
	}
	whole(t, dir)
	// Fewer platforms replace more.
	if _, same, err := p.Bundle(t.Context(), []pipelines.Artifact{amd64}, dir); err != nil || same {
		t.Fatal(same, err)
	}
	if _, platforms := whole(t, dir); len(platforms) != 1 {
		t.Errorf("platforms %v", platforms)
	}
	if got := entries(t, filepath.Dir(dir)); !slices.Equal(got, []string{"base"}) {
		t.Errorf("left behind: %v", got)
	}
}

func TestBundleRefuses(t *testing.T) {
	p := New(Options{})
	part := makePart(t, "base", "linux/amd64", "gzip", 10)
	t.Run("foreign directory", func(t *testing.T) {
		dir := t.TempDir()
		os.WriteFile(filepath.Join(dir, "thesis.tex"), []byte("dear"), 0o600)
		_, _, err := p.Bundle(t.Context(), []pipelines.Artifact{part}, dir)
		var oe *OutputError
		if !errors.As(err, &oe) || !errors.Is(err, oci.ErrNotLayout) || oe.Hint() == "" {
			t.Fatalf("error %v", err)
		}
		if got := entries(t, dir); !slices.Equal(got, []string{"thesis.tex"}) {
			t.Errorf("the directory holds %v now", got)
		}
	})
	t.Run("file", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "f")
		os.WriteFile(path, nil, 0o600)
		var oe *OutputError
		if _, _, err := p.Bundle(t.Context(), []pipelines.Artifact{part}, path); !errors.As(err, &oe) {
			t.Errorf("error %v", err)
		}
	})
	t.Run("empty directory is fine", func(t *testing.T) {
		dir := t.TempDir()
		if _, _, err := p.Bundle(t.Context(), []pipelines.Artifact{part}, dir); err != nil {
			t.Error(err)
		}
		whole(t, dir)
	})
	t.Run("two images for one platform", func(t *testing.T) {
		other := makePart(t, "base", "linux/amd64", "gzip", 20)
		_, _, err := p.Bundle(t.Context(), []pipelines.Artifact{part, other}, filepath.Join(t.TempDir(), "x"))
		if err == nil || !strings.Contains(err.Error(), "two images for linux/amd64") {
			t.Errorf("error %v", err)
		}
	})
	t.Run("nothing", func(t *testing.T) {
		if _, _, err := p.Bundle(t.Context(), nil, filepath.Join(t.TempDir(), "x")); err == nil {
			t.Error("no error")
		}
	})
}

func TestBundleTwoAtOnce(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "base")
	var wg sync.WaitGroup
	errs := make(chan error, 100)
	for i, plats := range [][]string{{"linux/amd64"}, {"linux/arm64", "linux/s390x"}, {"linux/386", "linux/arm/v7", "linux/amd64"}} {
		var parts []pipelines.Artifact
		for _, pl := range plats {
			parts = append(parts, makePart(t, "base", pl, "gzip", 100*i))
		}
		wg.Go(func() {
			for range 20 {
				if _, _, err := New(Options{}).Bundle(t.Context(), parts, dir); err != nil {
					errs <- err
				}
			}
		})
	}
	wg.Wait()
	close(errs)
	for err := range errs {
		t.Error(err)
	}
	whole(t, dir)
	if got := entries(t, filepath.Dir(dir)); !slices.Equal(got, []string{"base"}) {
		t.Errorf("left behind: %v", got)
	}
}

func TestRenameTwice(t *testing.T) {
	// The way of file systems that cannot exchange two directories.
	parent := t.TempDir()
	for _, d := range []string{"new", "old"} {
		os.Mkdir(filepath.Join(parent, d), 0o755)
		os.WriteFile(filepath.Join(parent, d, "which"), []byte(d), 0o644)
	}
	if err := renameTwice(filepath.Join(parent, "new"), filepath.Join(parent, "old")); err != nil {
		t.Fatal(err)
	}
	if b, _ := os.ReadFile(filepath.Join(parent, "old", "which")); string(b) != "new" {
		t.Errorf("holds %q", b)
	}
	if got := entries(t, parent); !slices.Equal(got, []string{"old"}) {
		t.Errorf("left behind: %v", got)
	}
}

// childDir in the environment makes TestKilled the child of itself.
const childDir = "CFBUILD_TEST_BUNDLE_CHILD"

// TestKilled kills runs at many moments: the output is always a whole layout, and
// the next run removes what they left.
func TestKilled(t *testing.T) {
	if dir := os.Getenv(childDir); dir != "" {
		var sets [2][]pipelines.Artifact
		for i, pl := range []string{"linux/amd64", "linux/arm64"} {
			sets[i] = []pipelines.Artifact{makePart(t, "base", pl, "gzip", 1000)}
		}
		fmt.Println("ready")
		for i := 0; ; i++ {
			if _, _, err := New(Options{}).Bundle(t.Context(), sets[i%2], dir); err != nil {
				fmt.Println(err)
				os.Exit(1)
			}
		}
	}
	parent := t.TempDir()
	dir := filepath.Join(parent, "base")
	litter, seen := 0, false
	for i := range 12 {
		cmd := exec.Command(os.Args[0], "-test.run=^TestKilled$")
		cmd.Env = append(os.Environ(), childDir+"="+dir, "TMPDIR="+t.TempDir())
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, 6)
		out.Read(buf)
		time.Sleep(time.Duration(4+i*6) * time.Millisecond)
		cmd.Process.Kill()
		cmd.Wait()
		if string(buf) != "ready\n" {
			t.Fatalf("the child said %q", buf)
		}
		if _, err := os.Stat(dir); err == nil {
			whole(t, dir)
			seen = true
		} else if seen {
			t.Fatalf("the output is gone after a kill: %v", err)
		}
		litter = max(litter, len(entries(t, parent))-1)
	}
	if _, _, err := New(Options{}).Bundle(t.Context(), []pipelines.Artifact{makePart(t, "base", "linux/s390x", "gzip", 10)}, dir); err != nil {
		t.Fatal(err)
	}
	whole(t, dir)
	if got := entries(t, parent); !slices.Equal(got, []string{"base"}) {
		t.Errorf("left behind: %v", got)
	}
	if !seen {
		t.Error("no child wrote anything")
	}
	t.Logf("killed runs left up to %d temporaries, all gone", litter)
}

func TestReadLayoutLeavesOutAttestations(t *testing.T) {
	part := makePart(t, "base", "linux/amd64", "gzip", 10)
	l, err := oci.Open(part.Path)
	if err != nil {
		t.Fatal(err)
	}
	idx, _ := l.Index()
	unknown := idx.Manifests[0]
	unknown.Platform = &v1.Platform{OS: "unknown", Architecture: "unknown"}
	unknown.Annotations = map[string]string{"vnd.docker.reference.type": "attestation-manifest"}
	nested, err := l.PutJSON(v1.MediaTypeImageIndex, indexOf([]v1.Descriptor{unknown, idx.Manifests[0]}))
	if err != nil {
		t.Fatal(err)
	}
	if err := l.SetIndex(indexOf([]v1.Descriptor{nested, idx.Manifests[0]})); err != nil {
		t.Fatal(err)
	}
	ms, err := readLayout(part.Path)
	if err != nil || len(ms) != 1 || ms[0].platform != part.Platform {
		t.Errorf("images %+v, %v", ms, err)
	}
}
