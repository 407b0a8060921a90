//go:build containers_image_openpgp && exclude_graphdriver_btrfs

package main

import (
	"testing"

	"github.com/cfbuild/cfbuild/pipelines"
)

// The targets of Debian's releases that are on its mirror are built from it, native
// and emulated, and pass their own tests. bullseye's security archive no longer has
// all that its index for arm64 lists.
func TestDebianTargets(t *testing.T) {
	w := newWorld(t, nil)
	for _, c := range []struct {
		target, platforms string
		images, tests     int    // tests is the least that each image has
		version           string // of SIF files, to be tried with Apptainer; empty for none
	}{
		{"debian11", "linux/amd64", 1, 20, ""},
		{"debian12", both, 2, 20, "12."},
		{"debian13", both, 2, 20, "13."},
		{"debian12-hpc", both, 2, 35, ""},
	} {
		t.Run(c.target, func(t *testing.T) {
			rep := w.run(c.target, "--platform", c.platforms, "--test")
			if len(rep.Tests) != c.images {
				t.Fatalf("%d of %d images were tested", len(rep.Tests), c.images)
			}
			for _, r := range rep.Tests {
				if len(r.Results) < c.tests {
					t.Errorf("%s: %d tests", r.Platform, len(r.Results))
				}
				for _, x := range r.Results {
					if x.Outcome != "passed" {
						t.Errorf("%s: %s: %s", r.Platform, x.Name, x.Outcome)
					}
				}
			}
			w.lint(0, c.target, "--platform", c.platforms, "--site", frozenSite(t))
			verified(t, c.target, pipelines.VerifiedReal)
			if c.version != "" {
				sifs(t, w, c.target, c.version)
			}
			if c.target == "debian12" {
				sameTree(t, w, c.target)
			}
		})
	}
}
