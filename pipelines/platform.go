package pipelines

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
)

// Platform is an operating system and processor, in the terms of the OCI image
// index ("platform" object): GOOS, GOARCH and an optional CPU variant.
// The zero Platform is invalid; [ParsePlatform] and [HostPlatform] make valid ones.
type Platform struct {
	OS           string
	Architecture string
	Variant      string
}

// spelling maps what people and tools call an architecture (uname -m, Debian,
// RPM, GOARCH) to the OCI architecture and variant.
var spelling = map[string]Platform{
	"amd64": {Architecture: "amd64"}, "x86_64": {Architecture: "amd64"}, "x86-64": {Architecture: "amd64"},
	"arm64": {Architecture: "arm64"}, "aarch64": {Architecture: "arm64"},
	"386": {Architecture: "386"}, "i386": {Architecture: "386"}, "i486": {Architecture: "386"},
	"i586": {Architecture: "386"}, "i686": {Architecture: "386"}, "x86": {Architecture: "386"},
	"arm": {Architecture: "arm", Variant: "v7"}, "armhf": {Architecture: "arm", Variant: "v7"},
	"armv7": {Architecture: "arm", Variant: "v7"}, "armv7l": {Architecture: "arm", Variant: "v7"},
	"armv7hl": {Architecture: "arm", Variant: "v7"},
	"armel":   {Architecture: "arm", Variant: "v5"}, "armv5": {Architecture: "arm", Variant: "v5"},
	"armv6": {Architecture: "arm", Variant: "v6"}, "armv6l": {Architecture: "arm", Variant: "v6"},
	"ppc64le": {Architecture: "ppc64le"}, "ppc64el": {Architecture: "ppc64le"},
	"s390x":   {Architecture: "s390x"},
	"riscv64": {Architecture: "riscv64"},
	"loong64": {Architecture: "loong64"}, "loongarch64": {Architecture: "loong64"},
	"mips64le": {Architecture: "mips64le"}, "mips64el": {Architecture: "mips64le"},
	"mipsle": {Architecture: "mipsle"}, "mipsel": {Architecture: "mipsle"},
}

// KnownArchitectures lists the OCI architectures [ParsePlatform] accepts, sorted.
func KnownArchitectures() []string {
	var out []string
	for _, p := range spelling {
		if !slices.Contains(out, p.Architecture) {
			out = append(out, p.Architecture)
		}
	}
	slices.Sort(out)
	return out
}

// ParsePlatform reads "linux/arm64", "linux/arm/v7", or an architecture alone in
// any common spelling ("aarch64", "armhf", "ppc64el"); the system defaults to
// linux. The result is normalised: linux/arm64/v8 is linux/arm64, linux/arm is
// linux/arm/v7. The error is an [InvalidError].
func ParsePlatform(s string) (Platform, error) {
	bad := func(why string) (Platform, error) {
		return Platform{}, &InvalidError{What: fmt.Sprintf("platform %q", s), Cause: why,
			Fix: "write it as linux/ARCH or linux/ARCH/VARIANT with ARCH one of " + strings.Join(KnownArchitectures(), ", ")}
	}
	if s == "" {
		return bad("is empty")
	}
	parts := strings.Split(strings.ToLower(s), "/")
	if len(parts) == 1 {
		parts = []string{"linux", parts[0]}
	}
	if len(parts) > 3 {
		return bad("has more than three parts")
	}
	if parts[0] != "linux" {
		return bad("is not a linux platform")
	}
	known, ok := spelling[parts[1]]
	if !ok {
		return bad("has an unknown architecture")
	}
	p := Platform{OS: "linux", Architecture: known.Architecture, Variant: known.Variant}
	if len(parts) == 3 {
		if parts[2] == "" {
			return bad("has an empty variant")
		}
		p.Variant = parts[2]
	}
	if !variantFits(p) {
		return bad("has a variant its architecture does not have")
	}
	return p.Normalize(), nil
}

func variantFits(p Platform) bool {
	switch p.Architecture {
	case "arm":
		return slices.Contains([]string{"v5", "v6", "v7", "v8"}, p.Variant)
	case "arm64":
		return p.Variant == "" || p.Variant == "v8" || p.Variant == "v9"
	case "amd64":
		return slices.Contains([]string{"", "v1", "v2", "v3", "v4"}, p.Variant)
	default:
		return p.Variant == ""
	}
}

// Normalize gives the one spelling of each platform: the default variant of
// arm64 (v8) and amd64 (v1) is left out, that of arm (v7) is written.
func (p Platform) Normalize() Platform {
	switch {
	case p.Architecture == "arm64" && p.Variant == "v8", p.Architecture == "amd64" && p.Variant == "v1":
		p.Variant = ""
	case p.Architecture == "arm" && p.Variant == "":
		p.Variant = "v7"
	}
	return p
}

// HostPlatform is the platform this program was compiled for, normalised.
func HostPlatform() Platform {
	return Platform{OS: "linux", Architecture: runtime.GOARCH}.Normalize()
}

// String is "linux/arm64" or "linux/arm/v7": what [ParsePlatform] reads.
func (p Platform) String() string {
	s := p.OS + "/" + p.Architecture
	if p.Variant != "" {
		s += "/" + p.Variant
	}
	return s
}

// Short is the architecture and variant in one word ("arm64", "armv7"), for
// file names and job names.
func (p Platform) Short() string { return p.Architecture + p.Variant }

// MarshalText writes [Platform.String], so platforms are strings in JSON.
func (p Platform) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText reads what [ParsePlatform] reads.
func (p *Platform) UnmarshalText(b []byte) error {
	q, err := ParsePlatform(string(b))
	*p = q
	return err
}

// ComparePlatforms orders platforms by name, for stable lists.
func ComparePlatforms(a, b Platform) int { return strings.Compare(a.String(), b.String()) }
