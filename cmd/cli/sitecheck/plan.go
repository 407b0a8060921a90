package sitecheck

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/cfbuild/cfbuild/pipelines"
)

// Probe is which part of a repository is looked at.
type Probe struct {
	// Kind is "deb", "rpm" or "apk"; empty: nobody knows the format, and only
	// whether the base answers is looked at.
	Kind string
	// Source as a bootstrap has it.
	Source   pipelines.PackageSource
	Platform pipelines.Platform
	// Because says why this part.
	Because string
}

func (p Probe) text() string {
	switch p.Kind {
	case "deb":
		return fmt.Sprintf("suite %s, %s", p.Source.Suite, debArch(p.Platform))
	case "rpm":
		return p.rpmPath()
	case "apk":
		return p.apkPath()
	}
	return "the base URL alone: no target uses this repository"
}

// Defaults are the releases that are probed where no target of the program uses a
// repository: those that the repository will have for long.
func Defaults() map[string]Probe {
	amd64 := pipelines.Platform{OS: "linux", Architecture: "amd64"}
	arm64 := pipelines.Platform{OS: "linux", Architecture: "arm64"}
	power := pipelines.Platform{OS: "linux", Architecture: "ppc64le"}
	out := map[string]Probe{}
	add := func(kind, repo, suite string, p pipelines.Platform, old bool) {
		out[repo] = Probe{Kind: kind, Platform: p, Because: "no target uses it",
			Source: pipelines.PackageSource{Repository: repo, Suite: suite, AllowExpired: old}}
	}
	add("deb", "debian", "trixie", amd64, false)
	add("deb", "debian-security", "trixie-security", amd64, false)
	add("deb", "debian-archive", "buster", amd64, true)
	add("deb", "debian-archive-security", "buster/updates", amd64, true)
	add("deb", "ubuntu", "noble", amd64, false)
	add("deb", "ubuntu-ports", "noble", arm64, false)
	add("deb", "ubuntu-old-releases", "mantic", amd64, true)
	add("rpm", "centos-stream", "10-stream/BaseOS/$basearch/os", amd64, false)
	add("rpm", "centos-vault", "8-stream/BaseOS/$basearch/os", amd64, false)
	add("rpm", "centos-altarch", "7.9.2009/os/$basearch", arm64, false)
	add("rpm", "epel", "10/Everything/$basearch", amd64, false)
	add("rpm", "epel-archive", "7/$basearch", amd64, false)
	add("rpm", "rocky", "10/BaseOS/$basearch/os", amd64, false)
	add("rpm", "almalinux", "10/BaseOS/$basearch/os", amd64, false)
	add("rpm", "fedora", "releases/43/Everything/$basearch/os", amd64, false)
	add("rpm", "fedora-secondary", "releases/43/Everything/$basearch/os", power, false)
	add("rpm", "ubi", "dist/ubi10/10/$basearch/baseos/os", amd64, false)
	add("rpm", "opensuse", "distribution/leap/15.6/repo/oss", amd64, false)
	add("rpm", "suse-bci", "Products/SLE-BCI/15-SP6/$basearch/product", amd64, false)
	add("apk", "alpine", "v3.22", amd64, false)
	return out
}

// probes gives the probe of each repository: what the newest target that
// bootstraps from it uses, else the default.
func (in Input) probes() map[string]Probe {
	out := Defaults()
	newest := map[string]pipelines.Target{}
	today := in.Now().UTC().Format("2006-01-02")
	for _, t := range in.Pipeline.Targets {
		platform := pipelines.HostPlatform()
		if len(t.Platforms) > 0 && !slices.Contains(t.Platforms, platform) {
			platform = t.Platforms[0]
		}
		g, err := t.Build(platform).Graph()
		if err != nil {
			continue // list and show tell
		}
		for _, n := range g.Nodes {
			b, is := n.Op.(pipelines.Bootstrap)
			if !is {
				continue
			}
			seen := map[string]bool{}
			for _, src := range b.Sources {
				if src.Repository == "" || len(src.Mirrors) > 0 || seen[src.Repository] {
					continue
				}
				seen[src.Repository] = true
				if old, there := newest[src.Repository]; there && !newer(t, old, today) {
					continue
				}
				newest[src.Repository] = t
				out[src.Repository] = Probe{Kind: b.Method, Source: src, Platform: platform, Because: fmt.Sprintf("target %s uses it", t.Name)}
			}
		}
	}
	return out
}

// newer prefers a target that is supported, then the higher version in the name.
func newer(a, b pipelines.Target, today string) bool {
	over := func(t pipelines.Target) bool { return t.EndOfLife != "" && t.EndOfLife < today }
	if over(a) != over(b) {
		return over(b)
	}
	return slices.Compare(version(a.Name), version(b.Name)) > 0
}

var digits = regexp.MustCompile(`[0-9]+`)

// version gives the numbers of a name: ubuntu24.04 is 24, 4.
func version(name string) []int {
	var out []int
	for _, d := range digits.FindAllString(name, -1) {
		n, _ := strconv.Atoi(d)
		out = append(out, n)
	}
	return out
}

// rpmArch is $basearch of dnf.
func rpmArch(p pipelines.Platform) string {
	switch {
	case p.Architecture == "amd64":
		return "x86_64"
	case p.Architecture == "arm64":
		return "aarch64"
	case p.Architecture == "arm":
		return "armhfp"
	case p.Architecture == "386":
		return "i386"
	}
	return p.Architecture
}

// apkArch is what apk-tools call a platform.
func apkArch(p pipelines.Platform) string {
	switch p.Architecture {
	case "amd64":
		return "x86_64"
	case "arm64":
		return "aarch64"
	case "386":
		return "x86"
	case "loong64":
		return "loongarch64"
	case "arm":
		if p.Variant == "v6" {
			return "armhf"
		}
		return "armv7"
	}
	return p.Architecture
}

func (p Probe) rpmPath() string {
	return strings.ReplaceAll(strings.Trim(p.Source.Suite, "/"), "$basearch", rpmArch(p.Platform))
}

func (p Probe) apkPath() string {
	component := "main"
	if len(p.Source.Components) > 0 {
		component = p.Source.Components[0]
	}
	return strings.Trim(p.Source.Suite, "/") + "/" + component + "/" + apkArch(p.Platform)
}
