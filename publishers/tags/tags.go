// Package tags decides which tags an image is pushed with: one policy, a list of
// words and literal tags, over facts about the source it is built from. It is pure:
// whoever calls it brings the facts.
//
//	p, err := tags.Parse([]string{"semver,commit", "edge"})
//	d, err := p.Decide(tags.Facts{Tag: "v1.2.3", Commit: "…", AllTags: true})
//	d.Names() // 1.2.3 1.2 1 latest 0a1b2c3d edge
//
// A tag that stands for one source (1.2.3, a commit) is always given where it
// applies. A tag that moves (1.2, 1, latest, stable) never moves backwards: it is
// given only where no later release is among the repository's tags, and held back
// where not all of them are known.
package tags

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Word names one rule of a policy.
type Word string

// The words. What is none of them is a literal tag; "=semver" is the tag semver.
const (
	Auto       Word = "auto"        // what is done without a policy: Ref and latest, as GitLab's own templates do
	Semver     Word = "semver"      // of release v1.2.3: 1.2.3 1.2 1 latest; of a pre-release itself
	Commit     Word = "commit"      // the first eight digits of the commit's hash
	CommitLong Word = "commit-long" // all of them
	Date       Word = "date"        // day of the run, 20060102
	CommitDate Word = "commit-date" // day of the commit
	Channel    Word = "channel"     // stable, the kind of a pre-release, edge, the branch, mr-N
	Ref        Word = "ref"         // the git tag or the branch
)

// Words lists the words.
func Words() []Word { return []Word{Auto, Semver, Commit, CommitLong, Date, CommitDate, Channel, Ref} }

// Facts are what is known of the source. Empty: not known, or not so.
type Facts struct {
	// CI: the facts are those of a GitLab job.
	CI bool
	// Tag is the git tag that is built; Branch the branch.
	Tag, Branch string
	// DefaultBranch is the name of the repository's default branch.
	DefaultBranch string
	// MergeRequest is the number of the merge request that is built.
	MergeRequest string
	// RefSlug is GitLab's CI_COMMIT_REF_SLUG; empty: made of Tag or Branch.
	RefSlug string
	// Commit is the hash in hexadecimal digits, CommitTime when it was made.
	Commit     string
	CommitTime time.Time
	// Run is the time that the run stands for.
	Run time.Time
	// Dirty: files that git knows were changed since the commit.
	Dirty bool
	// Tags are the git tags that are known; AllTags: there are no others.
	Tags    []string
	AllTags bool
	// Why says why facts are missing, for errors: "git is not installed".
	Why string
}

// Tag is one tag and the reason for it.
type Tag struct {
	Name string `json:"tag"`
	// Word of the policy, empty for a literal tag.
	Word Word   `json:"word,omitempty"`
	Why  string `json:"why"`
	// Moves: a later build gives the same tag to another image.
	Moves bool `json:"moves,omitempty"`
}

// Held is a tag that is not given, or a word that does not apply here.
type Held struct {
	Name string `json:"tag,omitempty"` // empty: the word does not apply
	Word Word   `json:"word"`
	Why  string `json:"why"`
	Fix  string `json:"fix,omitempty"`
}

// Decision is what a policy says of some facts.
type Decision struct {
	Tags []Tag  `json:"tags"`
	Held []Held `json:"held,omitempty"`
}

// Names are the tags alone.
func (d Decision) Names() []string {
	var out []string
	for _, t := range d.Tags {
		out = append(out, t.Name)
	}
	return out
}

// Error is a policy that cannot be read or does not fit the facts.
type Error struct {
	Word  string // as written
	Cause string
	Fix   string
}

func (e *Error) Error() string { return fmt.Sprintf("tag %q: %s", e.Word, e.Cause) }

// Hint is what to do about it.
func (e *Error) Hint() string { return e.Fix }

// Max is how long a tag may be.
const Max = 128

