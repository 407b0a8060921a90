package suse

import (
	"fmt"

	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/cfbuild/cfbuild/recipes/common"
	"github.com/cfbuild/cfbuild/site"
)

// Targets are the built-in targets of this family at a site: for each release one
// that is made from packages and one that upgrades the upstream image; for SLES 12
// the upstream image only, as it is.
func Targets(s site.Site) []pipelines.Target {
	var out []pipelines.Target
	for _, d := range []Distribution{Leap, BCI} {
		for _, source := range []common.Source{common.FromPackages, common.FromImage} {
			out = append(out, target(s, Options{Distribution: d, Source: source}))
		}
	}
	return append(out, target(s, Options{Distribution: SLES12, Source: common.FromImage}))
}

func target(s site.Site, o Options) pipelines.Target {
	r, build := o.release(), New(o)
	t := pipelines.Target{
		Build:     func(p pipelines.Platform) pipelines.Image { return build(s, p) },
		EndOfLife: r.end,
		Platforms: r.platforms(),
		Tests:     o.tests(),
	}
	switch o.Distribution {
	case Leap:
		t.Name, t.Aliases = "opensuse-leap15", []string{"leap15", "opensuse-leap15.6"}
	case BCI:
		t.Name, t.Aliases = "bci15", []string{"sle-bci15", "bci15-sp7"}
	case SLES12:
		t.Name, t.Aliases = "sles12", []string{"sles12-upstream", "sles12-sp5"}
		t.Description = fmt.Sprintf("%s, %s as it is (its repositories need a subscription): %s", r.title, r.image, r.support())
		const why = "its repositories need a subscription, and its registry has no tag for a service pack: it is taken as it is"
		t.Accepts = []pipelines.Acceptance{{Rule: "no-upgrade", Why: why}, {Rule: "base-floating", Why: why}, {Rule: "base-outside-site", Why: why}}
		return t
	}
	t.Description = r.title + ": " + r.support()
	if o.Source == common.FromImage {
		t.Name += common.Upstream
		for i := range t.Aliases {
			t.Aliases[i] += common.Upstream
		}
		t.Description = fmt.Sprintf("%s, %s upgraded: %s", r.title, r.image, r.support())
	}
	return t
}

func (r release) support() string {
	text := "support until " + r.end
	if r.beyond != "" {
		text += ", " + r.beyond
	}
	return text
}
