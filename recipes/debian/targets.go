package debian

import (
	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/cfbuild/cfbuild/site"
)

// Targets are the built-in targets of this family at a site.
func Targets(s site.Site) []pipelines.Target {
	target := func(name, codename, version, about string, r Recipe) pipelines.Target {
		return pipelines.Target{
			Name:        name,
			Aliases:     []string{codename, "debian-" + version},
			Description: "Debian " + version + " (" + codename + "), minbase: " + about,
			Build:       func(p pipelines.Platform) pipelines.Image { return r(s, p) },
		}
	}
	return []pipelines.Target{
		target("debian11", "bullseye", "11", "end of life, long-term support ended 2026-08-31", Debian11),
		target("debian12", "bookworm", "12", "oldstable, long-term support until 2028-06-30", Debian12),
		target("debian13", "trixie", "13", "stable, long-term support until 2030-06-30", Debian13),
	}
}
