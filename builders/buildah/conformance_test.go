//go:build linux && cgo && containers_image_openpgp && exclude_graphdriver_btrfs

package buildah_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/cfbuild/cfbuild/builders"
	"github.com/cfbuild/cfbuild/builders/buildah"
	"github.com/cfbuild/cfbuild/builders/builderstest"
)

func TestMain(m *testing.M) {
	if buildah.Child() {
		return
	}
	os.Exit(m.Run())
}

// opener gives builders with a state directory of their own.
func opener(o builders.Options) func(t *testing.T) builders.Builder {
	return func(t *testing.T) builders.Builder {
		t.Helper()
		o := o
		o.StateDir = filepath.Join(t.TempDir(), "state")
		o.Log = testLog{t}
		b, err := buildah.Backend().Open(t.Context(), o)
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

func TestConformance(t *testing.T) { builderstest.Run(t, opener(builders.Options{})) }
