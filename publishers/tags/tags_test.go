package tags

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"
)

const hash = "0a1b2c3d4e5f60718293a4b5c6d7e8f901234567"

// released is a checkout of a tag with these others in the repository.
func released(tag string, others ...string) Facts {
	return Facts{Tag: tag, Commit: hash, Tags: append(others, tag), AllTags: true}
}

func job(f Facts) Facts {
	f.CI = true
	return f
}

var (
	main_   = Facts{Branch: "main", DefaultBranch: "main", RefSlug: "main", Commit: hash, AllTags: true}
	feature = Facts{Branch: "Feature/New_Thing", DefaultBranch: "main", Commit: hash, AllTags: true}
	shallow = Facts{Tag: "v1.2.3", Commit: hash, Tags: []string{"v1.2.3"}}
	dirty   = Facts{Tag: "v1.2.3", Commit: hash, Tags: []string{"v1.2.3"}, AllTags: true, Dirty: true}
)

func TestDecide(t *testing.T) {
	day := time.Date(2024, 2, 29, 23, 30, 0, 0, time.FixedZone("", -3600))
	for _, c := range []struct {
		policy string
		facts  Facts
		want   string // tags; then "-TAG" for each that is held, "!text" for an error
	}{
		{"semver", released("v1.2.3"), "1.2.3 1.2 1 latest"},
		{"semver", released("1.2.3", "v1.2.2", "v1.1.9", "nonsense"), "1.2.3 1.2 1 latest"},
		{"semver", released("v1.2.4", "v1.3.0"), "1.2.4 1.2 -1 -latest"},
		{"semver", released("v1.2.3", "v1.2.10"), "1.2.3 -1.2 -1 -latest"},
		{"semver", released("v1.9.0", "v2.0.0"), "1.9.0 1.9 1 -latest"},
		{"semver", released("v1.2.3", "v1.3.0-rc.1", "v2.0.0-alpha"), "1.2.3 1.2 1 latest"}, // pre-releases take nothing
		{"semver", released("v1.3.0-rc.1", "v1.2.3"), "1.3.0-rc.1"},
		{"semver", released("v0.2.3"), "0.2.3 0.2 latest"}, // 0 promises nothing
		{"semver", released("v1.0.0+build.5"), "1.0.0_build.5 1.0 1 latest"},
		{"semver", released("v10.0.0", "v9.0.0"), "10.0.0 10.0 10 latest"},
		{"semver", shallow, "1.2.3 -1.2 -1 -latest"},
		{"semver", dirty, `!files were changed since v1.2.3`},
		{"semver", released("v1.2"), `!"v1.2" is not a semantic version`},
		{"semver", released("v01.2.3"), `!is not a semantic version`},
		{"semver", released("v1.2.3-01"), `!is not a semantic version`},
		{"semver", released("v99999999999999999999.0.0"), `!is not a semantic version`},
		{"semver", released("v1.0.0-" + strings.Repeat("a", 130)), `!longer than a tag may be`},
		{"semver", main_, "!the commit has no git tag"},
		{"semver", Facts{Why: "git is not installed"}, "!no git tag is known: git is not installed"},
		{"semver,commit", main_, "0a1b2c3d -"},
		{"semver,commit", released("v1.2.3"), "1.2.3 1.2 1 latest 0a1b2c3d"},
		{"commit,commit-long", main_, "0a1b2c3d " + hash},
		{"commit", dirty, "!files were changed since the commit"},
		{"commit", Facts{}, "!the commit is not known"},
		{"date,commit-date", Facts{Run: day, CommitTime: day.AddDate(0, 0, -1)}, "20240301 20240229"},
		{"commit-date", Facts{Run: day}, "!the commit is not known"},
		{"channel", released("v1.2.3"), "stable"},
		{"channel", released("v1.2.3", "v1.2.4"), "!v1.2.4 is later, and stable does not move backwards"},
		{"channel", released("v1.3.0-rc.1"), "rc"},
		{"channel", released("v1.3.0-rc2", "v1.3.0-rc1", "v1.4.0-beta.1", "v2.0.0"), "rc"},
		{"channel,commit", released("v1.3.0-rc.1", "v1.3.0-rc.2"), "0a1b2c3d -rc"},
		{"channel", released("v1.3.0-1"), "pre"},
		{"channel", released("v1.3.0-stable.1"), `!the name of another channel, stable`},
		{"channel", released("nightly"), `!its channel is not known`},
		{"channel", main_, "edge"},
		{"channel", feature, "feature-new-thing"},
		{"channel", Facts{Branch: "stable", DefaultBranch: "main"}, `!"stable" gives the name of another channel`},
		{"channel", Facts{MergeRequest: "12", RefSlug: "feature", Commit: hash}, "mr-12"},
		{"channel", Facts{}, "!neither a git tag nor a branch is known"},
		{"ref", main_, "main"},
		{"ref", feature, "feature-new-thing"},
		{"ref", released("release/1+2"), "release-1-2"},
		{"ref", Facts{}, "!neither a git tag nor a branch is known"},
		{"auto", Facts{}, "latest"},
		{"auto", main_, "latest"},
		{"auto", job(main_), "main latest"},
		{"auto", job(feature), "feature-new-thing"},
		{"auto", job(released("v1.2")), "v1.2"},
		{"auto", Facts{CI: true, Tag: "release/1+2", RefSlug: "release-1-2"}, "release-1-2"},
		{"12,latest,12", Facts{}, "12 latest"},
		{"latest,semver", released("v1.2.4", "v1.3.0"), "latest 1.2.4 1.2 -1 -latest"}, // asked for by name
		{"=semver,=12", Facts{}, "semver 12"},
		{"1.2.3,semver", released("v1.2.3"), "1.2.3 1.2 1 latest"},
	} {
		p, err := Parse([]string{c.policy})
		if err != nil {
			t.Fatal(err)
		}
		d, err := p.Decide(c.facts)
		got := d.Names()
		for _, h := range d.Held {
			got = append(got, "-"+h.Name)
		}
		if says, ok := strings.CutPrefix(c.want, "!"); ok {
			var te *Error
			if !errors.As(err, &te) || !strings.Contains(err.Error(), says) {
				t.Errorf("%s of %+v: %v %v, want an error: %s", c.policy, c.facts, got, err, says)
			}
			continue
		}
		if err != nil || strings.Join(got, " ") != c.want {
			t.Errorf("%s of %+v: %v %v, want %s", c.policy, c.facts, got, err, c.want)
		}
		for _, g := range d.Tags {
			if !Legal(g.Name) || g.Why == "" {
				t.Errorf("%s of %+v: %+v", c.policy, c.facts, g)
			}
		}
	}
}

