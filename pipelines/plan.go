package pipelines

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Target is a named image for several platforms.
type Target struct {
	// Name is what users type: lower case, digits, '.', '_' and '-'.
	Name string
	// Aliases are further names.
	Aliases []string
	// Description is one line for cfbuild list.
	Description string
	// Platforms restricts the target; nil means all that its source offers.
	Platforms []Platform
	// Build is a pure function of the platform.
	Build func(Platform) Image
	// Tests are run on the finished image by cfbuild run --test, for each platform.
	Tests []Test
	// EndOfLife is the day the release's support ends, "2006-01-02"; a run after
	// that day warns. Empty: not known.
	EndOfLife string
	// Verified says how the recipe was last verified: [VerifiedReal],
	// [VerifiedSynthetic], [VerifiedGolden]. Empty: nothing is claimed.
	Verified string
	// Accepts are practices that cfbuild lint does not hold against this target.
	Accepts []Acceptance
}

// Ended says whether the release's support had ended at a time.
func (t Target) Ended(now time.Time) bool {
	end, err := time.Parse(time.DateOnly, t.EndOfLife)
	return err == nil && now.After(end.AddDate(0, 0, 1))
}

// How a recipe was last verified.
const (
	VerifiedReal      = "real mirror"          // built from the distribution's own mirror
	VerifiedSynthetic = "synthetic repository" // built from a repository that the tests made
	VerifiedGolden    = "golden only"          // its definition was compared, it was not built
)

// Pipeline is a set of targets.
type Pipeline struct {
	Name    string
	Targets []Target
}

var targetRE = regexp.MustCompile(`^[a-z0-9]([a-z0-9._-]*[a-z0-9])?$`)

// Check says whether names are legal and unique and every target can be built.
func (p Pipeline) Check() error {
	seen := map[string]string{}
	for _, t := range p.Targets {
		for _, name := range append([]string{t.Name}, t.Aliases...) {
			if !targetRE.MatchString(name) {
				return &InvalidError{What: fmt.Sprintf("target %q", name), Cause: "is not a legal name",
					Fix: "use lower-case letters, digits, '.', '_' and '-'"}
			}
			if other, ok := seen[name]; ok {
				return &InvalidError{What: fmt.Sprintf("target %q", name), Cause: "is defined twice (also by " + other + ")"}
			}
			seen[name] = t.Name
		}
		for _, a := range t.Accepts {
			if err := a.check(t.Name); err != nil {
				return err
			}
		}
		if t.Build == nil {
			return &InvalidError{What: fmt.Sprintf("target %q", t.Name), Cause: "has no Build function"}
		}
		if _, err := time.Parse(time.DateOnly, t.EndOfLife); t.EndOfLife != "" && err != nil {
			return &InvalidError{What: fmt.Sprintf("target %q", t.Name), Cause: fmt.Sprintf("EndOfLife %q is not a day", t.EndOfLife), Fix: "write it as 2006-01-02"}
		}
	}
	return nil
}

// Target finds a target by name or alias. The error is an [InvalidError] whose
// hint has the nearest names.
func (p Pipeline) Target(name string) (Target, error) {
	var names []string
	for _, t := range p.Targets {
		if t.Name == name || slices.Contains(t.Aliases, name) {
			return t, nil
		}
		names = append(append(names, t.Name), t.Aliases...)
	}
	fix := "cfbuild list shows all targets"
	if near := Nearest(name, names, 3); len(near) > 0 {
		fix = "did you mean " + strings.Join(near, ", ") + "? " + fix
	}
	return Target{}, &InvalidError{What: fmt.Sprintf("target %q", name), Cause: "is unknown", Fix: fix}
}

// Nearest gives up to most of the names that look like s, nearest first: at most
// a third of the letters differ, or one begins with the other.
func Nearest(s string, names []string, most int) []string {
	type scored struct {
		name string
		d    int
	}
	var all []scored
	for _, n := range names {
		d := distance(s, n)
		if d <= max(1, max(len(s), len(n))/3) || (len(s) > 1 && (strings.HasPrefix(n, s) || strings.HasPrefix(s, n))) {
			all = append(all, scored{n, d})
		}
	}
	slices.SortStableFunc(all, func(a, b scored) int { return a.d - b.d })
	var out []string
	for _, a := range all[:min(most, len(all))] {
		out = append(out, a.name)
	}
	return out
}

// distance counts letters to change, add, drop or swap with their neighbour
// (optimal string alignment).
func distance(a, b string) int {
	rows := [3][]int{make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)}
	before, last, row := rows[0], rows[1], rows[2]
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		before, last, row = last, row, before
		row[0] = i + 1
		for j := range len(b) {
			cost := last[j]
			if a[i] != b[j] {
				cost++
			}
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				cost = min(cost, before[j-1]+1)
			}
			row[j+1] = min(cost, last[j+1]+1, row[j]+1)
		}
	}
	return row[len(b)]
}

