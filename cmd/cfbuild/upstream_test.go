//go:build containers_image_openpgp && exclude_graphdriver_btrfs

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cfbuild/cfbuild/internal/registrytest"
	"github.com/cfbuild/cfbuild/internal/testneed"
	"github.com/cfbuild/cfbuild/pipelines"
)

// debian12-upstream starts from what the site's cache of docker.io has as
// debian:bookworm, here an image of the release as it came out, without any update
// since, and ends with the packages that debian12 has now. It is upgraded from the
// mirrors for building, of which nothing stays.
func TestUpstreamImage(t *testing.T) {
	testneed.Root(t)
	testneed.Program(t, "umoci")
	w := newWorld(t, nil)
	registry := registrytest.Start(t).Host()
	text := "extends = \"none\"\n[mirrors]\n"
	for _, repo := range []string{"debian", "debian-security"} {
		text += fmt.Sprintf("%s = [{ url = %q, build-only = true }]\n", repo, frozenURL(t, repo))
	}
	text += fmt.Sprintf("[[registry]]\nprefix = \"docker.io\"\nlocation = %q\ninsecure = true\n[[registry]]\nprefix = %q\ninsecure = true\n", registry, registry)
	site := filepath.Join(w.dir, "cache.toml")
	if err := os.WriteFile(site, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	w.run("debian12-unpatched", "--site", site, "--push", registry+"/library/debian", "--tag", "bookworm")
	old, current := packages(t, w.unpacked("debian12-unpatched", site)), packages(t, w.unpacked("debian12", site))
	rep := w.run("debian12-upstream", "--site", site, "--test")
	if len(rep.Tests) != 1 || len(rep.Tests[0].Results) < 20 {
		t.Errorf("tests: %+v", rep.Tests)
	}
	root := w.unpacked("debian12-upstream", site)
	got, upgraded := packages(t, root), 0
	for name, version := range current {
		if got[name] != version {
			t.Errorf("%s is %s, there is %s", name, got[name], version)
		}
		if old[name] != version {
			upgraded++
		}
	}
	if upgraded == 0 {
		t.Error("there was nothing to upgrade")
	}
	for _, path := range []string{"etc", "var/lib", "var/cache", "var/log"} {
		if out, err := inside(root, "grep -rlF 127.0.0.1: /"+path+" || true"); err != nil || strings.TrimSpace(out) != "" {
			t.Errorf("%v: the mirror for building is named in %s", err, out)
		}
	}
	verified(t, "debian12-upstream", pipelines.VerifiedSynthetic)
}

// packages of a root with their versions.
func packages(t *testing.T, root string) map[string]string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(root, "var/lib/dpkg/status"))
	if err != nil {
		t.Fatal(err)
	}
	out, name := map[string]string{}, ""
	for line := range strings.Lines(string(b)) {
		line = strings.TrimSpace(line)
		if v, ok := strings.CutPrefix(line, "Package: "); ok {
			name = v
		}
		if v, ok := strings.CutPrefix(line, "Version: "); ok {
			out[name] = v
		}
	}
	return out
}
