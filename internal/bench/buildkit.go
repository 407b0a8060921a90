package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cfbuild/cfbuild/internal/buildkitdtest"
	"github.com/cfbuild/cfbuild/internal/dockerdtest"
	"github.com/cfbuild/cfbuild/internal/oci"
	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/opencontainers/go-digest"
)

// dockerfile does what the fiverun program's target "copy" does.
const dockerfile = `FROM base
RUN echo one > /one
RUN cp /one /two && find /etc -type f | sort > /etc-files
RUN mkdir -p /srv/app && for i in $(seq 100); do echo $i > /srv/app/$i; done
RUN sha256sum /srv/app/* > /sums
RUN grep -c . /sums > /count
COPY . /srv/context/
`

// buildkitBench is what the comparisons with BuildKit's clients share. Commands find the
// daemons in the environment, for they are started with the first comparison that runs.
type buildkitBench struct {
	daemons *daemons
	dir     string
	// base makes the image that the steps start from, in the directory $FIVERUN_BASE.
	base     func() error
	buildkit *buildkitdtest.Daemon
	ready    bool
}

func (b *buildkitBench) in(name string) string { return filepath.Join(b.dir, name) }

// prepare starts a buildkitd of go.mod's version, and Debian 13's dockerd with its image
// store of containerd: without that it has no exporter for OCI layouts.
func (b *buildkitBench) prepare() error {
	if b.ready {
		return nil
	}
	b.ready = true
	if err := b.base(); err != nil {
		return err
	}
	if err := b.context(); err != nil {
		return err
	}
	layout, err := filepath.EvalSymlinks(os.Getenv("FIVERUN_BASE"))
	if err != nil {
		return err
	}
	l, err := oci.Open(layout)
	if err != nil {
		return err
	}
	d, err := l.Manifest(pipelines.Platform{OS: "linux", Architecture: "amd64"})
	if err != nil {
		return err
	}
	if err := b.start(layout, d.Digest); err != nil {
		return err
	}
	// The base goes to both daemons now; what the comparisons time begins after that.
	for _, s := range []side{b.buildctl(none, ""), b.buildx(none, "")} {
		if err := quiet(s.run...); err != nil {
			return err
		}
	}
	return nil
}