// Format of an artifact.
type Format string

// The formats a job can be asked for.
const (
	FormatOCI    Format = "oci"    // OCI image layout directory, all platforms in one
	FormatDocker Format = "docker" // docker-archive tar, one platform each
	FormatSIF    Format = "sif"    // SIF file for Apptainer, one platform each
)

// Plan is what will be built.
type Plan struct {
	Version int   `json:"version"` // of this JSON form, 1
	Jobs    []Job `json:"jobs"`
}

// Job builds one target for one platform.
type Job struct {
	// ID is TARGET-ARCH, unique in a plan.
	ID       string   `json:"id"`
	Target   string   `json:"target"`
	Platform Platform `json:"platform"`
	Graph    Graph    `json:"graph"`
}

// NewJob flattens one target for one platform and checks the declarations of its
// tests.
func NewJob(t Target, p Platform) (Job, error) {
	if err := CheckTests(t); err != nil {
		return Job{}, err
	}
	g, err := t.Build(p).Graph()
	if err != nil {
		return Job{}, fmt.Errorf("target %s for %s: %w", t.Name, p, err)
	}
	if g.Platform != p.Normalize() {
		return Job{}, &InvalidError{Where: g.Result().Where, What: fmt.Sprintf("target %q", t.Name),
			Cause: fmt.Sprintf("asked for %s, its Build function made %s", p, g.Platform)}
	}
	return Job{ID: t.Name + "-" + p.Short(), Target: t.Name, Platform: p.Normalize(), Graph: g}, nil
}

// Artifact is what a job made.
type Artifact struct {
	Job      string   `json:"job"`
	Target   string   `json:"target"`
	Platform Platform `json:"platform"`
	Format   Format   `json:"format"`
	// Path of the OCI layout directory or file.
	Path string `json:"path"`
	// Digest and Size (bytes) of the image manifest.
	Digest    string `json:"digest"`
	Size      int64  `json:"size"`
	MediaType string `json:"media_type"`
	// Cached: nothing had to be built.
	Cached bool `json:"cached,omitempty"`
	// Inputs is the key of everything that went in; empty where something could not
	// be pinned.
	Inputs string `json:"inputs,omitempty"`
}

// Receipt says what was published where.
type Receipt struct {
	Target    string     `json:"target"`
	Ref       string     `json:"ref"`
	Tags      []string   `json:"tags,omitempty"`
	Digest    string     `json:"digest"`
	MediaType string     `json:"media_type"`
	Platforms []Platform `json:"platforms"`
	Pushed    int64      `json:"pushed_bytes"`
	// Skipped: the same inputs were published before, and nothing was built.
	Skipped bool `json:"skipped,omitempty"`
}

// EventKind says what an [Event] is about.
type EventKind string

// The kinds of event. A job and a step start, may log and progress, and end with
// exactly one of done, cached and failed.
const (
	EventStart    EventKind = "start"
	EventLog      EventKind = "log"      // Text is one line of output
	EventProgress EventKind = "progress" // Current of Total, in Unit
	EventDone     EventKind = "done"
	EventCached   EventKind = "cached" // done without work
	EventFailed   EventKind = "failed" // Text is the error
	EventWarning  EventKind = "warning"
	EventNote     EventKind = "note"
)

// Event is one line of the progress stream. Events flow one way and never carry
// a secret.
type Event struct {
	Time time.Time `json:"time"`
	Kind EventKind `json:"kind"`
	// Job and Step place the event; both may be empty. Step is a node ID or a
	// word such as "resolve", "download", "push".
	Job  string `json:"job,omitempty"`
	Step string `json:"step,omitempty"`
	// Name is for people: what the step does.
	Name  string `json:"name,omitempty"`
	Where string `json:"where,omitempty"`
	Text  string `json:"text,omitempty"`
	// Current and Total count Unit ("B" for bytes); Total 0 is unknown.
	Current int64  `json:"current,omitempty"`
	Total   int64  `json:"total,omitempty"`
	Unit    string `json:"unit,omitempty"`
}

// Sink takes events. It may be called by several goroutines at once and must not
// block for long. A nil Sink drops them.
type Sink func(Event)

// Send passes the event on, if there is somewhere to.
func (s Sink) Send(e Event) {
	if s != nil {
		s(e)
	}
}

// With gives a sink that fills in the job and, where the event has none, the step.
func (s Sink) With(job, step string) Sink {
	if s == nil {
		return nil
	}
	return func(e Event) {
		if e.Job == "" {
			e.Job = job
		}
		if e.Step == "" {
			e.Step = step
		}
		s(e)
	}
}
