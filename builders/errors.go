package builders

import (
	"errors"
	"fmt"
	"strings"

	"github.com/cfbuild/cfbuild/pipelines"
)

// ErrUnavailable: the builder cannot work on this machine. Exit code 4.
var ErrUnavailable = errors.New("builder unavailable")

// UnavailableError says why, and what mends it. It matches [ErrUnavailable].
type UnavailableError struct {
	Builder, Reason, Fix string
}

func (e *UnavailableError) Error() string { return "builder " + e.Builder + ": " + e.Reason }

// Is matches [ErrUnavailable].
func (e *UnavailableError) Is(target error) bool { return target == ErrUnavailable }

// Hint is what mends it.
func (e *UnavailableError) Hint() string { return e.Fix }

// UnsupportedError: the builder cannot do what a node asks for. Exit code 4.
type UnsupportedError struct {
	Builder string
	Node    pipelines.Node
	What    string
	Fix     string
}

func (e *UnsupportedError) Error() string {
	s := fmt.Sprintf("builder %s: %s: %s", e.Builder, e.Node.Name, e.What)
	if w := e.Node.Where.String(); w != "" {
		s = w + ": " + s
	}
	return s
}

// Hint is what to do instead.
func (e *UnsupportedError) Hint() string { return e.Fix }

// StepError: a step failed. Exit code 5.
type StepError struct {
	Node pipelines.Node
	// ExitCode of the command; -1 when it did not get that far.
	ExitCode int
	// Tail is the last lines of its output, oldest first.
	Tail []string
	// Emulator: the emulator crashed, not the command (exit 132, 139, or
	// "uncaught target signal").
	Emulator bool
	// TimedOut: the step's Timeout passed.
	TimedOut bool
	Err      error
}

func (e *StepError) Error() string {
	var b strings.Builder
	if w := e.Node.Where.String(); w != "" {
		b.WriteString(w + ": ")
	}
	fmt.Fprintf(&b, "step %q", e.Node.Name)
	switch {
	case e.TimedOut:
		b.WriteString(": timed out")
	case e.Emulator:
		fmt.Fprintf(&b, ": the emulator for %s crashed (exit status %d)", e.Node.Platform, e.ExitCode)
	case e.ExitCode >= 0:
		fmt.Fprintf(&b, ": exit status %d", e.ExitCode)
	}
	if e.Err != nil && e.ExitCode < 0 {
		fmt.Fprintf(&b, ": %v", e.Err)
	}
	for _, l := range e.Tail {
		b.WriteString("\n    " + l)
	}
	return b.String()
}

func (e *StepError) Unwrap() error { return e.Err }

// Hint says what to try.
func (e *StepError) Hint() string {
	switch {
	case e.Emulator:
		return "build this platform on a native runner, or try a newer qemu-user-static"
	case e.TimedOut:
		return "raise the step's Timeout"
	}
	return ""
}
