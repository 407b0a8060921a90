package unpack

import (
	"errors"
	"fmt"
)

// ErrRefused: a package is malformed, hostile, or not signed as it should be.
var ErrRefused = errors.New("package refused")

// RefusedError says what is wrong with a package. It matches [ErrRefused].
type RefusedError struct {
	Package string
	Reason  string
	Err     error
	hint    string
}

func (e *RefusedError) Error() string {
	s := "package " + e.Package + ": "
	switch {
	case e.Err == nil:
		return s + e.Reason
	case e.Reason == "":
		return s + e.Err.Error()
	}
	return s + e.Reason + ": " + e.Err.Error()
}

func (e *RefusedError) Unwrap() error { return e.Err }

// Is matches [ErrRefused].
func (e *RefusedError) Is(target error) bool { return target == ErrRefused }

// Hint says what to do.
func (e *RefusedError) Hint() string {
	if e.hint != "" {
		return e.hint
	}
	return "the package has the checksum that the repository says, so the repository itself has it; leave it out, or take another mirror"
}

func refuse(pkg, format string, a ...any) error {
	return &RefusedError{Package: pkg, Reason: fmt.Sprintf(format, a...)}
}
