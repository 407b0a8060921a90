package lint

import (
	"encoding/json"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"github.com/cfbuild/cfbuild/pipelines"
)

// Ignore takes findings of one rule out of a report.
type Ignore struct {
	// Rule is the id. Subject is a path.Match pattern of the subject or, for a path,
	// of one of its parents; empty: all.
	Rule    string `json:"rule"`
	Subject string `json:"subject,omitempty"`
	// Image is the target it is limited to; empty: all.
	Image string `json:"image,omitempty"`
	// Why is the reason, From what it was said by: "target debian12", "--ignore".
	Why  string `json:"why,omitempty"`
	From string `json:"from"`
}

// ParseIgnore reads RULE[:PATTERN], RULE being an id or a name.
func ParseIgnore(s string) (Ignore, error) {
	rule, subject, _ := strings.Cut(s, ":")
	return newIgnore(rule, subject)
}

func newIgnore(rule, subject string) (Ignore, error) {
	r, err := Find(rule)
	if err != nil {
		return Ignore{}, err
	}
	if _, err := path.Match(subject, ""); err != nil {
		return Ignore{}, &pipelines.InvalidError{What: fmt.Sprintf("pattern %q", subject), Cause: err.Error(), Fix: "patterns are those of path.Match: * ? [a-z], and \\ before a special character"}
	}
	return Ignore{Rule: r.ID, Subject: subject}, nil
}

// Accepted gives what a target accepts.
func Accepted(t pipelines.Target) ([]Ignore, error) {
	var out []Ignore
	for _, a := range t.Accepts {
		i, err := newIgnore(a.Rule, a.Subject)
		if err != nil {
			return nil, fmt.Errorf("target %s accepts: %w", t.Name, err)
		}
		i.Image, i.Why, i.From = t.Name, a.Why, "target "+t.Name
		out = append(out, i)
	}
	return out, nil
}

// covers says whether a finding is ignored.
func (i Ignore) covers(f Finding) bool {
	if i.Rule != f.Rule || i.Image != "" && i.Image != f.Image {
		return false
	}
	if i.Subject == "" {
		return true
	}
	for p := f.Subject; ; p = path.Dir(p) {
		if ok, _ := path.Match(i.Subject, p); ok {
			return true
		}
		if !strings.HasPrefix(p, "/") || p == "/" {
			return false
		}
	}
}

// Subject is one image that was looked at.
type Subject struct {
	Image    string             `json:"image"`
	Platform pipelines.Platform `json:"platform,omitzero"`
	// Digest of the image's manifest; empty: its definition only.
	Digest string `json:"digest,omitempty"`
}

// Report is what lint says about one or several images.
type Report struct {
	Version  int       `json:"version"` // of this form, 1
	Images   []Subject `json:"images"`
	Findings []Finding `json:"findings"`
	// Ignored are findings that were accepted, and why.
	Ignored []Ignored `json:"ignored"`
	// Unused are what the command line ignores and no finding needed.
	Unused   []Ignore `json:"unused"`
	Errors   int      `json:"errors"`
	Warnings int      `json:"warnings"`
	Infos    int      `json:"infos"`
}

// Ignored is a finding and what took it out.
type Ignored struct {
	Finding
	By Ignore `json:"by"`
}

// NewReport sorts findings into those that count and those that are ignored.
func NewReport(images []Subject, findings []Finding, ignore []Ignore) Report {
	r := Report{Version: 1, Images: images, Findings: []Finding{}, Ignored: []Ignored{}, Unused: []Ignore{}}
	if images == nil {
		r.Images = []Subject{}
	}
	used := make([]bool, len(ignore))
next:
	for _, f := range findings {
		for k, i := range ignore {
			if i.covers(f) {
				used[k] = true
				r.Ignored = append(r.Ignored, Ignored{f, i})
				continue next
			}
		}
		r.Findings = append(r.Findings, f)
		switch f.Severity {
		case Error:
			r.Errors++
		case Warning:
			r.Warnings++
		default:
			r.Infos++
		}
	}
	for k, i := range ignore {
		if !used[k] && i.Image == "" { // whether a target needs what it accepts depends on the site
			r.Unused = append(r.Unused, i)
		}
	}
	return r
}

// Worst says whether there is a finding at or above a severity.
func (r Report) Worst(least Severity) bool {
	return least <= Error && r.Errors > 0 || least <= Warning && r.Warnings > 0 || least <= Info && r.Infos > 0
}

// Summary is "2 errors, 1 warning, 3 infos; 1 ignored".
func (r Report) Summary() string {
	count := func(n int, what string) string {
		if n == 1 {
			return "1 " + what
		}
		return fmt.Sprintf("%d %ss", n, what)
	}
	s := strings.Join([]string{count(r.Errors, "error"), count(r.Warnings, "warning"), count(r.Infos, "info")}, ", ")
	if len(r.Ignored) > 0 {
		s += fmt.Sprintf("; %d ignored", len(r.Ignored))
	}
	return s
}

// Paths says how source files are named in reports.
type Paths func(pipelines.Position) string

// relative is p, or the last elements of the path where p is nil.
func (p Paths) relative(at pipelines.Position) string {
	if at.File == "" {
		return ""
	}
	if p == nil {
		s := at.String()
		return s[:strings.LastIndexByte(s, ':')]
	}
	return p(at)
}

// WriteJSON writes the report as JSON.
func (r Report) WriteJSON(w io.Writer, p Paths) error {
	r.Findings, r.Ignored = slices.Clone(r.Findings), slices.Clone(r.Ignored)
	for i := range r.Findings {
		if r.Findings[i].Where.File != "" {
			r.Findings[i].Where.File = p.relative(r.Findings[i].Where)
		}
	}
	for i := range r.Ignored {
		if r.Ignored[i].Where.File != "" {
			r.Ignored[i].Where.File = p.relative(r.Ignored[i].Where)
		}
	}
	return writeJSON(w, r)
}

func writeJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}
