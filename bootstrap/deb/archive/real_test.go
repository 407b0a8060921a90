package archive_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/cfbuild/cfbuild/bootstrap/deb/archive"
	"github.com/cfbuild/cfbuild/bootstrap/deb/archivetest"
	"github.com/cfbuild/cfbuild/pipelines"
)

// TestRealArchive reads the archives of all releases that are supported, with the
// embedded keys, from the mirrors of this machine.
func TestRealArchive(t *testing.T) {
	st := archivetest.Machine(t)
	h, err := archive.HTTPFor(st)
	if err != nil {
		t.Fatal(err)
	}
	c := &archive.Client{HTTP: h, CacheDir: t.TempDir()}
	for codename, n := range map[string]int{"bullseye": 11, "bookworm": 12, "trixie": 13} {
		suites, pkgs, err := c.Load(t.Context(), archivetest.Debian(codename), st, "arm64", time.Now(), nil)
		if err != nil {
			t.Errorf("%s: %v", codename, err)
			continue
		}
		if len(suites) != 3 || len(pkgs) < 50000 || suites[0].Release.Origin != "Debian" || suites[0].Release.Codename != codename || len(suites[0].Release.SignedBy) != 40 {
			t.Errorf("%s (%d): %d suites, %d packages, %+v", codename, n, len(suites), len(pkgs), suites[0].Release.SignedBy)
		}
		if p := suites[0].Release.Platforms(); !slices.Contains(p, pipelines.Platform{OS: "linux", Architecture: "arm", Variant: "v7"}) {
			t.Errorf("%s: platforms %v", codename, p)
		}
		i := slices.IndexFunc(pkgs, func(p *archive.Package) bool { return p.Name == "base-files" })
		if i < 0 || !pkgs[i].Essential || pkgs[i].Priority != "required" || pkgs[i].Suite != suites[0] {
			t.Errorf("%s: base-files %+v", codename, pkgs[i])
		}
	}
	// Security has not all architectures: the others are built without it.
	var said []string
	suites, _, err := c.Load(t.Context(), archivetest.Debian("bookworm"), st, "s390x", time.Now(), func(e pipelines.Event) { said = append(said, e.Text) })
	if err != nil || len(suites) != 2 || len(said) != 1 {
		t.Errorf("s390x: %d suites, %v, said %q", len(suites), err, said)
	}
	_, _, err = c.Load(t.Context(), archivetest.Debian("bookworm"), st, "riscv64", time.Now(), nil)
	if !errors.Is(err, archive.ErrNoArchitecture) {
		t.Errorf("riscv64 of bookworm: %v", err)
	}
}
