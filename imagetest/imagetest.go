// Package imagetest runs the tests that a target declares (pipelines.Test) on an
// artifact, for one platform.
//
// Files, users, packages, the configuration and the headers of programs are read
// from the image's layout: nothing is unpacked and nothing runs, so they cost the
// same on every platform. A TestCommand is built as one step on top of the artifact,
// by the builder that made it, in a build of its own: what a command writes goes
// with that build, so no command sees another's writes and the artifact stays as it
// is. Its exit code is the step's, its output is the step's log.
package imagetest

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strings"
	"time"

	"github.com/cfbuild/cfbuild/builders"
	"github.com/cfbuild/cfbuild/internal/oci"
	"github.com/cfbuild/cfbuild/internal/pkgdb"
	"github.com/cfbuild/cfbuild/internal/rootfs"
	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/cfbuild/cfbuild/site"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// Outcome of one test.
type Outcome string

// The outcomes.
const (
	Passed Outcome = "passed"
	Failed Outcome = "failed" // the image is not as declared
	Error  Outcome = "error"  // it could not be found out: a command did not start, an emulator crashed
)

// Result is what came of one test.
type Result struct {
	Kind    string  `json:"kind"`
	Name    string  `json:"name"`
	Outcome Outcome `json:"outcome"`
	// Problems say what was wanted and what there is, one each.
	Problems []string `json:"problems,omitempty"`
	// Output of a command (both streams); the end of what is longer than 64 KiB.
	Output  string             `json:"output,omitempty"`
	Seconds float64            `json:"seconds"`
	Where   pipelines.Position `json:"where,omitzero"`
}

// Message is the problems on one line.
func (r Result) Message() string { return strings.Join(r.Problems, "; ") }

// Report is what came of all tests of one artifact.
type Report struct {
	Job      string             `json:"job"`
	Target   string             `json:"target"`
	Platform pipelines.Platform `json:"platform"`
	Digest   string             `json:"digest"`
	Results  []Result           `json:"results"`
	// Cached: these tests passed on this very image before, they did not run again.
	Cached  bool    `json:"cached,omitempty"`
	Seconds float64 `json:"seconds"`
}

// Count gives how many results have an outcome.
func (r Report) Count(o Outcome) int {
	n := 0
	for _, x := range r.Results {
		if x.Outcome == o {
			n++
		}
	}
	return n
}

// OK says whether all passed.
func (r Report) OK() bool { return r.Count(Passed) == len(r.Results) }

// Summary is "12 passed" or "1 failed, 1 error, 10 passed".
func (r Report) Summary() string {
	var parts []string
	for _, o := range []Outcome{Failed, Error, Passed} {
		if n := r.Count(o); n > 0 || (o == Passed && len(r.Results) == 0) {
			parts = append(parts, fmt.Sprintf("%d %s", n, o))
		}
	}
	return strings.Join(parts, ", ")
}

// Request asks for the tests of one artifact.
type Request struct {
	Artifact pipelines.Artifact
	// Tests as the target declares them; [pipelines.CheckTests] has passed them.
	Tests []pipelines.Test
	// Where stands for the line of tests that have none; may be zero.
	Where pipelines.Position
	// Builder, Site and TempDir are for commands. TempDir is on the artifact's file
	// system, so that its blobs can be linked.
	Builder builders.Builder
	Site    site.Site
	TempDir string
	// Cache is a directory for results; empty: nothing is kept. NoCache runs tests
	// again that passed before.
	Cache   string
	NoCache bool
	// Now is the clock of the durations.
	Now    func() time.Time
	Events pipelines.Sink
}

// Run runs the tests in their order. The error says that they could not be run: the
// artifact cannot be read, the builder cannot run its platform
// ([builders.UnsupportedError]), ctx ended. Tests that fail are no error.
func Run(ctx context.Context, r Request) (Report, error) {
	ev := r.Events.With(r.Artifact.Job, "test")
	name := fmt.Sprintf("tests of %s for %s", r.Artifact.Target, r.Artifact.Platform)
	ev.Send(pipelines.Event{Kind: pipelines.EventStart, Name: name})
	rep, err := run(ctx, r, ev)
	switch {
	case err != nil:
		ev.Send(pipelines.Event{Kind: pipelines.EventFailed, Name: name, Text: err.Error()})
	case rep.Cached:
		ev.Send(pipelines.Event{Kind: pipelines.EventCached, Name: name, Text: rep.Summary()})
	case rep.OK():
		ev.Send(pipelines.Event{Kind: pipelines.EventDone, Name: name, Text: rep.Summary()})
	default:
		ev.Send(pipelines.Event{Kind: pipelines.EventFailed, Name: name, Text: rep.Summary()})
	}
	return rep, err
}