// start starts the daemons, and has commands know of them and of the base.
func (b *buildkitBench) start(layout string, base digest.Digest) error {
	return b.daemons.try(func(t testing.TB) {
		b.buildkit = buildkitdtest.Start(t, buildkitdtest.Options{})
		docker := dockerdtest.Start(t, dockerdtest.Options{Newer: true})
		client := dockerdtest.NewerClient(t)
		plugins := b.in("docker/cli-plugins")
		if err := os.MkdirAll(plugins, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(filepath.Join(client, "usr/libexec/docker/cli-plugins/docker-buildx"), filepath.Join(plugins, "docker-buildx")); err != nil {
			t.Fatal(err)
		}
		for k, v := range map[string]string{
			"BENCH_ADDR": b.buildkit.Addr, "BENCH_BUILDCTL": b.buildkit.Buildctl,
			"BENCH_DOCKER": filepath.Join(client, "usr/bin/docker"), "BENCH_DOCKER_HOST": "unix://" + docker.Socket,
			"BENCH_LAYOUT": layout, "BENCH_DIGEST": string(base),
		} {
			if err := os.Setenv(k, v); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// context is what COPY copies: a hundred files, 1 MB.
func (b *buildkitBench) context() error {
	dir := b.in("context")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for i := range 100 {
		text := strings.Repeat(fmt.Sprintf("file %d of the context\n", i), 500)
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("file%d", i)), []byte(text), 0o644); err != nil {
			return err
		}
	}
	if err := os.WriteFile(b.in("Dockerfile"), []byte(dockerfile), 0o644); err != nil {
		return err
	}
	return os.Setenv("FIVERUN_CONTEXT", dir)
}

// cleared is prepare, and then without what the last run made.
func (b *buildkitBench) cleared(names ...string) func() error {
	return func() error {
		if err := b.prepare(); err != nil {
			return err
		}
		for _, n := range names {
			if err := os.RemoveAll(b.in(n)); err != nil {
				return err
			}
		}
		return nil
	}
}

// emptied is cleared, of the daemon's cache too.
func (b *buildkitBench) emptied(names ...string) func() error {
	cleared := b.cleared(names...)
	return func() error {
		if err := cleared(); err != nil {
			return err
		}
		if out, err := b.buildkit.Command("prune", "--all").CombinedOutput(); err != nil {
			return fmt.Errorf("buildctl prune: %w: %s", err, out)
		}
		return nil
	}
}

// What a side writes.
const layout, none, store = ", to an OCI layout", ", no output", ", to its image store"

// sh is a script with the directory of these comparisons as $0.
func (b *buildkitBench) sh(script string, args ...string) []string {
	return append([]string{"sh", "-ec", script, b.dir}, args...)
}

func (b *buildkitBench) buildctl(out, flags string) side {
	if out == layout {
		flags += ` --output "type=oci,tar=false,dest=$0/buildctl"`
	}
	return side{name: "buildctl build" + out, before: b.cleared("buildctl"), run: b.sh(
		`exec "$BENCH_BUILDCTL" --addr "$BENCH_ADDR" build --progress plain --frontend dockerfile.v0 --local "context=$0/context" --local "dockerfile=$0" ` +
			`--oci-layout "base=$BENCH_LAYOUT" --opt "context:base=oci-layout://base@$BENCH_DIGEST" ` + flags)}
}

func (b *buildkitBench) buildx(out, flags string) side {
	switch out {
	case layout:
		flags += ` --output "type=oci,tar=false,dest=$0/buildx"`
	case none:
		flags += " --output type=cacheonly"
	case store:
		flags += " --load --tag copy"
	}
	// Without an attestation, which neither we nor buildctl make, and with the network that
	// the other daemon gives.
	return side{name: "docker buildx build" + out, before: b.cleared("buildx"), run: b.sh(
		`DOCKER_CONFIG=$0/docker DOCKER_HOST=$BENCH_DOCKER_HOST exec "$BENCH_DOCKER" buildx build --progress plain --provenance=false --network host ` +
			`--build-context "base=oci-layout://$BENCH_LAYOUT@$BENCH_DIGEST" --file "$0/Dockerfile" ` + flags + ` "$0/context"`)}
}

// buildkitComparisons time the program as a client of a BuildKit daemon, beside that
// daemon's own client and Docker's. What a side's processes cost is counted, the daemon's
// work is not: the wall clock has both.
func buildkitComparisons(cfbuild, five, mirror, work string, d *daemons, base func() error) []comparison {
	b := &buildkitBench{daemons: d, dir: filepath.Join(work, "bk"), base: base}
	ours := func(before func() error, flags string) side {
		return side{name: "cfbuild" + layout, before: before, run: b.sh(
			`exec "$1" run copy --builder "buildkit:$BENCH_ADDR" --state-dir "$0/state" --output "$0/ours" --push never --progress plain `+flags, five)}
	}
	peers := func(flags string, goal float64) []side {
		x := b.buildx(layout, flags)
		x.goal = goal
		return []side{b.buildctl(layout, flags), x, b.buildx(store, flags), b.buildctl(none, flags), b.buildx(none, flags)}
	}
	first := b.buildctl(layout, "")
	first.before = b.emptied("buildctl")
	asked := b.cleared("state/artifacts", "ours")
	const steps = "5 RUN + COPY by a BuildKit daemon"
	return append([]comparison{
		{name: steps + " that has nothing yet", ours: ours(b.emptied("state", "ours"), ""), peers: []side{first}},
		{name: steps + " that has the base, cold (--no-cache)", wall: 1.1, ours: ours(asked, "--no-cache"), peers: peers("--no-cache", 0)},
		{name: steps + ", warm: nothing changed, and the daemon is asked", wall: 1.1, ours: ours(asked, ""), peers: peers("", 0.5)},
		{name: steps + ", unchanged: cfbuild has the artifact and asks no daemon", ours: ours(b.prepare, ""), peers: peers("", 0)},
	}, b.three(cfbuild, mirror)...)
}
