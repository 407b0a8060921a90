package recipes_test

import (
	"slices"
	"testing"

	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/cfbuild/cfbuild/recipes"
	"github.com/cfbuild/cfbuild/site"
)

// Every target of every built-in site is sound for every architecture, or for those
// that it is restricted to.
func TestPipeline(t *testing.T) {
	for _, s := range []site.Site{site.Public(), site.ORNL(), {}} {
		p := recipes.Pipeline(s)
		if err := p.Check(); err != nil {
			t.Fatal(err)
		}
		for _, target := range p.Targets {
			if target.Description == "" {
				t.Errorf("%s has no description", target.Name)
			}
			ids := map[string]bool{}
			platforms := target.Platforms
			if platforms == nil {
				for _, arch := range pipelines.KnownArchitectures() {
					platform, err := pipelines.ParsePlatform(arch)
					if err != nil {
						t.Fatal(err)
					}
					platforms = append(platforms, platform)
				}
			}
			for _, platform := range platforms {
				job, err := pipelines.NewJob(target, platform)
				if err != nil {
					t.Errorf("%s: %v", target.Name, err)
					continue
				}
				ids[job.Graph.ID()] = true
			}
			if len(ids) != len(platforms) {
				t.Errorf("%s: platforms share an identity", target.Name)
			}
		}
	}
}

func TestNames(t *testing.T) {
	p := recipes.Pipeline(site.Public())
	for alias, name := range map[string]string{"bookworm": "debian12", "trixie": "debian13", "bullseye": "debian11", "debian-12": "debian12", "debian13": "debian13",
		"noble": "ubuntu24.04", "ubuntu-18.04": "ubuntu18.04", "jammy-upstream": "ubuntu22.04-upstream", "debian-10": "debian10"} {
		target, err := p.Target(alias)
		if err != nil || target.Name != name {
			t.Errorf("%s: %s, %v", alias, target.Name, err)
		}
	}
	if !slices.ContainsFunc(p.Targets, func(t pipelines.Target) bool { return t.EndOfLife == "2026-08-31" }) {
		t.Error("no target says when its support ended")
	}
}
