//go:build linux && cgo && containers_image_openpgp && exclude_graphdriver_btrfs

package buildah

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cfbuild/cfbuild/internal/testneed"
	"github.com/cfbuild/cfbuild/pipelines"
)

// TestOwnRegistration registers an "emulator" for a kind of program that no machine
// has: this machine's own shortest program, which takes the place of any other. It
// runs as root; TestOwnRegistrationAsUser runs it in a user namespace.
func TestOwnRegistration(t *testing.T) {
	if os.Geteuid() != 0 {
		testneed.Skip(t, "needs root, of a user namespace at least")
	}
	dir := t.TempDir()
	native := arches[pipelines.HostPlatform().Architecture]
	probe := func(a arch, lines ...string) error {
		res, err := probeStage(dir, map[string]arch{"it": a}, lines)
		switch {
		case err != nil:
			return err
		case res.Error != "":
			return errors.New(res.Error)
		case res.Probes["it"] != "":
			return errors.New(res.Probes["it"])
		}
		return nil
	}
	if err := probe(native); err != nil {
		t.Fatalf("the machine's own programs do not run: %v", err)
	}
	foreign := native
	foreign.qemu, foreign.machine = "none", 0xfeed
	if err := probe(foreign); err == nil {
		t.Fatal("a program of no machine ran")
	}
	interpreter := filepath.Join(dir, "interpreter")
	if err := os.WriteFile(interpreter, native.program(), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := probe(foreign, foreign.registration(interpreter)); err != nil {
		if strings.Contains(err.Error(), "6.7") {
			testneed.Skip(t, err.Error())
		}
		t.Fatal(err)
	}
	if err := probe(foreign); err == nil {
		t.Fatal("the registration outlived its step")
	}
}
