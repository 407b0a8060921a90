package resolve

import (
	"os/exec"
	"slices"
	"testing"

	"github.com/cfbuild/cfbuild/internal/testneed"
)

// ascending versions; each is less than the next.
var ascending = []string{
	"~~", "~~a", "~", "", "0.1~rc1-1", "0.1~rc1-2", "0.1", "0.1-1", "0.1-1+b1", "0.1-1.1", "0.1a", "0.1.1", "0.9", "0.10~", "0.10",
	"1.0~beta1~svc1", "1.0~beta1", "1.0", "1.0a", "1.0+deb12u1", "1.0+deb12u10", "1.0.0", "1.2-a-1", "1.2-a-2", "12", "1:0", "1:0.1", "2:0~", "10:0",
}

func TestCompareVersions(t *testing.T) {
	for i, a := range ascending {
		for j, b := range ascending {
			if got, want := CompareVersions(a, b), sign(i-j); got != want {
				t.Errorf("CompareVersions(%q, %q) = %d, want %d", a, b, got, want)
			}
		}
	}
	for _, same := range [][2]string{{"0:1", "1"}, {"1-0", "1"}, {"1.00", "1.0"}, {"1.01-1", "1.1-01"}, {"a0", "a"}} {
		if CompareVersions(same[0], same[1]) != 0 || CompareVersions(same[1], same[0]) != 0 {
			t.Errorf("%q and %q differ", same[0], same[1])
		}
	}
}

func TestCompareVersionsAsDpkg(t *testing.T) {
	dpkg := testneed.Program(t, "dpkg")
	valid := []string{"0.1~rc1-1", "0.1", "0.1-1+b1", "0.10~", "1.0~beta1", "1.0+deb12u10", "1.0.0", "1.2-a-1", "1:0", "0:1.0", "1.00-0", "3a1", "3a", "3.a"}
	for _, a := range valid {
		for _, b := range valid {
			want := 0
			for op, c := range map[string]int{"lt": -1, "gt": 1} {
				if exec.Command(dpkg, "--compare-versions", a, op, b).Run() == nil {
					want = c
				}
			}
			if got := CompareVersions(a, b); got != want {
				t.Errorf("CompareVersions(%q, %q) = %d, dpkg says %d", a, b, got, want)
			}
		}
	}
}

func FuzzCompareVersions(f *testing.F) {
	for i, v := range ascending {
		f.Add(v, ascending[(i+7)%len(ascending)], ascending[(i*5)%len(ascending)])
	}
	f.Fuzz(func(t *testing.T, a, b, c string) {
		if CompareVersions(a, a) != 0 || CompareVersions(a, b) != -CompareVersions(b, a) {
			t.Fatalf("%q and %q: %d, %d", a, b, CompareVersions(a, b), CompareVersions(b, a))
		}
		v := []string{a, b, c}
		slices.SortFunc(v, CompareVersions)
		if CompareVersions(v[0], v[1]) > 0 || CompareVersions(v[1], v[2]) > 0 || CompareVersions(v[0], v[2]) > 0 {
			t.Fatalf("no order of %q", v)
		}
	})
}

func FuzzParseField(f *testing.F) {
	for _, s := range []string{"a", "a (>= 1), b | c:any (<< 2)", "a [amd64]", "a(=1)", ",,", "a (> 1)", "a ()", "0\n:"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		groups, err := parseField(s)
		if err != nil {
			return
		}
		for _, g := range groups {
			again, err := parseField(g.String())
			if err != nil || len(again) != 1 || !slices.Equal(again[0], g) {
				t.Fatalf("%q is written as %q, which reads as %v, %v", s, g, again, err)
			}
		}
	})
}
