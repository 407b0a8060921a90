package version_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/cfbuild/cfbuild/bootstrap/apk/version"
	"github.com/cfbuild/cfbuild/internal/testrepo/apkrepo"
)

// older are pairs that apk 2.10 has the other way round: a version and its own
// pre-release. 2.14.10 and 3.0.6 say what we say.
var older = []string{"1.0_alpha 1.0", "1.0_rc1 1.0", "1.0_rc1-r1 1.0", "1.10.0_rc3-r0 1.10.0"}

// TestSameAsApk asks the real apk about neighbours and about pairs that are further
// apart.
func TestSameAsApk(t *testing.T) {
	tool := apkrepo.NewApk(t)
	list := strings.Fields(ordered)
	for i, a := range list {
		for _, j := range []int{i, i + 1, i + 2, i + 7, len(list) - 1 - i} {
			if j >= len(list) {
				continue
			}
			b := list[j]
			out, err := tool.Run("version", "-t", a, b)
			if err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			want := strings.TrimSpace(out)
			if got := string("<=>"[version.Compare(a, b)+1]); (got != want) != (tool.Major("2.10") && slices.Contains(older, a+" "+b)) {
				t.Errorf("%s %s %s, apk says %s", a, got, b, want)
			}
		}
		if out, err := tool.Run("version", "-c", a); err != nil {
			t.Errorf("apk does not take %s: %s", a, out)
		}
	}
	for _, bad := range []string{"1_foo", "1-1", "1.0-r1_p1", "1_RC1", "1 1"} {
		if out, err := tool.Run("version", "-c", bad); err == nil || version.Valid(bad) {
			t.Errorf("%s: valid %v, apk says %v %s", bad, version.Valid(bad), err, out)
		}
	}
}