var legalRE = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$`)

// Legal says whether a registry takes a tag (OCI distribution spec, "tag").
func Legal(tag string) bool { return legalRE.MatchString(tag) }

// Policy is a list of rules, in the order of its tags.
type Policy []rule

type rule struct {
	word    Word // empty: literal
	literal string
}

// Parse reads lists separated by commas. The error is an [Error].
func Parse(lists []string) (Policy, error) {
	var out Policy
	for _, list := range lists {
		for _, s := range strings.Split(list, ",") {
			literal, forced := strings.CutPrefix(s, "=")
			if !forced && slices.Contains(Words(), Word(s)) {
				out = append(out, rule{word: Word(s)})
				continue
			}
			if !Legal(literal) {
				return nil, &Error{s, "is not legal", "a tag is letters, digits, '.', '_' and '-', at most 128, and does not begin with '.' or '-'"}
			}
			out = append(out, rule{literal: literal})
		}
	}
	return out, nil
}

// Literal is the policy of one tag.
func Literal(tag string) Policy { return Policy{{literal: tag}} }

// NeedsGit: it has a word that asks more than GitLab's variables say.
func (p Policy) NeedsGit() bool {
	return slices.ContainsFunc(p, func(r rule) bool { return r.word != "" && r.word != Auto && r.word != Date })
}

// Decide gives the tags, each once, in the policy's order. A word that does not
// apply (semver where there is no tag) is held, unless nothing is left at all. The
// error is an [Error].
func (p Policy) Decide(f Facts) (Decision, error) {
	d := Decision{Tags: []Tag{}}
	add := func(ts ...Tag) {
		for _, t := range ts {
			if !slices.ContainsFunc(d.Tags, func(o Tag) bool { return o.Name == t.Name }) {
				d.Tags = append(d.Tags, t)
			}
		}
	}
	for _, r := range p {
		if r.word == "" {
			add(Tag{Name: r.literal, Why: "as asked for", Moves: true})
			continue
		}
		ts, held, err := rules[r.word](f)
		if err != nil {
			return Decision{}, err
		}
		for i := range ts {
			ts[i].Word = r.word
		}
		for i := range held {
			held[i].Word = r.word
		}
		add(ts...)
		d.Held = append(d.Held, held...)
	}
	if len(p) > 0 && len(d.Tags) == 0 {
		h := d.Held[0]
		return Decision{}, &Error{string(h.Word), h.Why, h.Fix}
	}
	return d, nil
}

// rules by word. Words that do not apply give no tag and say why.
var rules = map[Word]func(Facts) ([]Tag, []Held, error){
	Auto: auto, Semver: semver, Channel: channel, Ref: ref,
	Commit:     func(f Facts) ([]Tag, []Held, error) { return commit(f, Commit, 8) },
	CommitLong: func(f Facts) ([]Tag, []Held, error) { return commit(f, CommitLong, 64) },
	Date: func(f Facts) ([]Tag, []Held, error) {
		return []Tag{{Name: f.Run.UTC().Format("20060102"), Why: "the day of this run", Moves: true}}, nil, nil
	},
	CommitDate: func(f Facts) ([]Tag, []Held, error) {
		if f.CommitTime.IsZero() {
			return nil, f.unknown("the commit is not known"), nil
		}
		return []Tag{{Name: f.CommitTime.UTC().Format("20060102"), Why: "the day of the commit", Moves: true}}, nil, nil
	},
}

// unknown is a word that does not apply for want of facts.
func (f Facts) unknown(why string) []Held {
	if f.Why != "" {
		why += ": " + f.Why
	}
	return []Held{{Why: why, Fix: "run it in a checkout with git installed, or in a GitLab job"}}
}

func commit(f Facts, w Word, digits int) ([]Tag, []Held, error) {
	if f.Commit == "" {
		return nil, f.unknown("the commit is not known"), nil
	}
	if f.Dirty {
		return nil, nil, &Error{string(w), "files were changed since the commit, so that it does not say what is in the image",
			"commit them (git status shows them), or leave " + string(w) + " out"}
	}
	return []Tag{{Name: f.Commit[:min(digits, len(f.Commit))], Why: "the commit " + f.Commit}}, nil, nil
}

// refName is the tag or the branch as a tag. GitLab's slug is taken where the name
// itself is not legal.
func refName(f Facts) (name, why string) {
	switch {
	case Legal(f.Tag):
		return f.Tag, "the git tag " + f.Tag
	case f.RefSlug != "" && Legal(f.RefSlug):
		return f.RefSlug, "the slug of " + named(f)
	case f.Tag != "":
		return Slug(f.Tag), "the slug of the git tag " + f.Tag
	case f.Branch != "":
		return Slug(f.Branch), "the slug of the branch " + f.Branch
	}
	return "", ""
}

func ref(f Facts) ([]Tag, []Held, error) {
	name, why := refName(f)
	if name == "" {
		return nil, f.unknown("neither a git tag nor a branch is known"), nil
	}
	return []Tag{{Name: name, Why: why, Moves: f.Tag == ""}}, nil, nil
}

// auto: outside of GitLab latest.
func auto(f Facts) ([]Tag, []Held, error) {
	name, why := refName(f)
	if name == "" || !f.CI {
		return []Tag{{Name: "latest", Why: "this is no GitLab job", Moves: true}}, nil, nil
	}
	out := []Tag{{Name: name, Why: why, Moves: f.Tag == ""}}
	if f.Tag == "" && f.Branch != "" && f.Branch == f.DefaultBranch {
		out = append(out, Tag{Name: "latest", Why: f.Branch + " is the default branch", Moves: true})
	}
	return out, nil, nil
}

// Slug makes a tag of any name as GitLab makes CI_COMMIT_REF_SLUG: lower case, all
// but letters and digits becomes '-', at most 63 bytes, no '-' at either end. It is
// empty when nothing is left.
func Slug(s string) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9':
			return r
		case r >= 'A' && r <= 'Z':
			return r + 'a' - 'A'
		}
		return '-'
	}, s)
	return strings.Trim(s[:min(len(s), 63)], "-")
}

func named(f Facts) string {
	for _, s := range []string{f.Tag, f.Branch} {
		if s != "" {
			return s
		}
	}
	return "the ref"
}
