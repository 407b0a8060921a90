package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"syscall"

	"github.com/cfbuild/cfbuild/builders"
	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/cfbuild/cfbuild/publishers"
	"github.com/cfbuild/cfbuild/site"
)

// The exit codes. 7 is kept for checks of locked and generated files.
const (
	ExitDone        = 0
	ExitOther       = 1
	ExitUsage       = 2
	ExitInvalid     = 3
	ExitUnavailable = 4
	ExitStep        = 5
	ExitPublish     = 6
	ExitDrift       = 7
	ExitCheck       = 8
	ExitInterrupted = 130
)

// ExitCodes is the table printed in help.
const ExitCodes = `  0    done
  1    any other failure: a mirror, the network, the disk
  2    usage: an unknown command, flag, target, platform, builder or site
  3    an invalid definition or site file
  4    no builder is available here, or it cannot do what the image asks for
  5    a step of the image failed
  6    publishing failed
  7    drift: what is locked or generated is not what is
  8    a check failed: image tests, lint, the CA proof, a site's mirrors
  130  interrupted`

// usageError is a mistake on the command line. It keeps the hints of its cause.
type usageError struct {
	err error
	fix string
}

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }
func (e *usageError) Hint() string  { return e.fix }

func usagef(fix, format string, args ...any) error {
	return &usageError{fmt.Errorf(format, args...), fix}
}

// hintError adds what to do to an error.
type hintError struct {
	err error
	fix string
}

func (e *hintError) Error() string { return e.err.Error() }
func (e *hintError) Unwrap() error { return e.err }
func (e *hintError) Hint() string  { return e.fix }

// errCheck is matched (errors.Is) by every [checkError].
var errCheck = errors.New("a check failed")

// checkError says that an image was built or read and does not pass a check. What
// was found is on stdout already; the error sums it up in one line.
type checkError struct {
	err error
	fix string
}

func (e *checkError) Error() string        { return e.err.Error() }
func (e *checkError) Unwrap() error        { return e.err }
func (e *checkError) Is(target error) bool { return target == errCheck }
func (e *checkError) Hint() string         { return e.fix }

// checkFailedf is a checkError with a hint, which may be empty.
func checkFailedf(fix, format string, args ...any) error {
	return &checkError{fmt.Errorf(format, args...), fix}
}

// errInterrupted is the cause of a context that a signal ended.
var errInterrupted = errors.New("interrupted")

// ExitCode is the one place that maps errors to exit codes. Where several errors
// are joined, the first row that fits any of them counts.
func ExitCode(err error) int {
	if err == nil {
		return ExitDone
	}
	var usage *usageError
	var unsupported *builders.UnsupportedError
	var step *builders.StepError
	switch {
	case errors.Is(err, errInterrupted):
		return ExitInterrupted
	case errors.As(err, &usage):
		return ExitUsage
	case errors.Is(err, pipelines.ErrInvalid), errors.Is(err, site.ErrInvalid):
		return ExitInvalid
	case errors.Is(err, builders.ErrUnavailable), errors.As(err, &unsupported):
		return ExitUnavailable
	case errors.As(err, &step):
		return ExitStep
	case errors.Is(err, publishers.ErrPublish):
		return ExitPublish
	case errors.Is(err, errCheck):
		return ExitCheck
	}
	return ExitOther
}

// printError writes "NAME: what: cause" for each of the joined errors, then
// "NAME: hint: …" for each hint in them, once. Where a run was interrupted, that is
// said once, and errors that only repeat it are left out.
func printError(w io.Writer, name string, err error) {
	all := split(err)
	if errors.Is(err, errInterrupted) {
		all = slices.DeleteFunc(all, func(e error) bool { return errors.Is(e, errInterrupted) || errors.Is(e, context.Canceled) })
		all = append(all, errInterrupted)
	}
	var hints []string
	for _, e := range all {
		fmt.Fprintf(w, "%s: %s\n", name, e)
		found := findHints(e)
		if len(found) == 0 && (errors.Is(e, syscall.ENOSPC) || errors.Is(e, syscall.EDQUOT)) {
			found = []string{"free some space on that disk (" + name + " cache prune), or put the state elsewhere with --state-dir"}
		}
		for _, h := range found {
			if !slices.Contains(hints, h) {
				hints = append(hints, h)
			}
		}
	}
	for _, h := range hints {
		fmt.Fprintf(w, "%s: hint: %s\n", name, h)
	}
}

// split takes joined errors apart, those at the top only: deeper ones belong to
// one message.
func split(err error) []error {
	if h, ok := err.(*hintError); ok { // the hint is about the last of them
		all := split(h.err)
		return append(all[:len(all)-1:len(all)-1], &hintError{all[len(all)-1], h.fix})
	}
	j, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return []error{err}
	}
	var out []error
	var texts []string
	for _, e := range j.Unwrap() {
		out = append(out, split(e)...)
		texts = append(texts, e.Error())
	}
	if err.Error() != strings.Join(texts, "\n") { // fmt.Errorf with several %w: it says more
		return []error{err}
	}
	return out
}

// findHints walks the chain and gives what its errors advise, outermost first.
func findHints(err error) []string {
	var out []string
	if h, ok := err.(interface{ Hint() string }); ok && h.Hint() != "" {
		out = append(out, h.Hint())
	}
	if h, ok := err.(*hintError); ok { // what the cause itself advises comes first
		return append(findHints(h.err), out...)
	}
	switch u := err.(type) {
	case interface{ Unwrap() error }:
		if e := u.Unwrap(); e != nil {
			out = append(out, findHints(e)...)
		}
	case interface{ Unwrap() []error }:
		for _, e := range u.Unwrap() {
			out = append(out, findHints(e)...)
		}
	}
	return out
}