func run(ctx context.Context, r Request, ev pipelines.Sink) (Report, error) {
	rep := Report{Job: r.Artifact.Job, Target: r.Artifact.Target, Platform: r.Artifact.Platform, Digest: r.Artifact.Digest, Results: []Result{}}
	key, err := r.key()
	if err != nil {
		return rep, err
	}
	if old, ok := r.lookup(key); ok {
		old.Job, old.Target, old.Cached = rep.Job, rep.Target, true
		return old, nil
	}
	started := r.Now()
	img, err := r.open(ctx)
	if err != nil {
		return rep, fmt.Errorf("%s: tests: %w", r.Artifact.Job, err)
	}
	for i, t := range r.Tests {
		if err := ctx.Err(); err != nil {
			return rep, context.Cause(ctx)
		}
		ev.Send(pipelines.Event{Kind: pipelines.EventProgress, Current: int64(i), Total: int64(len(r.Tests)), Unit: "tests"})
		res, err := r.one(ctx, img, t)
		if err != nil {
			return rep, fmt.Errorf("%s: %s: %w", r.Artifact.Job, res.Name, err)
		}
		tell(ev, res)
		rep.Results = append(rep.Results, res)
	}
	rep.Seconds = r.since(started)
	return rep, r.keep(key, rep)
}

// tell logs what did not pass, with the end of its output.
func tell(ev pipelines.Sink, res Result) {
	if res.Outcome == Passed {
		return
	}
	ev.Send(pipelines.Event{Kind: pipelines.EventLog, Text: string(res.Outcome) + ": " + title(res)})
	for _, p := range res.Problems {
		ev.Send(pipelines.Event{Kind: pipelines.EventLog, Text: "    " + p})
	}
	for _, l := range lastLines(res.Output, 20) {
		ev.Send(pipelines.Event{Kind: pipelines.EventLog, Text: "    | " + l})
	}
}

func title(res Result) string {
	if w := res.Where.String(); w != "" {
		return res.Name + " (" + w + ")"
	}
	return res.Name
}

func lastLines(s string, n int) []string {
	if s = strings.TrimRight(s, "\n"); s == "" {
		return nil
	}
	lines := strings.Split(s, "\n")
	return lines[max(0, len(lines)-n):]
}

func (r Request) since(t time.Time) float64 { return float64(r.Now().Sub(t).Milliseconds()) / 1000 }

// one runs one test. The error is about all of them.
func (r Request) one(ctx context.Context, img *image, t pipelines.Test) (Result, error) {
	bare, where := pipelines.Declared(t)
	if where == (pipelines.Position{}) {
		where = r.Where
	}
	res := Result{Kind: pipelines.TestKind(t), Name: pipelines.TestName(t), Where: where}
	started := r.Now()
	var err error
	if c, ok := bare.(pipelines.TestCommand); ok {
		err = r.command(ctx, c, &res)
	} else {
		res.Problems, err = img.check(bare)
		if errors.Is(err, pkgdb.ErrFormat) || errors.Is(err, rootfs.ErrLarge) {
			res.Outcome, res.Problems, err = Error, []string{err.Error()}, nil
		}
	}
	res.Seconds = r.since(started)
	switch {
	case res.Outcome != "":
	case len(res.Problems) > 0:
		res.Outcome = Failed
	default:
		res.Outcome = Passed
	}
	return res, err
}

// image is an artifact that was read.
type image struct {
	platform pipelines.Platform
	config   v1.Image
	fs       *rootfs.FS // nil when no test looks at files
	elves    map[int]elf
	packages []pkgdb.Database
	noDB     error
	read     bool // packages were read
}

// open reads of the artifact what the tests look at.
func (r Request) open(ctx context.Context) (*image, error) {
	l, err := oci.Open(r.Artifact.Path)
	if err != nil {
		return nil, err
	}
	d, err := l.Manifest(r.Artifact.Platform)
	if err != nil {
		return nil, err
	}
	if d.Digest.String() != r.Artifact.Digest {
		return nil, fmt.Errorf("%s: holds %s, not %s", r.Artifact.Path, d.Digest, r.Artifact.Digest)
	}
	img := &image{platform: r.Artifact.Platform, elves: map[int]elf{}}
	files, wanted, platform := false, map[string]bool{"passwd": true}, false
	for _, t := range r.Tests {
		bare, _ := pipelines.Declared(t)
		switch t := bare.(type) {
		case pipelines.TestFile:
			files = true
			if len(t.Contains)+len(t.Lacks) > 0 {
				wanted[path.Base(t.Path)] = true
			}
		case pipelines.TestPackage, pipelines.TestUser:
			files = true
		case pipelines.TestPlatform:
			files, platform = true, true
		}
	}
	if !files {
		_, img.config, err = l.Image(d)
		return img, err
	}
	// By name alone, as a link mostly has the name of what it leads to
	// (/etc/os-release). What is found elsewhere is read from its layer again.
	o := rootfs.Options{Keep: func(e *rootfs.Entry) bool {
		return (wanted[path.Base(e.Path)] && e.Size <= 1<<20) || pkgdb.Keep(e)
	}}
	if platform {
		o.Visit = img.header
	}
	if img.fs, err = rootfs.Open(ctx, l, d, o); err != nil {
		return nil, err
	}
	img.config = img.fs.Config
	return img, nil
}
