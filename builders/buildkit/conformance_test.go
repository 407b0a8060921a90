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

// opener gives builders with a state directory of their own, on a daemon whose cache is
// emptied each time.
func opener(d *buildkitdtest.Daemon) func(t *testing.T) builders.Builder {
	return func(t *testing.T) builders.Builder {
		t.Helper()
		c, err := client.New(t.Context(), d.Addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if err := c.Prune(t.Context(), nil, client.PruneAll); err != nil {
			t.Fatal(err)
		}
		b, err := buildkit.Backend().Open(t.Context(), builders.Options{Address: d.Addr, StateDir: t.TempDir(), Log: testLog{t}})
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
}

type testLog struct{ t *testing.T }

func (l testLog) Write(p []byte) (int, error) {
	l.t.Logf("%s", p)
	return len(p), nil
}

func TestConformance(t *testing.T) {
	builderstest.Run(t, opener(buildkitdtest.Start(t, buildkitdtest.Options{})))
}

func TestConformanceRootless(t *testing.T) {
	builderstest.Run(t, opener(buildkitdtest.Start(t, buildkitdtest.Options{Rootless: true})))
}
