//go:build linux && cgo && containers_image_openpgp && exclude_graphdriver_btrfs

package buildah

import (
	"errors"
	"fmt"
	"time"

	"github.com/cfbuild/cfbuild/builders"
	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/cfbuild/cfbuild/site"
)

// What a child can be asked.
const (
	opBuild = "build"
	opProbe = "probe"
	opSize  = "size"
	opPrune = "prune"
)

// request is the one line the child reads.
type request struct {
	Op      string        `json:"op"`
	Options childOptions  `json:"options"`
	Build   *buildRequest `json:"build,omitempty"`
	Unused  time.Duration `json:"unused,omitempty"`
	Max     int64         `json:"max,omitempty"`
}

type childOptions struct {
	StateDir, Isolation, Driver string
}

// buildRequest is [builders.Request] without what cannot cross a pipe.
type buildRequest struct {
	Job     string
	Graph   pipelines.Graph
	Site    site.Site
	Secrets map[string][]byte
	Output  string
	Epoch   time.Time
	NoCache bool
	Keep    bool

	CacheFrom, CacheTo []builders.CacheRef
	// Logins are the request's credentials, which do not marshal themselves.
	Logins   map[string]login
	AuthFile string
}

// login is a [builders.Credential] on its way through the pipe.
type login struct{ User, Password string }

func logins(all map[string]builders.Credential) map[string]login {
	out := map[string]login{}
	for host, c := range all {
		out[host] = login(c)
	}
	return out
}

func (r *buildRequest) credentials() map[string]builders.Credential {
	out := map[string]builders.Credential{}
	for host, l := range r.Logins {
		out[host] = builders.Credential(l)
	}
	return out
}

// answer is one line the child writes: that it is in its namespaces, an event, or
// at the end exactly one of the others.
type answer struct {
	Ready  bool                   `json:"ready,omitempty"`
	Event  *pipelines.Event       `json:"event,omitempty"`
	Result *builders.Result       `json:"result,omitempty"`
	Probe  *builders.Capabilities `json:"probe,omitempty"`
	Usage  *Usage                 `json:"usage,omitempty"`
	Err    *wireError             `json:"error,omitempty"`
}

// wireError carries the typed errors of package builders across the pipe.
type wireError struct {
	Kind string `json:"kind"` // "step", "unsupported", "unavailable", "invalid", ""
	Text string `json:"text,omitempty"`
	Hint string `json:"hint,omitempty"`
	Node string `json:"node,omitempty"` // ID
	// Of a StepError.
	ExitCode int      `json:"exit_code,omitempty"`
	Tail     []string `json:"tail,omitempty"`
	Emulator bool     `json:"emulator,omitempty"`
	TimedOut bool     `json:"timed_out,omitempty"`
	// Of an InvalidError.
	What  string             `json:"what,omitempty"`
	Where pipelines.Position `json:"where,omitzero"`
}

// hinted is an error with advice.
type hinted struct {
	error
	hint string
}

func (h *hinted) Unwrap() error { return h.error }

// Hint is what to do about it.
func (h *hinted) Hint() string { return h.hint }

func toWire(err error) *wireError {
	w := &wireError{Text: err.Error()}
	var step *builders.StepError
	var uns *builders.UnsupportedError
	var una *builders.UnavailableError
	var inv *pipelines.InvalidError
	var hint interface{ Hint() string }
	switch {
	case errors.As(err, &step):
		w.Kind, w.Node, w.ExitCode, w.Tail = "step", step.Node.ID, step.ExitCode, step.Tail
		w.Emulator, w.TimedOut, w.Text = step.Emulator, step.TimedOut, ""
		if step.Err != nil {
			w.Text = step.Err.Error()
			if errors.As(step.Err, &hint) {
				w.Hint = hint.Hint()
			}
		}
	case errors.As(err, &uns):
		w.Kind, w.Node, w.Text, w.Hint = "unsupported", uns.Node.ID, uns.What, uns.Fix
	case errors.As(err, &una):
		w.Kind, w.Text, w.Hint = "unavailable", una.Reason, una.Fix
	case errors.As(err, &inv):
		w.Kind, w.What, w.Text, w.Hint, w.Where = "invalid", inv.What, inv.Cause, inv.Fix, inv.Where
	case errors.As(err, &hint):
		w.Hint = hint.Hint()
	}
	return w
}

func (w *wireError) restore() error {
	node := pipelines.Node{ID: w.Node}
	switch w.Kind {
	case "step":
		e := &builders.StepError{Node: node, ExitCode: w.ExitCode, Tail: w.Tail, Emulator: w.Emulator, TimedOut: w.TimedOut}
		if w.Text != "" {
			e.Err = &hinted{errors.New(w.Text), w.Hint}
		}
		return e
	case "unsupported":
		return &builders.UnsupportedError{Builder: Name, Node: node, What: w.Text, Fix: w.Hint}
	case "unavailable":
		return &builders.UnavailableError{Builder: Name, Reason: w.Text, Fix: w.Hint}
	case "invalid":
		return &pipelines.InvalidError{Where: w.Where, What: w.What, Cause: w.Text, Fix: w.Hint}
	}
	if w.Hint != "" {
		return &hinted{fmt.Errorf("builder buildah: %s", w.Text), w.Hint}
	}
	return fmt.Errorf("builder buildah: %s", w.Text)
}

// restoreNode puts the caller's own node into an error that names it by ID.
func restoreNode(err error, g pipelines.Graph) error {
	var step *builders.StepError
	var uns *builders.UnsupportedError
	switch {
	case errors.As(err, &step):
		if n, ok := g.Node(step.Node.ID); ok {
			step.Node = n
		}
	case errors.As(err, &uns):
		if n, ok := g.Node(uns.Node.ID); ok {
			uns.Node = n
		}
	}
	return err
}
