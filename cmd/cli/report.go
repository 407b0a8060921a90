package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/cfbuild/cfbuild/cmd/cli/progress"
	"github.com/cfbuild/cfbuild/imagetest"
	"github.com/cfbuild/cfbuild/internal/oci"
	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/cfbuild/cfbuild/pipelines/engine"
)

// report is what a run made: the JSON document of run --json.
type report struct {
	Version   int                 `json:"version"` // of this form, 1
	Site      string              `json:"site"`
	Builder   string              `json:"builder,omitempty"`
	Artifacts []artifactReport    `json:"artifacts"`
	Outputs   []engine.Output     `json:"outputs"`
	Receipts  []pipelines.Receipt `json:"receipts"`
	Tests     []imagetest.Report  `json:"tests"`
	LeftOut   []leftOut           `json:"left_out"`
	Failed    []failure           `json:"failed"`
	ExitCode  int                 `json:"exit_code"`
	Seconds   float64             `json:"seconds"`
}

// artifactReport adds the bytes of all blobs to an artifact.
type artifactReport struct {
	pipelines.Artifact
	ImageSize int64 `json:"image_size"`
}

type failure struct {
	Job   string   `json:"job,omitempty"` // empty: not one job's
	Error string   `json:"error"`
	Hints []string `json:"hints,omitempty"`
}

func (r *report) built(b engine.Built) {
	for _, a := range b.Artifacts {
		r.Artifacts = append(r.Artifacts, artifactReport{a, imageSize(a)})
	}
}

// imageSize adds up manifest, configuration and layers; 0 where the layout cannot
// be read.
func imageSize(a pipelines.Artifact) int64 {
	l, err := oci.Open(a.Path)
	if err != nil {
		return 0
	}
	d, err := l.Manifest(a.Platform)
	if err != nil {
		return 0
	}
	m, _, err := l.Image(d)
	if err != nil {
		return 0
	}
	n := d.Size + m.Config.Size
	for _, layer := range m.Layers {
		n += layer.Size
	}
	return n
}

func (r *report) finish(err error, took time.Duration) {
	r.Seconds = float64(took.Milliseconds()) / 1000
	r.ExitCode = ExitCode(err)
	if err == nil {
		return
	}
	for _, e := range split(err) {
		f := failure{Error: e.Error(), Hints: findHints(e)}
		var job *engine.JobError
		if errors.As(e, &job) {
			f.Job = job.Job
		}
		r.Failed = append(r.Failed, f)
	}
}

func (r *report) writeJSON(w io.Writer) error {
	empty := *r // lists are [] rather than null
	if empty.Artifacts == nil {
		empty.Artifacts = []artifactReport{}
	}
	if empty.Outputs == nil {
		empty.Outputs = []engine.Output{}
	}
	if empty.Receipts == nil {
		empty.Receipts = []pipelines.Receipt{}
	}
	if empty.Tests == nil {
		empty.Tests = []imagetest.Report{}
	}
	if empty.LeftOut == nil {
		empty.LeftOut = []leftOut{}
	}
	if empty.Failed == nil {
		empty.Failed = []failure{}
	}
	return writeJSON(w, empty)
}

func writeJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// writeText prints each target with its platforms, files and receipts.
func (r *report) writeText(w io.Writer, shown func(string) string) error {
	var b strings.Builder
	var done []string
	for _, a := range r.Artifacts {
		if contains(done, a.Target) {
			continue
		}
		done = append(done, a.Target)
		fmt.Fprintf(&b, "%s\n", a.Target)
		for _, x := range r.Artifacts {
			if x.Target != a.Target {
				continue
			}
			how := "built"
			if x.Cached {
				how = "unchanged"
			}
			fmt.Fprintf(&b, "  %-16s %s  %9s  %s\n", x.Platform, x.Digest, progress.Bytes(x.ImageSize), how)
		}
		for _, t := range r.Tests {
			if t.Target == a.Target {
				imagetest.WriteText(&b, t)
			}
		}
		for _, o := range r.Outputs {
			if o.Target == a.Target {
				note := ""
				if o.Unchanged {
					note = ", unchanged"
				}
				fmt.Fprintf(&b, "  wrote  %s (%s, %s%s)\n", shown(o.Path), formatName(o.Format), o.Digest, note)
			}
		}
		for _, x := range r.Receipts {
			if x.Target == a.Target && !x.Skipped {
				fmt.Fprintf(&b, "  pushed %s (%s, %s, %s sent)\n", withTags(x), mediaName(x.MediaType), x.Digest, progress.Bytes(x.Pushed))
			}
		}
	}
	for _, x := range r.Receipts {
		if x.Skipped {
			fmt.Fprintf(&b, "%s\n  already published %s (%s, %s)\n", x.Target, withTags(x), mediaName(x.MediaType), x.Digest)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func contains(all []string, s string) bool {
	for _, a := range all {
		if a == s {
			return true
		}
	}
	return false
}

func formatName(f pipelines.Format) string {
	switch f {
	case pipelines.FormatOCI:
		return "OCI layout"
	case pipelines.FormatDocker:
		return "docker archive"
	case pipelines.FormatSIF:
		return "SIF"
	}
	return string(f)
}

func withTags(r pipelines.Receipt) string {
	var out []string
	for _, t := range r.Tags {
		out = append(out, r.Ref+":"+t)
	}
	if len(out) == 0 {
		return r.Ref
	}
	return strings.Join(out, ", ")
}

// mediaName is the family of a manifest's media type.
func mediaName(s string) string {
	switch {
	case strings.Contains(s, "vnd.docker."):
		return "v2s2"
	case s == sifMediaType:
		return "SIF"
	case strings.Contains(s, "vnd.oci."):
		return "OCI"
	}
	return s
}
