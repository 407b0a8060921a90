package tags

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// version is a Semantic Version 2.0.0, of a git tag with or without a leading v.
type version struct {
	core  [3]uint64
	pre   []string // identifiers of a pre-release
	build string
}

var semverRE = regexp.MustCompile(`^v?(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?$`)

// parse reads a version; ok is false when it is none.
func parse(s string) (v version, ok bool) {
	m := semverRE.FindStringSubmatch(s)
	if m == nil {
		return v, false
	}
	for i := range v.core {
		n, err := strconv.ParseUint(m[i+1], 10, 64)
		if err != nil {
			return v, false
		}
		v.core[i] = n
	}
	if m[4] != "" {
		v.pre = strings.Split(m[4][1:], ".")
		for _, id := range v.pre {
			if id == "" || (len(id) > 1 && id[0] == '0' && digits(id)) {
				return v, false
			}
		}
	}
	if m[5] != "" {
		v.build = m[5][1:]
		if slices.Contains(strings.Split(v.build, "."), "") {
			return v, false
		}
	}
	return v, true
}

func digits(s string) bool { return strings.Trim(s, "0123456789") == "" }

// String is the version without the v. A registry takes no '+': '_' stands for it,
// which no version has otherwise.
func (v version) String() string {
	s := fmt.Sprintf("%d.%d.%d", v.core[0], v.core[1], v.core[2])
	if v.pre != nil {
		s += "-" + strings.Join(v.pre, ".")
	}
	if v.build != "" {
		s += "_" + v.build
	}
	return s
}

// compare orders versions by precedence (section 11); build metadata does not count.
func compare(a, b version) int {
	if c := slices.Compare(a.core[:], b.core[:]); c != 0 {
		return c
	}
	switch {
	case a.pre == nil && b.pre == nil:
		return 0
	case a.pre == nil:
		return 1
	case b.pre == nil:
		return -1
	}
	return slices.CompareFunc(a.pre, b.pre, func(x, y string) int {
		nx, ny := digits(x), digits(y)
		switch {
		case nx && ny && len(x) != len(y):
			return len(x) - len(y)
		case nx != ny:
			if nx {
				return -1
			}
			return 1
		}
		return strings.Compare(x, y)
	})
}

// Latest gives the git tag with the highest version among some, or the first where
// none is a version; "" for none. It chooses among tags of one commit.
func Latest(tags []string) string {
	best, out := version{}, ""
	for _, t := range tags {
		v, ok := parse(t)
		_, bestOK := parse(out)
		if out == "" || (ok && (!bestOK || compare(v, best) > 0)) {
			best, out = v, t
		}
	}
	return out
}

// later gives the highest version among the known tags that is later than v and
// shares a moving tag with it; "" when there is none.
func (f Facts) later(v version, shares func(version) bool) string {
	var found string
	best := v
	for _, t := range f.Tags {
		if o, ok := parse(t); ok && shares(o) && compare(o, best) > 0 {
			best, found = o, t
		}
	}
	return found
}

// release shares a tag between releases whose first n numbers are those of v.
func release(v version, n int) func(version) bool {
	return func(o version) bool { return o.pre == nil && slices.Equal(o.core[:n], v.core[:n]) }
}

// moving decides about a tag that moves from one version to the next.
func (f Facts) moving(name string, v version, shares func(version) bool) ([]Tag, []Held) {
	if t := f.later(v, shares); t != "" {
		return nil, []Held{{Name: name, Why: t + " is later, and " + name + " does not move backwards"}}
	}
	if !f.AllTags {
		return nil, []Held{{Name: name, Why: "whether a later release has it is not known: this is a shallow checkout, or git cannot be asked",
			Fix: "fetch all tags (git fetch --tags --unshallow; in GitLab GIT_DEPTH: \"0\"), or name the tag: --tag " + name}}
	}
	return []Tag{{Name: name, Why: "no later release has it", Moves: true}}, nil
}

