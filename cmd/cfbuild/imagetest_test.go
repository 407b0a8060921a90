//go:build containers_image_openpgp && exclude_graphdriver_btrfs

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// imageTests runs the tests of an image that is built already, natively and
// emulated, and of one that does not pass.
func imageTests(t *testing.T, w *world) {
	t.Helper()
	rep := w.run("debian12-tests", "--platform", both, "--test", "--junit", filepath.Join(w.dir, "junit.xml"))
	if len(rep.Tests) != 2 {
		t.Fatalf("%+v", rep.Tests)
	}
	for _, r := range rep.Tests {
		if r.Cached || len(r.Results) != 11 {
			t.Errorf("%s: %+v", r.Platform, r)
		}
		for _, x := range r.Results {
			if x.Outcome != "passed" {
				t.Errorf("%s: %s %s", r.Platform, x.Name, x.Outcome)
			}
		}
	}
	b, err := os.ReadFile(filepath.Join(w.dir, "junit.xml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{`<testsuite name="debian12-tests linux/arm64" tests="11" failures="0" errors="0"`, `file="cfbuild/app_test.go:`, "aarch64&#xA;arm64", "x86_64&#xA;amd64"} {
		if !strings.Contains(string(b), s) {
			t.Errorf("the JUnit report lacks %q:\n%s", s, b)
		}
	}
	for _, r := range w.run("debian12-tests", "--platform", both, "--test").Tests {
		if !r.Cached {
			t.Errorf("%s: tests that passed ran again", r.Platform)
		}
	}
	_, stderr, code := w.try("run", "debian12-wanting", "--site", frozenSite(t), "--test", "--progress", "plain")
	if code != 8 || !strings.Contains(stderr, "want exit code 0, got 1") || !strings.Contains(stderr, "debian12-wanting-") {
		t.Errorf("exit code %d, want 8\n%s", code, stderr)
	}
	if _, err := os.Stat(filepath.Join(w.dir, "out", "debian12-wanting")); err == nil {
		t.Error("an image that does not pass its tests was delivered")
	}
	left, err := os.ReadDir(filepath.Join(w.dir, "state", "tmp"))
	if err != nil || len(left) > 0 {
		t.Errorf("left in the state directory: %v %v", left, err)
	}
}
