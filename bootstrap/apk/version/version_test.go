package version_test

import (
	"strings"
	"testing"

	"github.com/cfbuild/cfbuild/bootstrap/apk/version"
)

// In order; each line is smaller than the next. Versions on one line are equal.
const ordered = `
0.9
1.0_alpha
1.0_alpha1
1.0_alpha2
1.0_beta1-r3
1.0_pre20201010
1.0_rc1
1.0_rc1-r1
1.0
1.0-r0
1.0-r1
1.0-r10
1.0_cvs1
1.0_git20200101
1.0_p1
1.0_p1_p2
1.0a
1.0b
1.0.1
1.1
1.9
1.10
1.10.0_rc3-r0
1.10.0
1.31.1-r9
2
10.2.3
20191127-r1
`

func TestOrder(t *testing.T) {
	list := strings.Fields(ordered)
	for i, a := range list {
		if !version.Valid(a) {
			t.Errorf("%s is not valid", a)
		}
		for j, b := range list {
			want := 0
			if i < j {
				want = -1
			} else if i > j {
				want = 1
			}
			if got := version.Compare(a, b); got != want {
				t.Errorf("%s to %s: %d, want %d", a, b, got, want)
			}
		}
	}
	if version.Compare("1.0~abc", "1.0~abd") >= 0 || version.Compare("99999999999999999999.1", "100000000000000000000") >= 0 {
		t.Error("hashes or long numbers")
	}
}

func TestValid(t *testing.T) {
	for _, bad := range []string{"", "a", "1.", "1..2", "1_", "1_foo", "1-1", "1-r", "1.0-r1_p1", "1ab", "1 ", "v1", "1_p-1", "1~", "1~g", "1_RC1"} {
		if version.Valid(bad) {
			t.Errorf("%q is valid", bad)
		}
	}
}

func TestSatisfies(t *testing.T) {
	for _, c := range []struct {
		have, op, want string
		yes            bool
	}{
		{"1.2.3-r4", "", "", true},
		{"1.2.3-r4", "=", "1.2.3-r4", true},
		{"1.2.3-r4", "=", "1.2.3", false},
		{"1.2.3-r4", "~", "1.2", true},
		{"1.2.3-r4", "~", "1.2.3", true},
		{"1.2.3-r4", "=~", "1.2.4", false},
		{"1.20", "~", "1.2", false},
		{"1.2.3-r4", ">=", "1.2.3", true},
		{"1.2.3-r4", ">", "1.2.3-r4", false},
		{"1.2.3-r4", "<", "1.3", true},
		{"1.2_rc1", "<", "1.2", true},
		{"1.3", ">~", "1.2", true},
		{"1.2.9", ">~", "1.2", true},
		{"1.1", ">~", "1.2", false},
	} {
		if got := version.Satisfies(c.have, c.op, c.want); got != c.yes {
			t.Errorf("%s %s %s: %v", c.have, c.op, c.want, got)
		}
	}
}

func FuzzCompare(f *testing.F) {
	for _, v := range strings.Fields(ordered) {
		f.Add(v, "1.0_p1")
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		if version.Compare(a, b) != -version.Compare(b, a) {
			t.Errorf("%q and %q: not antisymmetric", a, b)
		}
		if version.Compare(a, a) != 0 {
			t.Errorf("%q is not itself", a)
		}
	})
}