func semver(f Facts) ([]Tag, []Held, error) {
	if f.Tag == "" {
		if f.Commit == "" {
			return nil, f.unknown("no git tag is known"), nil
		}
		return nil, []Held{{Why: "the commit has no git tag", Fix: "tag it (git tag v1.2.3), or use commit or channel"}}, nil
	}
	v, ok := parse(f.Tag)
	if !ok {
		return nil, nil, &Error{string(Semver), fmt.Sprintf("the git tag %q is not a semantic version", f.Tag), "write it as v1.2.3 or v1.3.0-rc.1 (semver.org), or use ref"}
	}
	if f.Dirty {
		return nil, nil, &Error{string(Semver), "files were changed since " + f.Tag + ", so that it does not say what is in the image", "commit them (git status shows them) and tag that, or leave semver out"}
	}
	if name := v.String(); !Legal(name) {
		return nil, nil, &Error{string(Semver), fmt.Sprintf("the git tag %q is longer than a tag may be", f.Tag), fmt.Sprintf("at most %d letters", Max)}
	}
	out := []Tag{{Name: v.String(), Why: "the git tag " + f.Tag}}
	if v.pre != nil {
		return out, nil, nil // 1.2 and 1 are promises a pre-release does not make
	}
	var held []Held
	for _, m := range []struct {
		name string
		n    int
	}{{fmt.Sprintf("%d.%d", v.core[0], v.core[1]), 2}, {fmt.Sprint(v.core[0]), 1}, {"latest", 0}} {
		if m.n == 1 && v.core[0] == 0 {
			continue // between 0.1 and 0.2 anything may change (section 4)
		}
		ts, hs := f.moving(m.name, v, release(v, m.n))
		out, held = append(out, ts...), append(held, hs...)
	}
	return out, held, nil
}

// channel names the stream of images that this one belongs to.
func channel(f Facts) ([]Tag, []Held, error) {
	v, ok := parse(f.Tag)
	switch {
	case ok && v.pre == nil:
		ts, held := f.moving("stable", v, release(v, 0))
		return ts, held, nil
	case ok:
		name := preChannel(v)
		if err := f.reserved(name); err != nil {
			return nil, nil, err
		}
		ts, held := f.moving(name, v, func(o version) bool { return o.pre != nil && preChannel(o) == name })
		return ts, held, nil
	case f.MergeRequest != "" && digits(f.MergeRequest):
		return []Tag{{Name: "mr-" + f.MergeRequest, Why: "merge request " + f.MergeRequest, Moves: true}}, nil, nil
	case f.Tag != "":
		return nil, []Held{{Why: fmt.Sprintf("the git tag %q is not a semantic version, so that its channel is not known", f.Tag), Fix: "write it as v1.2.3 or v1.3.0-rc.1, or use ref"}}, nil
	case f.Branch != "" && f.Branch == f.DefaultBranch:
		return []Tag{{Name: "edge", Why: f.Branch + " is the default branch", Moves: true}}, nil, nil
	}
	name, why := refName(f)
	if name == "" {
		return nil, f.unknown("neither a git tag nor a branch is known"), nil
	}
	if err := f.reserved(name); err != nil {
		return nil, nil, err
	}
	return []Tag{{Name: name, Why: why, Moves: true}}, nil, nil
}

// preChannel is the kind of a pre-release: rc of 1.3.0-rc.1 and of 1.3.0-rc2.
func preChannel(v version) string {
	if name := Slug(strings.TrimRight(v.pre[0], "0123456789")); name != "" {
		return name
	}
	return "pre"
}

// reserved refuses names that stand for other channels.
func (f Facts) reserved(name string) error {
	if !slices.Contains([]string{"latest", "stable", "edge"}, name) {
		return nil
	}
	return &Error{string(Channel), fmt.Sprintf("%q gives the name of another channel, %s", named(f), name), "rename it, or leave channel out"}
}
