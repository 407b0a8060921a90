// Package recipes lists the built-in pipeline: operating system base images for
// one site.
package recipes

import (
	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/cfbuild/cfbuild/recipes/debian"
	"github.com/cfbuild/cfbuild/site"
)

// Pipeline is every built-in target, for one site. Targets are built for all
// platforms that their packages are offered for.
func Pipeline(s site.Site) pipelines.Pipeline {
	target := func(name, codename, version, about string, r debian.Recipe) pipelines.Target {
		return pipelines.Target{
			Name:        name,
			Aliases:     []string{codename, "debian-" + version},
			Description: "Debian " + version + " (" + codename + "), minbase: " + about,
			Build:       func(p pipelines.Platform) pipelines.Image { return r(s, p) },
		}
	}
	return pipelines.Pipeline{
		Name: "base",
		Targets: []pipelines.Target{
			target("debian11", "bullseye", "11", "end of life, long-term support ended 2026-08-31", debian.Debian11),
			target("debian12", "bookworm", "12", "oldstable, long-term support until 2028-06-30", debian.Debian12),
			target("debian13", "trixie", "13", "stable, long-term support until 2030-06-30", debian.Debian13),
		},
	}
}
