package archive

import (
	"slices"

	"github.com/cfbuild/cfbuild/bootstrap/fetch"
	"github.com/cfbuild/cfbuild/internal/httpx"
	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/cfbuild/cfbuild/site"
)

// architectures are those of Debian and Ubuntu that OCI has a name for.
var architectures = []struct {
	deb string
	oci pipelines.Platform
}{
	{"amd64", pipelines.Platform{OS: "linux", Architecture: "amd64"}},
	{"arm64", pipelines.Platform{OS: "linux", Architecture: "arm64"}},
	{"armel", pipelines.Platform{OS: "linux", Architecture: "arm", Variant: "v5"}},
	{"armhf", pipelines.Platform{OS: "linux", Architecture: "arm", Variant: "v7"}},
	{"i386", pipelines.Platform{OS: "linux", Architecture: "386"}},
	{"loong64", pipelines.Platform{OS: "linux", Architecture: "loong64"}},
	{"mips64el", pipelines.Platform{OS: "linux", Architecture: "mips64le"}},
	{"mipsel", pipelines.Platform{OS: "linux", Architecture: "mipsle"}},
	{"ppc64el", pipelines.Platform{OS: "linux", Architecture: "ppc64le"}},
	{"riscv64", pipelines.Platform{OS: "linux", Architecture: "riscv64"}},
	{"s390x", pipelines.Platform{OS: "linux", Architecture: "s390x"}},
}

// Architecture gives Debian's name of a platform: "armhf" for linux/arm/v7. The
// error is a [pipelines.InvalidError].
func Architecture(p pipelines.Platform) (string, error) {
	p = p.Normalize()
	switch {
	case p.Architecture == "amd64", p.Architecture == "arm64":
		p.Variant = "" // Debian builds for the first of them, which the others run
	case p.Architecture == "arm" && p.Variant == "v8":
		p.Variant = "v7"
	}
	for _, a := range architectures {
		if a.oci == p {
			return a.deb, nil
		}
	}
	e := &pipelines.InvalidError{What: "platform " + p.String(), Cause: "Debian has no architecture for it"}
	if p.Architecture == "arm" {
		e.Fix = "linux/arm/v5 is Debian's armel, linux/arm/v7 its armhf"
	}
	return "", e
}

// Platform of a Debian architecture; false where there is none.
func Platform(arch string) (pipelines.Platform, bool) {
	for _, a := range architectures {
		if a.deb == arch {
			return a.oci, true
		}
	}
	return pipelines.Platform{}, false
}

// Platforms of a release, sorted; architectures that OCI has no name for are left
// out.
func (r Release) Platforms() []pipelines.Platform {
	var out []pipelines.Platform
	for _, a := range r.Architectures {
		if p, ok := Platform(a); ok {
			out = append(out, p)
		}
	}
	slices.SortFunc(out, pipelines.ComparePlatforms)
	return slices.Compact(out)
}

// HTTPFor is [fetch.HTTPFor].
func HTTPFor(s site.Site) (*httpx.Client, error) { return fetch.HTTPFor(s) }
