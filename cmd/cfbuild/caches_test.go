//go:build containers_image_openpgp && exclude_graphdriver_btrfs

package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cfbuild/cfbuild/internal/testneed"
	"github.com/cfbuild/cfbuild/pipelines"
)

// throwAway are the builders that throw-away runners use, as --builder names them.
var throwAway = []string{"buildah"}

// siteWithRegistry is the frozen site with a registry that speaks plain HTTP.
func (w *world) siteWithRegistry(addr string) string {
	w.t.Helper()
	text, err := os.ReadFile(frozenSite(w.t))
	if err != nil {
		w.t.Fatal(err)
	}
	site := filepath.Join(w.dir, "registry.toml")
	if err := os.WriteFile(site, fmt.Appendf(text, "\n[[registry]]\nprefix = %q\ninsecure = true\n", addr), 0o644); err != nil {
		w.t.Fatal(err)
	}
	return site
}

// steps runs a target and gives the names of the graph's steps that were started.
func (w *world) steps(target string, args ...string) (rep report, started []string, warnings []string) {
	w.t.Helper()
	rep, stderr, code := w.try(append([]string{"run", target, "--json", "--progress", "json"}, args...)...)
	if code != 0 || len(rep.Artifacts) == 0 {
		w.t.Fatalf("run %s %s: exit code %d\n%s", target, strings.Join(args, " "), code, stderr[max(0, len(stderr)-4000):])
	}
	for line := range strings.Lines(stderr) {
		var e pipelines.Event
		if json.Unmarshal([]byte(line), &e) != nil {
			continue
		}
		switch {
		case e.Kind == pipelines.EventStart && strings.HasPrefix(e.Step, "sha256:"):
			started = append(started, e.Name)
		case e.Kind == pipelines.EventWarning:
			warnings = append(warnings, e.Text)
		}
	}
	return rep, started, warnings
}

// What one machine built, another that is empty does not build again: no step runs,
// and the images are the same, through a registry and through a directory.
func TestEmptyMachineTwice(t *testing.T) {
	account := testneed.User(t)
	addr := debianRegistry(t)
	dir := t.TempDir()
	for at := dir; at != os.TempDir(); at = filepath.Dir(at) { // for the other user
		if err := os.Chmod(at, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, builder := range throwAway {
		places := map[string]string{"registry": addr + "/group/project/cache", "directory": filepath.Join(dir, builder)}
		for name, place := range places {
			t.Run(builder+" "+name, func(t *testing.T) {
				platform := both
				if name == "directory" {
					platform = "linux/amd64"
				}
				first := newWorld(t, nil)
				want, ran, warned := first.steps("debian12", "--platform", platform, "--builder", builder, "--site", first.siteWithRegistry(addr), "--cache-to", place)
				if len(ran) == 0 || len(warned) > 0 {
					t.Fatalf("the first machine ran %q, warned of %q", ran, warned)
				}
				for _, second := range []*world{newWorld(t, nil), newWorld(t, &account)} {
					got, ran, warned := second.steps("debian12", "--platform", platform, "--builder", builder, "--site", second.siteWithRegistry(addr), "--cache-from", place)
					if len(ran) > 0 || len(warned) > 0 {
						t.Errorf("the empty machine ran %q, warned of %q", ran, warned)
					}
					if !maps.Equal(got.digests(), want.digests()) {
						t.Errorf("%v, first %v", got.digests(), want.digests())
					}
				}
			})
		}
	}
}
