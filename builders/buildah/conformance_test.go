//go:build linux && cgo && containers_image_openpgp && exclude_graphdriver_btrfs

package buildah_test

import (
	"context"
	"os"
	"syscall"
	"testing"

	"github.com/cfbuild/cfbuild/builders"
	"github.com/cfbuild/cfbuild/builders/buildah"
	"github.com/cfbuild/cfbuild/builders/builderstest"
)

func TestMain(m *testing.M) {
	if buildah.Child() {
		return
	}
	if os.Getenv(hideBinfmt) != "" {
		// An instance of its own, held until the end, hides the machine's.
		dir, err := os.MkdirTemp("", "binfmt-")
		if err == nil {
			err = syscall.Mount("binfmt_misc", dir, "binfmt_misc", 0, "")
		}
		if err != nil {
			panic(err)
		}
	}
	if os.Getenv(noNamespaces) == "root" {
		os.Exit(withoutNamespaces())
	}
	if job := os.Getenv(helperEnv); job != "" {
		helper(job)
	}
	os.Exit(m.Run())
}

// opener gives builders with a state directory of their own.
func opener(o builders.Options) func(t *testing.T) builders.Builder {
	return func(t *testing.T) builders.Builder {
		t.Helper()
		o := o
		o.StateDir = stateDir(t, o)
		o.Log = testLog{t}
		b, err := buildah.Backend().Open(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
}

// stateDir makes a state directory and removes it afterwards. Files of subordinate
// ids are not an ordinary user's to remove: pruning does.
func stateDir(t testing.TB, o builders.Options) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "cfbuild-state-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		o.StateDir = dir
		if _, err := buildah.Prune(context.Background(), o, 0, 0); err != nil {
			t.Errorf("prune: %v", err)
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

type testLog struct{ t *testing.T }

func (l testLog) Write(p []byte) (int, error) {
	l.t.Logf("%s", p)
	return len(p), nil
}

// TestConformance takes isolation and driver from the environment, so that each
// way can be run alone: CFBUILD_TEST_ISOLATION, CFBUILD_TEST_DRIVER.
func TestConformance(t *testing.T) {
	builderstest.Run(t, opener(builders.Options{Isolation: os.Getenv("CFBUILD_TEST_ISOLATION"), Driver: os.Getenv("CFBUILD_TEST_DRIVER")}))
}
