package main

import (
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/cfbuild/cfbuild/bootstrap/deb/archivetest"
)

const threePlatforms = "linux/amd64,linux/arm64,linux/s390x"

// three is debian12 for three platforms, by a daemon and by buildah, from the same roots
// of unpacked packages.
func (b *buildkitBench) three(cfbuild, mirror string) []comparison {
	run := func(builder, flags string) []string {
		return b.sh(`exec "$1" run debian12 --site "$0/three.toml" --platform `+threePlatforms+` --builder "`+builder+
			`" --state-dir "$0/three" --output "$0/three-out" --push never --progress plain `+flags, cfbuild)
	}
	ready := false
	unpacked := func(then func() error) func() error {
		return func() error {
			if err := b.prepare(); err != nil {
				return err
			}
			if !ready {
				ready = true
				if err := b.threeSite(mirror); err != nil {
					return err
				}
				for _, builder := range []string{"buildah", "buildkit:$BENCH_ADDR"} {
					if err := quiet(run(builder, "")...); err != nil {
						return err
					}
				}
			}
			return then()
		}
	}
	const name = "debian12 for three platforms (" + threePlatforms + "), packages unpacked before"
	pair := func(name, flags string, byDaemon, byBuildah func() error) comparison {
		return comparison{name: name,
			ours:  side{name: "cfbuild --builder buildkit", before: unpacked(byDaemon), run: run("buildkit:$BENCH_ADDR", flags)},
			peers: []side{{name: "cfbuild --builder buildah", before: unpacked(byBuildah), run: run("buildah", flags)}}}
	}
	gone := []string{"three/artifacts", "three/buildah", "three/buildkit", "three-out"}
	again := b.cleared("three/artifacts", "three-out")
	return []comparison{
		pair(name+", neither builder has anything", "", b.emptied(gone...), b.cleared(gone...)),
		pair(name+", both have the roots (--no-cache)", "--no-cache", again, again),
	}
}

// threeSite has a security archive with nothing in it: mirrors that keep only some
// architectures of it whole are common, and a broken one is refused.
func (b *buildkitBench) threeSite(mirror string) error {
	return b.daemons.try(func(t testing.TB) {
		key := archivetest.NewKey(t, time.Now().Add(-time.Hour))
		archivetest.Suite{Codename: "bookworm-security", Date: time.Now().Add(-time.Hour), Key: key}.Write(t, b.in("security"))
		security := archivetest.Serve(t, b.in("security"))
		text := fmt.Sprintf("extends = \"none\"\n[mirrors]\ndebian = [{ url = %q, build-only = true }]\ndebian-security = [{ url = %q, build-only = true }]\n"+
			"[keyrings]\ndebian-security = { file = \"key.asc\", build-only = true }\n", mirror, security.URL)
		for name, data := range map[string]string{"key.asc": string(key.Public(t)), "three.toml": text} {
			if err := os.WriteFile(b.in(name), []byte(data), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	})
}
