package archive

import (
	"slices"
	"strings"

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

// HTTPFor gives a client that trusts the site's CAs for building and uses its
// proxies. Keep one for a whole run: connections are reused.
func HTTPFor(s site.Site) (*httpx.Client, error) {
	o := httpx.Options{Proxy: httpx.Proxy(s.Proxy)}
	for _, ca := range s.BuildCAs() {
		o.CAs = append(o.CAs, ca.PEM)
	}
	return httpx.New(o)
}

// join makes a URL of a base, without a trailing slash, and a relative path.
func join(base, path string) string { return base + "/" + path }

// bases cleans mirror URLs.
func bases(mirrors []string) []string {
	var out []string
	for _, m := range mirrors {
		if m = strings.TrimRight(m, "/"); m != "" && !slices.Contains(out, m) {
			out = append(out, m)
		}
	}
	return out
}
