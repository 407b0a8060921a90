package resolve

import (
	"bytes"
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"github.com/cfbuild/cfbuild/internal/testneed"
)

// TestVercmpAsRPM compares every pair of versions with rpm's own answer.
func TestVercmpAsRPM(t *testing.T) {
	versions := []string{"0", "1", "01", "1.0", "1.0.0", "1.00", "1.1", "1.10", "1.9", "10", "2", "2.0.1", "2.0.1a", "2.0a", "2.0.1b", "5.5p1", "5.5p2", "5.5p10",
		"10xyz", "10.1xyz", "xyz10", "xyz10.1", "xyz.4", "8", "xyz.8", "5.6p1", "6.5p1", "6.0.rc1", "6.0", "a", "b", "Z", "1~rc1", "1~rc1~git1", "1~", "1.0~rc1", "1.0~rc2",
		"1^", "1^git1", "1^git2", "1^git1~pre", "1.0^20160101", "1.0^20160102", "1.0.1", "1~^", "1^~", "~", "^", "~~", "1_2", "1__2", "1..2", "1.2", "1-2", "1+2",
		"5.14.0", "5.14.0a", "20240101", "2024.01.01", "el9", "el9_4", "el9.4", "9.el9", "10.el9", "1.module+el8", "0001", "18446744073709551616", "18446744073709551617", "1a2", "1a10", "1.a2", "é", "1.é"}
	// rpm.vercmp takes [epoch:]version-release: without a "-" the whole is a version.
	var plain []string
	for _, v := range versions {
		if v != "" && !strings.Contains(v, "-") {
			plain = append(plain, v)
		}
	}
	script := "local v = {'" + strings.Join(plain, "','") + "'} for _, a in ipairs(v) do for _, b in ipairs(v) do print(rpm.vercmp(a, b) .. ' ') end end"
	cmd := exec.Command(testneed.Program(t, "rpm"), "--eval", "%{lua:"+script+"}")
	var out bytes.Buffer
	cmd.Stdout = &out
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	answers := strings.Fields(out.String())
	if len(answers) != len(plain)*len(plain) {
		t.Fatalf("%d answers for %d pairs", len(answers), len(plain)*len(plain))
	}
	for i, a := range plain {
		for j, b := range plain {
			if got, want := fmt.Sprint(Vercmp(a, b)), answers[i*len(plain)+j]; got != want {
				t.Errorf("%q against %q: %s, rpm says %s", a, b, got, want)
			}
		}
	}
}

func TestEVR(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want int
	}{{"1-1", "1-2", -1}, {"1:1-1", "2-1", 1}, {"0:1-1", "1-1", 0}, {"1-1.el9", "1-1.el9_4", -1}} {
		if got := ParseEVR(c.a).Compare(ParseEVR(c.b)); got != c.want {
			t.Errorf("%s %s: %d", c.a, c.b, got)
		}
	}
	if got := ParseEVR("3:1.2-4.el9"); got != (EVR{"3", "1.2", "4.el9"}) || got.String() != "3:1.2-4.el9" {
		t.Errorf("%+v", got)
	}
}

func TestFits(t *testing.T) {
	dep := func(s string) Dep {
		w := strings.Fields(s)
		if len(w) == 1 {
			return Dep{Name: w[0]}
		}
		return Dep{w[0], ParseOp(w[1]), ParseEVR(w[2])}
	}
	for _, c := range []struct {
		want, have string
		fits       bool
	}{
		{"a", "a", true}, {"a", "a = 1-1", true}, {"a = 1", "a", false}, {"a = 1", "a = 1-5", true}, {"a = 1-4", "a = 1-5", false}, {"a >= 1", "a = 2-1", true},
		{"a > 1", "a = 1-1", false}, {"a < 1", "a = 1-1", false}, {"a <= 1", "a = 1-9", true}, {"a >= 2", "a < 3", true}, {"a >= 3", "a < 3", false},
		{"a <= 3", "a >= 3", true}, {"a >= 0:2", "a = 1:1-1", true}, {"a >= 1:1", "a = 5-1", false},
	} {
		if got := dep(c.want).fits(dep(c.have)); got != c.fits {
			t.Errorf("%q by %q: %v", c.want, c.have, got)
		}
	}
}
