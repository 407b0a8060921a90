package unpack

import (
	"errors"
	"fmt"
)

// ErrRefused: a package is malformed or hostile.
var ErrRefused = errors.New("package refused")

// RefusedError says what is wrong with a package. It matches [ErrRefused].
type RefusedError struct {
	// Package is "name=version".
	Package string
	// Member is the path inside it, or "".
	Member string
	Reason string
	Err    error
}

func (e *RefusedError) Error() string {
	s := "package " + e.Package
	if e.Member != "" {
		s += fmt.Sprintf(": %.200q", e.Member)
	}
	s += ": " + e.Reason
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

func (e *RefusedError) Unwrap() error { return e.Err }

// Is matches [ErrRefused].
func (e *RefusedError) Is(target error) bool { return target == ErrRefused }

// Hint says what to do.
func (e *RefusedError) Hint() string {
	return "the package is the one of the signed index, so the repository itself has it; leave it out with Exclude, or take another version"
}

// ConflictError: two packages ship the same path and neither replaces the other.
type ConflictError struct {
	Path          string
	First, Second string // packages
}

func (e *ConflictError) Error() string {
	return fmt.Sprintf("packages %s and %s both ship %s and neither replaces the other", e.First, e.Second, e.Path)
}

// Hint says what to do.
func (e *ConflictError) Hint() string { return "leave one of them out" }

func refuse(member, format string, a ...any) error {
	return &RefusedError{Member: member, Reason: fmt.Sprintf(format, a...)}
}
