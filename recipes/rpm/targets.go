package rpm

import (
	"fmt"

	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/cfbuild/cfbuild/recipes/common"
	"github.com/cfbuild/cfbuild/site"
)

// Targets are the built-in targets of this family at a site: for each release one
// that is made from packages and one that upgrades the upstream image.
func Targets(s site.Site) []pipelines.Target {
	var out []pipelines.Target
	for _, r := range releases() {
		for _, source := range []common.Source{common.FromPackages, common.FromImage} {
			out = append(out, target(s, Options{Distribution: r.distribution, Release: r.version, Source: source}))
		}
	}
	return out
}

func target(s site.Site, o Options) pipelines.Target {
	r, build := o.release(), New(o)
	t := pipelines.Target{
		Name:        fmt.Sprintf("%s%d", r.distribution, r.version),
		Aliases:     r.aliases(),
		Description: r.title + ": " + r.support(),
		Build:       func(p pipelines.Platform) pipelines.Image { return build(s, p) },
		EndOfLife:   r.end,
		Platforms:   r.platforms(),
		Tests:       o.tests(),
	}
	if o.Source == common.FromImage {
		t.Name += common.Upstream
		for i := range t.Aliases {
			t.Aliases[i] += common.Upstream
		}
		t.Description = r.title + ", " + r.image + " upgraded: " + r.support()
	}
	return t
}

func (r release) aliases() []string {
	out := []string{fmt.Sprintf("%s-%d", r.distribution, r.version)}
	switch {
	case r.distribution == CentOS && r.version > 7:
		out = append(out, fmt.Sprintf("centos-stream%d", r.version), fmt.Sprintf("centos%d-stream", r.version))
	case r.distribution == Rocky:
		out = append(out, fmt.Sprintf("rockylinux%d", r.version))
	case r.distribution == Alma:
		out = append(out, fmt.Sprintf("almalinux%d", r.version))
	}
	return out
}

// support says until when there are security updates without a contract, and what
// the release asks of a processor where that is more than usual.
func (r release) support() string {
	text := "support until " + r.end
	switch {
	case r.end == "":
		text = fmt.Sprintf("support until a month after release %d", r.version+2)
	case r.archived():
		text = "from the vault"
	}
	if r.version == 10 && r.distribution != Fedora {
		text += "; amd64 means x86-64-v3"
	}
	return text
}

func (r release) archived() bool { return r.distribution == CentOS && r.version <= 8 }
