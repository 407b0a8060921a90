package lint

import (
	"io"
	"path"
	"strings"
)

// codeQuality is one entry of GitLab's code quality report (GitLab docs, "Code
// Quality report format").
type codeQuality struct {
	Description string   `json:"description"`
	CheckName   string   `json:"check_name"`
	Fingerprint string   `json:"fingerprint"`
	Severity    string   `json:"severity"`
	Location    location `json:"location"`
}

type location struct {
	Path  string `json:"path"`
	Lines struct {
		Begin int `json:"begin"`
	} `json:"lines"`
}

// codeQualitySeverities are GitLab's names of severities.
var codeQualitySeverities = map[Severity]string{Info: "info", Warning: "minor", Error: "critical"}

// WriteCodeQuality writes the report as GitLab's code quality JSON, which merge
// requests show. Findings without an author's line are placed at line 1 of a file
// named after the image. GitLab wants one entry for each fingerprint, and paths
// relative to the repository without a leading "./".
func (r Report) WriteCodeQuality(w io.Writer, p Paths) error {
	out := []codeQuality{}
	for _, f := range r.Findings {
		q := codeQuality{Description: f.Image + ": " + f.Message + " (" + f.Fix + "; " + f.Source + ")", CheckName: f.Rule + " " + f.Name,
			Fingerprint: f.Fingerprint, Severity: codeQualitySeverities[f.Severity]}
		q.Location.Path, q.Location.Lines.Begin = strings.TrimLeft(path.Clean(strings.ReplaceAll(f.Image, ":", "/")), "./"), 1
		if f.Where.File != "" {
			q.Location.Path = strings.TrimPrefix(strings.TrimPrefix(p.relative(f.Where), "./"), "/")
			q.Location.Lines.Begin = max(1, f.Where.Line)
		}
		out = append(out, q)
	}
	return writeJSON(w, out)
}
