package sitecheck

import (
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/cfbuild/cfbuild/recipes"
	"github.com/cfbuild/cfbuild/site"
)

// Every repository that a built-in site names can be probed.
func TestDefaultsAreWhole(t *testing.T) {
	want := slices.Sorted(maps.Keys(site.Public().Mirrors))
	if got := slices.Sorted(maps.Keys(Defaults())); !slices.Equal(got, want) {
		t.Errorf("defaults for %v\nwant %v", got, want)
	}
	for repo, p := range Defaults() {
		if p.Source.Repository != repo || p.text() == "" {
			t.Errorf("%s: %+v", repo, p)
		}
	}
}

// What the built-in recipes use is what is probed, of all releases the newest.
func TestProbesOfRecipes(t *testing.T) {
	pl := recipes.Pipeline(site.Public())
	probes := Input{Pipeline: pl, Now: time.Now}.probes()
	if p := probes["debian"]; p.Kind != "deb" || p.Because != "target debian13 uses it" || p.Source.Suite != "trixie" {
		t.Errorf("debian: %+v", p)
	}
}

func TestNewer(t *testing.T) {
	for _, c := range []struct {
		a, b  pipelines.Target
		newer bool
	}{
		{pipelines.Target{Name: "alpine3.22"}, pipelines.Target{Name: "alpine3.9"}, true},
		{pipelines.Target{Name: "ubuntu9.10"}, pipelines.Target{Name: "ubuntu24.04"}, false},
		{pipelines.Target{Name: "x13", EndOfLife: "2020-01-01"}, pipelines.Target{Name: "x12", EndOfLife: "2030-01-01"}, false},
		{pipelines.Target{Name: "x12"}, pipelines.Target{Name: "x13", EndOfLife: "2020-01-01"}, true},
	} {
		if got := newer(c.a, c.b, "2026-06-10"); got != c.newer {
			t.Errorf("%s newer than %s: %v", c.a.Name, c.b.Name, got)
		}
	}
}
