package lint

import (
	"fmt"
	"slices"
	"strings"

	"github.com/cfbuild/cfbuild/pipelines"
)

// Severity of a finding. Errors are faults whoever uses the image (a secret, a way
// to become root), warnings go against a practice, infos are for a person to judge.
type Severity int

// The severities, least first.
const (
	Info Severity = iota
	Warning
	Error
)

// String is "info", "warning" or "error".
func (s Severity) String() string { return [...]string{"info", "warning", "error"}[s] }

// MarshalText writes the name.
func (s Severity) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads the name.
func (s *Severity) UnmarshalText(b []byte) error {
	for _, v := range []Severity{Info, Warning, Error} {
		if v.String() == string(b) {
			*s = v
			return nil
		}
	}
	return fmt.Errorf("severity %q: is not one of info, warning, error", b)
}

// Where a rule looks.
type Where int

// A rule looks at one or several of these.
const (
	InDefinition Where = 1 << iota // the graph
	InImage                        // the built image
	InReference                    // the name of an image in a registry
)

// String is what is looked at, joined by "+".
func (w Where) String() string {
	var out []string
	for bit, name := range map[Where]string{InDefinition: "definition", InImage: "image", InReference: "reference"} {
		if w&bit != 0 {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return strings.Join(out, "+")
}

// MarshalText writes what is looked at.
func (w Where) MarshalText() ([]byte, error) { return []byte(w.String()), nil }

// Rule is one practice.
type Rule struct {
	// ID never changes and is never used again: "CFB301".
	ID string `json:"id"`
	// Name is the id in words: "private-key".
	Name     string   `json:"name"`
	Severity Severity `json:"severity"`
	Looks    Where    `json:"looks_at"`
	// Source is the section the rule comes from: "NCCS 2.12".
	Source string `json:"source"`
	// Says is what the rule asks for, one sentence. Fix is what to do.
	Says string `json:"says"`
	Fix  string `json:"fix"`
}

// Find gives a rule by its id or name; case does not count. The error is a
// [pipelines.InvalidError] with the nearest names.
func Find(s string) (Rule, error) {
	var names []string
	for _, r := range Rules() {
		if strings.EqualFold(s, r.ID) || strings.EqualFold(s, r.Name) {
			return r, nil
		}
		names = append(names, r.ID, r.Name)
	}
	fix := "cfbuild lint --rules lists the rules"
	if near := pipelines.Nearest(strings.ToLower(s), names, 3); len(near) > 0 {
		fix = "did you mean " + strings.Join(near, ", ") + "? " + fix
	}
	return Rule{}, &pipelines.InvalidError{What: fmt.Sprintf("rule %q", s), Cause: "is unknown", Fix: fix}
}
