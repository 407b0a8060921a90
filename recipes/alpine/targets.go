package alpine

import (
	"fmt"

	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/cfbuild/cfbuild/recipes/common"
	"github.com/cfbuild/cfbuild/site"
)

// release is what is known of a branch: the day its first version came out and the
// day its support ends. Alpine supports main of a branch for about two years, to the
// first of May or November.
type release struct{ version, made, end string }

// releases are the current two, the newest first.
var releases = [...]release{
	{"3.24", "2026-06-09", "2028-05-01"},
	{"3.23", "2025-12-03", "2027-11-01"},
}

// Targets are the built-in targets of this family at a site: for each release one
// that is made from packages and one that upgrades the upstream image.
func Targets(s site.Site) []pipelines.Target {
	var out []pipelines.Target
	for i, r := range releases {
		for _, source := range []common.Source{common.FromPackages, common.FromImage} {
			out = append(out, target(s, r, source, i == 0))
		}
	}
	return out
}

func target(s site.Site, r release, source common.Source, newest bool) pipelines.Target {
	o := Options{Release: r.version, Source: source}
	build := New(o)
	t := pipelines.Target{
		Name:        "alpine" + r.version,
		Aliases:     []string{"alpine-" + r.version},
		Description: fmt.Sprintf("Alpine Linux %s: support until %s", r.version, r.end),
		Build:       func(p pipelines.Platform) pipelines.Image { return build(s, p) },
		EndOfLife:   r.end,
		Tests:       o.tests(),
	}
	if newest {
		t.Aliases = append(t.Aliases, "alpine3", "alpine")
	}
	if source == common.FromImage {
		t.Name += common.Upstream
		for i := range t.Aliases {
			t.Aliases[i] += common.Upstream
		}
		t.Description = fmt.Sprintf("Alpine Linux %s, %s upgraded: support until %s", r.version, o.image(), r.end)
	}
	return t
}

// tests hold for every image of the family.
func (o Options) tests() []pipelines.Test {
	return append(common.BaseTests("ID=alpine", "VERSION_ID="+o.Release), pipelines.Tests(
		pipelines.TestEnv{Name: "LC_ALL", Value: common.Locale},
		pipelines.TestLabel{Name: "org.opencontainers.image.version", Value: o.Release},
		pipelines.TestPackage{Name: "apk-tools"},
		pipelines.TestPackage{Name: "busybox"},
		pipelines.TestPackage{Name: "sudo", Absent: true},
		pipelines.TestPackage{Name: "openssh", Absent: true},
		pipelines.TestFile{Path: "/etc/apk/repositories", Mode: 0o644, Owner: "0:0", Contains: []string{"/" + o.branch() + "/main\n"}},
		pipelines.TestFile{Path: "/lib/apk/exec", Absent: true},
		pipelines.TestCommand{Name: "apk knows every package", Args: []string{"apk", "info", "-e", "alpine-baselayout", "apk-tools", "busybox", "musl"}, Output: []string{"musl"}},
		pipelines.TestCommand{Name: "no file of a package is changed or missing", Shell: `test -z "$(apk audit --system | grep -v '^A ')"`},
		pipelines.TestCommand{Name: "no caches of apk are left", Shell: `test -z "$(find /var/cache/apk -type f)"`},
	)...)
}
