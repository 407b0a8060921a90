//go:build containers_image_openpgp && exclude_graphdriver_btrfs

package main

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/cfbuild/cfbuild/internal/golden"
	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/cfbuild/cfbuild/recipes"
)

// record collects which built-in targets the tests of this run built, with which
// packages, and with all of the target's own tests green.
var record = struct {
	sync.Mutex
	how map[string]string
}{how: map[string]string{}}

// verified is called when a target was built and its tests have passed.
func verified(t *testing.T, target, how string) {
	t.Helper()
	if t.Failed() {
		return
	}
	record.Lock()
	defer record.Unlock()
	if record.how[target] != pipelines.VerifiedReal { // which counts for more
		record.how[target] = how
	}
}

// checkVerified compares recipes/verified.txt, which cfbuild list shows, with what
// was verified just now. It counts only when all tests ran.
func checkVerified(code int) int {
	for _, name := range []string{"test.run", "test.skip", "test.list"} {
		if f := flag.Lookup(name); f != nil && f.Value.String() != "" {
			return code
		}
	}
	if code != 0 || testing.Short() {
		return code
	}
	var b strings.Builder
	b.WriteString("# Written by the end-to-end tests: go test ./cmd/cfbuild -update\n")
	for _, name := range slices.Sorted(maps.Keys(record.how)) {
		fmt.Fprintf(&b, "%s\t%s\n", name, record.how[name])
	}
	if golden.Updating() {
		if err := os.WriteFile("../../recipes/verified.txt", []byte(b.String()), 0o644); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		return code
	}
	// A test that was skipped for want of something verifies nothing and takes
	// nothing back; where nothing may be skipped the two have to be equal.
	said := recipes.Verified()
	bad := false
	for _, name := range slices.Sorted(maps.Keys(said)) {
		if os.Getenv("CFBUILD_REQUIRE") == "all" && record.how[name] != said[name] {
			fmt.Fprintf(os.Stderr, "recipes/verified.txt says %s was verified with %q, the tests did %q\n", name, said[name], record.how[name])
			bad = true
		}
	}
	for _, name := range slices.Sorted(maps.Keys(record.how)) {
		if said[name] == "" {
			fmt.Fprintf(os.Stderr, "recipes/verified.txt lacks %s, which the tests verified with %q\n", name, record.how[name])
			bad = true
		}
	}
	if bad {
		fmt.Fprintln(os.Stderr, "go test ./cmd/cfbuild -update brings it up to date")
		return 1
	}
	return code
}
