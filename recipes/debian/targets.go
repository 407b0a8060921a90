package debian

import (
	"fmt"
	"slices"

	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/cfbuild/cfbuild/recipes/common"
	"github.com/cfbuild/cfbuild/site"
)

// targeted are the releases that there are built-in targets for, in the order of
// the list.
var targeted = [...]string{"buster", "bullseye", "bookworm", "trixie", "bionic", "focal", "jammy", "noble", "resolute"}

// Targets are the built-in targets of this family at a site: for each release one
// that is made from packages and one that upgrades the upstream image, and
// debian12-hpc.
func Targets(s site.Site) []pipelines.Target {
	var out []pipelines.Target
	for _, suite := range targeted {
		for _, source := range []common.Source{common.FromPackages, common.FromImage} {
			out = append(out, target(s, Options{Suite: suite, Source: source}))
		}
	}
	i := slices.IndexFunc(out, func(t pipelines.Target) bool { return t.Name == "debian12" })
	return slices.Insert(out, i+2, hpc(s))
}

func target(s site.Site, o Options) pipelines.Target {
	r, build := o.release(), New(o)
	t := pipelines.Target{
		Name:        r.distribution + r.version,
		Aliases:     []string{r.codename, r.distribution + "-" + r.version},
		Description: fmt.Sprintf("%s %s (%s), minbase: %s", r.name(), r.version, r.codename, r.support()),
		Build:       func(p pipelines.Platform) pipelines.Image { return build(s, p) },
		EndOfLife:   r.end,
		Tests:       o.tests(),
	}
	if o.Source == common.FromImage {
		for i := range t.Aliases {
			t.Aliases[i] += common.Upstream
		}
		t.Name += common.Upstream
		t.Description = fmt.Sprintf("%s %s (%s), %s upgraded", r.name(), r.version, r.codename, o.image())
		return t
	}
	t.Platforms = r.platforms()
	return t
}

// support says until when security updates come without a contract, and what there
// is beyond it.
func (r release) support() string {
	kind, beyond := "long-term support", "ELTS"
	if r.distribution == ubuntuName {
		kind, beyond = "standard support", "ESM"
	}
	return fmt.Sprintf("%s until %s, %s until %s", kind, r.end, beyond, r.extended)
}

// platforms are those a base image can be made for. Debian's metadata say so; in
// Ubuntu's, i386 is there from 19.10 on for single libraries only.
func (r release) platforms() []pipelines.Platform {
	if r.distribution != ubuntuName {
		return nil
	}
	out := []pipelines.Platform{{OS: "linux", Architecture: "amd64"}, {OS: "linux", Architecture: "arm64"},
		{OS: "linux", Architecture: "arm", Variant: "v7"}, {OS: "linux", Architecture: "ppc64le"}, {OS: "linux", Architecture: "s390x"}}
	if r.version == "18.04" {
		return append(out, pipelines.Platform{OS: "linux", Architecture: "386"})
	}
	return append(out, pipelines.Platform{OS: "linux", Architecture: "riscv64"})
}
