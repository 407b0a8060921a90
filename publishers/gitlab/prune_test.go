package gitlab

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/cfbuild/cfbuild/internal/gitlabtest"
)

var today = time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)

// stocked is a project with versions 1 to 30 of debian12, a day apart and the newest
// of today, and what else may be there.
func stocked(t *testing.T) *gitlabtest.Server {
	s := gitlabtest.Start(t, false)
	day := func(n int) time.Time { return today.AddDate(0, 0, -n) }
	sif := func(n int, names ...string) []gitlabtest.File {
		var out []gitlabtest.File
		for _, name := range names {
			out = append(out, gitlabtest.File{Name: name, Data: make([]byte, n)})
		}
		return out
	}
	for i := 1; i <= 30; i++ {
		s.Add(gitlabtest.Package{Name: "debian12", Version: fmt.Sprintf("1.%d", i), Created: day(30 - i), Files: sif(100, "a.sif", "b.sif")})
	}
	s.Add(gitlabtest.Package{Name: "debian12", Version: "stable", Created: day(300), Files: sif(100, "a.sif")})
	s.Add(gitlabtest.Package{Name: "debian12", Version: "cut", Status: "hidden", Created: day(9), Files: sif(70, "a.sif")})
	s.Add(gitlabtest.Package{Name: "debian12", Version: "cut-now", Status: "hidden", Created: day(0), Files: sif(70, "a.sif")})
	s.Add(gitlabtest.Package{Name: "debian12-hpc", Version: "0.1", Created: day(400), Files: append(sif(10, "x", "y", "x"), sif(20, "x")...)})
	s.Add(gitlabtest.Package{Name: "debian12", Version: "0.0.1", Type: "npm", Created: day(500), Files: sif(5, "p.tgz")})
	return s
}

// brief writes removals down.
func brief(rs []Removal) string {
	var out []string
	for _, r := range rs {
		out = append(out, strings.TrimSuffix(fmt.Sprintf("%s/%s/%s", r.Package, r.Version, r.File), "/")+fmt.Sprintf(":%d", r.Bytes))
	}
	return strings.Join(out, " ")
}

func TestPrunable(t *testing.T) {
	s := stocked(t)
	c := clientFor(t, options(s))
	for _, v := range []struct {
		name string
		r    Retention
		want string
	}{
		{"nothing asked for", Retention{Packages: []string{"*"}, Keep: -1}, ""},
		{"keep", Retention{Packages: []string{"debian12"}, Keep: 28, Protect: []string{"stable"}}, "debian12/1.1:200 debian12/1.2:200"},
		{"keep counts what is not protected", Retention{Packages: []string{"debian12"}, Keep: 30}, "debian12/stable:100"},
		{"old", Retention{Packages: []string{"debian12"}, Keep: -1, Before: today.AddDate(0, 0, -28)}, "debian12/stable:100 debian12/1.1:200"},
		{"keep and old", Retention{Packages: []string{"*"}, Keep: 1, Before: today.AddDate(0, 0, -28)}, "debian12/stable:100 debian12/1.1:200"},
		{"versions", Retention{Packages: []string{"debian12"}, Keep: 0, Versions: []string{"1.2", "1.3"}}, "debian12/1.2:200 debian12/1.3:200"},
		{"duplicates", Retention{Packages: []string{"debian12*"}, Keep: -1, Duplicates: true}, "debian12-hpc/0.1/x:10 debian12-hpc/0.1/x:10"},
		{"duplicates of what goes anyway", Retention{Packages: []string{"debian12-*"}, Keep: 0, Duplicates: true}, "debian12-hpc/0.1:50"},
		{"hidden", Retention{Packages: []string{"debian12"}, Keep: -1, Before: today.AddDate(0, 0, -2), Versions: []string{"cut*"}, Hidden: true}, "debian12/cut:70"},
	} {
		got, err := c.Prunable(t.Context(), v.r)
		if err != nil || brief(got) != v.want {
			t.Errorf("%s: got %q (%v), want %q", v.name, brief(got), err, v.want)
		}
	}
	if len(s.Packages()) != 35 || s.Count("DELETE", "") != 0 {
		t.Error("something was removed")
	}
	// Keep goes by age, not by the order of names, and over pages.
	got, err := c.Prunable(t.Context(), Retention{Packages: []string{"debian12"}, Keep: 2})
	if err != nil || len(got) != 29 || got[0].Version != "stable" || got[28].Version != "1.28" {
		t.Errorf("got %s (%v)", brief(got), err)
	}
}

func TestRemove(t *testing.T) {
	s := stocked(t)
	c := clientFor(t, options(s))
	r := Retention{Packages: []string{"*"}, Keep: 1, Duplicates: true}
	what, err := c.Prunable(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	s.Fail(gitlabtest.Fault{Method: "DELETE", Times: 1, Status: 503})
	s.Fail(gitlabtest.Fault{Method: "DELETE", Skip: 2, Times: 1, Mute: true})
	if err := c.Remove(t.Context(), what); err != nil {
		t.Fatal(err)
	}
	left := s.Packages()
	if len(left) != 5 || left[0].Version != "1.30" || namesOf(left[3]) != "y x" || len(left[3].Files[1].Data) != 20 {
		t.Errorf("%d packages stay: %+v", len(left), left)
	}
	for _, w := range what {
		if !w.Removed {
			t.Errorf("%+v is not marked as removed", w)
		}
	}
	if again, err := c.Prunable(t.Context(), r); err != nil || len(again) != 0 {
		t.Errorf("again: %s, %v", brief(again), err)
	}
}

func TestPruneFails(t *testing.T) {
	s := stocked(t)
	s.Set(func(v *gitlabtest.Settings) { v.DeleteProtected = "debian12" })
	o := options(s)
	o.Package, o.Version = "", ""
	c := clientFor(t, o)
	what, err := c.Prunable(t.Context(), Retention{Packages: []string{"*"}, Keep: 0, Versions: []string{"1.1", "0.1"}})
	if err != nil {
		t.Fatal(err)
	}
	err = c.Remove(t.Context(), what)
	failed(t, err, "delete", "debian12/1.1: ", "keeps packages of that name from being deleted")
	failed(t, err, "delete", "Package is deletion protected (1 of 2 could not be removed)", "")
	if what[0].Removed || what[0].Failed == "" || !what[1].Removed {
		t.Errorf("got %+v", what)
	}
	o.Token.Value = s.Grant(JobToken, gitlabtest.Write)
	err = clientFor(t, o).Remove(t.Context(), what[:1])
	failed(t, err, "delete", "403 Forbidden", "deleting for a Maintainer")
	for _, v := range []struct {
		r    Retention
		says string
	}{
		{Retention{}, "no package is named"},
		{Retention{Packages: []string{"["}}, `pattern "[" of package: is not valid`},
		{Retention{Packages: []string{"*"}, Hidden: true}, "one may be in the making"},
	} {
		_, err := c.Prunable(t.Context(), v.r)
		failed(t, err, "options", v.says, "")
	}
	o.Token = Token{DeployToken, s.Grant(DeployToken, gitlabtest.Delete), "X"}
	_, err = clientFor(t, o).Prunable(t.Context(), Retention{Packages: []string{"*"}})
	failed(t, err, "options", "may neither list nor delete", "job token")
}
