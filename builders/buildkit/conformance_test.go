//go:build !no_buildkit && linux && containers_image_openpgp

package buildkit_test

import (
	"testing"

	"github.com/cfbuild/cfbuild/builders"
	"github.com/cfbuild/cfbuild/builders/builderstest"
	"github.com/cfbuild/cfbuild/builders/buildkit"
	"github.com/cfbuild/cfbuild/internal/buildkitdtest"
	"github.com/moby/buildkit/client"
)

// opener gives builders with a state directory of their own and a daemon whose cache is
// empty. The first one's is its alone; the others take turns on two, so that a test can
// use two of them beside each other.
func opener(t *testing.T, o buildkitdtest.Options) func(t *testing.T) builders.Builder {
	var daemons []*buildkitdtest.Daemon
	opened := 0
	return func(st *testing.T) builders.Builder {
		st.Helper()
		i := opened
		if opened++; i > 2 {
			i = 1 + (i+1)%2
		}
		if i == len(daemons) {
			daemons = append(daemons, buildkitdtest.Start(t, o))
		} else {
			prune(st, daemons[i])
		}
		return open(st, daemons[i])
	}
}

func open(t *testing.T, d *buildkitdtest.Daemon) builders.Builder {
	t.Helper()
	b, err := buildkit.Backend().Open(t.Context(), builders.Options{Address: d.Addr, StateDir: t.TempDir(), Log: testLog{t}})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func prune(t *testing.T, d *buildkitdtest.Daemon) {
	t.Helper()
	c, err := client.New(t.Context(), d.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Prune(t.Context(), nil, client.PruneAll); err != nil {
		t.Fatal(err)
	}
}

type testLog struct{ t *testing.T }

func (l testLog) Write(p []byte) (int, error) {
	l.t.Logf("%s", p)
	return len(p), nil
}

func TestConformance(t *testing.T) {
	builderstest.Run(t, opener(t, buildkitdtest.Options{}))
}

func TestConformanceRootless(t *testing.T) {
	builderstest.Run(t, opener(t, buildkitdtest.Options{Rootless: true}))
}