func TestWhatMoves(t *testing.T) {
	p, err := Parse([]string{"semver,commit,channel,12"})
	if err != nil {
		t.Fatal(err)
	}
	d, err := p.Decide(released("v1.2.3"))
	if err != nil {
		t.Fatal(err)
	}
	var moves []string
	for _, g := range d.Tags {
		if g.Moves {
			moves = append(moves, g.Name)
		}
	}
	if want := []string{"1.2", "1", "latest", "stable", "12"}; !slices.Equal(moves, want) {
		t.Errorf("%v, want %v", moves, want)
	}
}

func TestParse(t *testing.T) {
	for _, bad := range []string{"", "a,", "a/b", "-x", ".x", "a b", "a+b", "=", "=a/b", strings.Repeat("x", 129)} {
		_, err := Parse([]string{bad})
		var te *Error
		if !errors.As(err, &te) || te.Hint() == "" {
			t.Errorf("%q: %v", bad, err)
		}
	}
	for list, git := range map[string]bool{"auto": false, "1.2,latest": false, "date": false, "1.2,semver": true, "commit": true, "=commit": false, "channel": true} {
		if p, err := Parse([]string{list}); err != nil || p.NeedsGit() != git {
			t.Errorf("%s: needs git: %v, %v", list, p.NeedsGit(), err)
		}
	}
}

func TestPrecedence(t *testing.T) {
	// semver.org, section 11.
	order := []string{"1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-alpha.beta", "1.0.0-beta", "1.0.0-beta.2", "1.0.0-beta.11", "1.0.0-rc.1", "1.0.0", "2.0.0", "2.1.0", "2.1.1", "2.1.10", "10.0.0"}
	for i, a := range order {
		for j, b := range order {
			va, ok1 := parse(a)
			vb, ok2 := parse("v" + b)
			if c := compare(va, vb); !ok1 || !ok2 || (c < 0) != (i < j) || (c == 0) != (i == j) {
				t.Errorf("%s and %s: %d", a, b, c)
			}
		}
	}
	if got := Latest([]string{"x", "v1.0.0-rc.1", "v1.0.0", "v0.9.0"}); got != "v1.0.0" {
		t.Errorf("of several tags %s is taken", got)
	}
	if got := Latest([]string{"b", "a"}) + Latest(nil); got != "b" {
		t.Errorf("of tags that are no versions %q is taken", got)
	}
}

func TestSlug(t *testing.T) {
	for in, want := range map[string]string{"Feature/New_Thing": "feature-new-thing", "--a--": "a", "ü": "", strings.Repeat("x", 62) + "/yz": strings.Repeat("x", 62)} {
		if got := Slug(in); got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
}

func FuzzDecide(f *testing.F) {
	f.Add("v1.2.3", "main", "semver,channel,ref,auto", true)
	f.Add("release/1+2", "Feature/x", "ref", false)
	f.Fuzz(func(t *testing.T, tag, branch, policy string, all bool) {
		p, err := Parse([]string{policy})
		if err != nil {
			return
		}
		d, err := p.Decide(Facts{Tag: tag, Branch: branch, Commit: hash, Tags: []string{tag, branch}, AllTags: all})
		if err != nil {
			return
		}
		for _, g := range d.Tags {
			if !Legal(g.Name) {
				t.Errorf("%q is not legal", g.Name)
			}
		}
	})
}
