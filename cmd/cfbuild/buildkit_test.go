//go:build containers_image_openpgp && exclude_graphdriver_btrfs

package main

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cfbuild/cfbuild/internal/buildkitdtest"
	"github.com/cfbuild/cfbuild/internal/listing"
	"github.com/cfbuild/cfbuild/internal/oci"
	"github.com/cfbuild/cfbuild/internal/registrytest"
	"github.com/cfbuild/cfbuild/pipelines"
)

// debian12 for three platforms by a BuildKit daemon: as an OCI layout and as a v2s2 list
// that other people's tools accept and run, with the digests that buildah gives for the
// same definition. The roots are unpacked once, for both; all else is each builder's own.
func TestBuildKit(t *testing.T) {
	d := buildkitdtest.Start(t, buildkitdtest.Options{})
	w := newWorld(t, nil)
	registry := registrytest.Start(t).Host()
	site := allArchitectures(t, w, registry)
	archs := []string{"amd64", "arm64", "s390x"}
	common := []string{"--site", site, "--platform", "linux/" + strings.Join(archs, ",linux/")}
	byDaemon := append(slices.Clone(common), "--builder", "buildkit:"+d.Addr)

	repo := registry + "/group/base/debian12"
	want := w.run("debian12", append(slices.Clone(byDaemon), "--push", repo, "--tag", "12,latest")...)
	if len(want.Artifacts) != len(archs) || len(want.Receipts) != 1 {
		t.Fatalf("made %+v", want)
	}

	t.Run("layout", func(t *testing.T) {
		layout := filepath.Join(w.dir, "out", "debian12")
		for _, arch := range archs {
			raw := tool(t, "skopeo", "--override-arch", arch, "inspect", "--raw", "oci:"+layout)
			index := decode[manifestList](t, raw)
			if index.MediaType != "application/vnd.oci.image.index.v1+json" || len(index.Manifests) != len(archs) {
				t.Fatalf("the layout's index: %s", raw)
			}
			config := decode[struct{ Architecture, OS string }](t, tool(t, "skopeo", "--override-arch", arch, "inspect", "--config", "--raw", "oci:"+layout))
			if config.Architecture != arch || config.OS != "linux" {
				t.Errorf("the image for %s is for %+v", arch, config)
			}
			for _, m := range index.Manifests {
				if !slices.Contains(slices.Collect(maps.Values(want.digests())), m.Digest) {
					t.Errorf("the layout has %+v, built was %v", m, want.digests())
				}
			}
		}
	})
	t.Run("pushed", func(t *testing.T) {
		raw := tool(t, "skopeo", "inspect", "--raw", "--tls-verify=false", "docker://"+repo+":12")
		list := decode[manifestList](t, raw)
		if list.MediaType != "application/vnd.docker.distribution.manifest.list.v2+json" || len(list.Manifests) != len(archs) {
			t.Fatalf("%s", raw)
		}
		for i, m := range list.Manifests {
			if m.MediaType != "application/vnd.docker.distribution.manifest.v2+json" || m.Platform.Architecture != archs[i] || m.Platform.OS != "linux" {
				t.Errorf("child %d is %+v", i, m)
			}
		}
		pullAndRun(t, repo, list, "x86_64 amd64", "aarch64 arm64", "s390x s390x")
	})
	t.Run("nothing changed", func(t *testing.T) {
		for _, a := range w.run("debian12", byDaemon...).Artifacts {
			if !a.Cached {
				t.Errorf("%s was built again", a.Job)
			}
		}
	})
	t.Run("asked again", func(t *testing.T) {
		if err := os.RemoveAll(filepath.Join(w.dir, "state", "artifacts")); err != nil {
			t.Fatal(err)
		}
		got, ran, warned := w.steps("debian12", byDaemon...)
		if len(ran) > 0 || len(warned) > 0 {
			t.Errorf("the daemon ran %q again, warned of %q", ran, warned)
		}
		if !maps.Equal(got.digests(), want.digests()) {
			t.Errorf("%v, first %v", got.digests(), want.digests())
		}
	})
	t.Run("same as buildah", func(t *testing.T) {
		theirs := filepath.Join(w.dir, "by-buildah")
		got := w.run("debian12", append(slices.Clone(common), "--builder", "buildah", "--output", theirs)...)
		for _, a := range got.Artifacts {
			if a.Cached {
				t.Fatalf("%s: buildah was handed what BuildKit made", a.Job)
			}
		}
		if maps.Equal(got.digests(), want.digests()) {
			return
		}
		t.Errorf("buildah made %v, BuildKit %v; what differs in the trees:", got.digests(), want.digests())
		for _, arch := range archs {
			p := pipelines.Platform{OS: "linux", Architecture: arch}
			for _, line := range listing.Diff(tree(t, filepath.Join(theirs, "debian12"), p), tree(t, filepath.Join(w.dir, "out", "debian12"), p)) {
				t.Log(arch, line)
			}
		}
	})
	t.Run("failing step", func(t *testing.T) {
		_, stderr, code := w.try("run", "fails", "--site", site, "--progress", "plain", "--builder", "buildkit:"+d.Addr)
		if code != 5 {
			t.Errorf("exit code %d, want 5", code)
		}
		for _, s := range []string{"app_test.go:", "exit status 42", "about to fail"} {
			if !strings.Contains(stderr, s) {
				t.Errorf("does not say %q:\n%s", s, stderr[max(0, len(stderr)-2000):])
			}
		}
		if _, err := os.Stat(filepath.Join(w.dir, "out", "fails")); err == nil {
			t.Error("left an output")
		}
	})
	t.Run("no daemon", func(t *testing.T) {
		d.Process.Stop()
		nobody := filepath.Join(w.dir, "nobody.sock")
		for _, addr := range []string{d.Addr, "unix://" + nobody} {
			_, stderr, code := w.try("run", "debian12", "--no-cache", "--site", site, "--progress", "plain", "--builder", "buildkit:"+addr)
			if code != 4 || !strings.Contains(stderr, addr) || !strings.Contains(stderr, "hint: ") {
				t.Errorf("%s: exit code %d\n%s", addr, code, stderr)
			}
		}
	})
}

// tree lists what the image of a layout for one platform holds.
func tree(t *testing.T, layout string, p pipelines.Platform) []listing.Entry {
	t.Helper()
	l, err := oci.Open(layout)
	if err != nil {
		t.Fatal(err)
	}
	d, err := l.Manifest(p)
	if err != nil {
		t.Fatal(err)
	}
	all, err := listing.Image(l, d)
	if err != nil {
		t.Fatal(err)
	}
	return all
}
