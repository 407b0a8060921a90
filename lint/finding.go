package lint

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"path"
	"slices"
	"strings"
	"unicode"

	"github.com/cfbuild/cfbuild/pipelines"
)

// Finding is one place where an image goes against a rule.
type Finding struct {
	// Rule is the rule's id, Name its name.
	Rule     string   `json:"rule"`
	Name     string   `json:"name"`
	Severity Severity `json:"severity"`
	// Source is the section the rule comes from.
	Source string `json:"source"`
	// Message says what is wrong, without secrets. Fix says what to do.
	Message string `json:"message"`
	Fix     string `json:"fix,omitempty"`
	// Image is what was looked at: a target's name, a reference, a layout.
	Image string `json:"image"`
	// Platforms that have it; none for a reference.
	Platforms []pipelines.Platform `json:"platforms,omitempty"`
	// Subject is what the finding is about and what it is ignored by: a path of the
	// image, a variable, a label, a package. It is the same in every run.
	Subject string `json:"subject"`
	// Path in the image, absolute, where the subject is one or has one.
	Path string `json:"path,omitempty"`
	// Step is the operation that made it, Where its author's line. Unknown for
	// images that cfbuild did not build.
	Step  string             `json:"step,omitempty"`
	Where pipelines.Position `json:"where,omitzero"`
	// Layer is the digest of the layer it is in.
	Layer string `json:"layer,omitempty"`
	// Fingerprint tells the finding from all others; it does not depend on lines,
	// digests or platforms.
	Fingerprint string `json:"fingerprint"`

	// doubtful: a definition alone cannot tell; only what the image shows counts
	// once there is one.
	doubtful bool
}

// identity is what makes two findings the same one.
func (f Finding) identity() string { return f.Rule + "\x00" + f.Image + "\x00" + f.Subject }

// print fills in what follows from the rest.
func (f *Finding) print() {
	sum := sha256.Sum256([]byte(f.identity()))
	f.Fingerprint = hex.EncodeToString(sum[:16])
}

// collector takes the findings of one image for one platform.
type collector struct {
	rules    map[string]Rule
	image    string
	platform pipelines.Platform
	out      []Finding
}

func newCollector(image string, p pipelines.Platform) *collector {
	c := &collector{rules: map[string]Rule{}, image: image, platform: p}
	for _, r := range Rules() {
		c.rules[r.ID] = r
	}
	return c
}

// add completes a finding by its rule. Whatever looks like a secret in its texts is
// blotted out.
func (c *collector) add(rule string, f Finding) {
	r := c.rules[rule]
	f.Rule, f.Name, f.Source, f.Image = r.ID, r.Name, r.Source, c.image
	if f.Severity == 0 {
		f.Severity = r.Severity
	}
	f.Fix = cmp.Or(f.Fix, r.Fix)
	if c.platform.OS != "" {
		f.Platforms = []pipelines.Platform{c.platform}
	}
	f.Subject = printable(Blot(cmp.Or(f.Subject, f.Path)))
	f.Message, f.Step, f.Path = printable(Blot(f.Message)), printable(Blot(oneLine(f.Step))), printable(Blot(f.Path))
	f.print()
	c.out = append(c.out, f)
}

// printable takes control characters out of names that an image chose: they would
// reach the terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == '\u2028' || r == '\u2029' || unicode.Is(unicode.Bidi_Control, r) {
			return unicode.ReplacementChar
		}
		return r
	}, s)
}

// oneLine keeps the beginning of a long text.
func oneLine(s string) string {
	s = strings.Join(strings.Fields(s), " ")
	if r := []rune(s); len(r) > 100 {
		return string(r[:99]) + "…"
	}
	return s
}

// Join makes one list of what several platforms and both forms of an image have:
// the same finding of two platforms counts once; where a definition and its image
// both have it, the image tells the layer and the definition the line. built says
// that the images of these findings were looked at, so that what a definition only
// lets fear is left out.
func Join(built bool, definition, image []Finding) []Finding {
	var out []Finding
	at := map[string]int{}
	put := func(f Finding) {
		i, ok := at[f.identity()]
		if !ok {
			at[f.identity()] = len(out)
			out = append(out, f)
			return
		}
		have := &out[i]
		for _, p := range f.Platforms {
			if !slices.Contains(have.Platforms, p) {
				have.Platforms = append(have.Platforms, p)
			}
		}
		have.Severity = max(have.Severity, f.Severity)
	}
	lines := map[string]Finding{}
	for _, f := range definition {
		lines[f.identity()] = f
	}
	for _, f := range image {
		if d, ok := lines[f.identity()]; ok && d.Where.File != "" {
			f.Where, f.Step = d.Where, cmp.Or(d.Step, f.Step)
		}
		put(f)
	}
	for _, f := range definition {
		if !built || !f.doubtful {
			put(f)
		}
	}
	for i := range out {
		slices.SortFunc(out[i].Platforms, pipelines.ComparePlatforms)
	}
	Sort(out)
	return out
}

// Sort orders findings: by image, worst first, then by rule and subject.
func Sort(fs []Finding) {
	slices.SortStableFunc(fs, func(a, b Finding) int {
		return cmp.Or(strings.Compare(a.Image, b.Image), int(b.Severity)-int(a.Severity),
			strings.Compare(a.Rule, b.Rule), strings.Compare(a.Subject, b.Subject))
	})
}

// most is how many files of one directory are told one by one.
const most = 4

// fold makes one finding of many files of one directory with the same fault.
func fold(fs []Finding) []Finding {
	type key struct{ rule, dir, layer string }
	count := map[key]int{}
	of := func(f Finding) key { return key{f.Rule, path.Dir(f.Path), f.Layer} }
	for _, f := range fs {
		if f.Path != "" && f.Subject == f.Path {
			count[of(f)]++
		}
	}
	var out []Finding
	seen := map[key]bool{}
	for _, f := range fs {
		k := of(f)
		if f.Path == "" || f.Subject != f.Path || count[k] <= most {
			out = append(out, f)
			continue
		}
		if seen[k] {
			continue
		}
		seen[k] = true
		f.Message += fmt.Sprintf("; so are %d more in %s", count[k]-1, k.dir)
		f.Subject, f.Path = k.dir, k.dir
		f.print()
		out = append(out, f)
	}
	return out
}
