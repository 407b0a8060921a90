// Package refused is how packages of every distribution are turned down.
package refused

import (
	"errors"
	"fmt"
)

// ErrPackage: a package is malformed, hostile, or not signed as it should be.
var ErrPackage = errors.New("package refused")

// PackageError says what is wrong with a package. It matches [ErrPackage].
type PackageError struct {
	// Package is the name with its version, or the file's name where that is not
	// known.
	Package string
	// Member is the archive member or the path inside it, or "".
	Member string
	// Reason and Err say it; either may be empty.
	Reason string
	Err    error
	// Advice is what to do, where there is more to say than usual.
	Advice string
}

func (e *PackageError) Error() string {
	s := "package " + e.Package
	if e.Member != "" {
		s += fmt.Sprintf(": %.200q", e.Member)
	}
	if e.Reason != "" {
		s += ": " + e.Reason
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

func (e *PackageError) Unwrap() error { return e.Err }

// Is matches [ErrPackage].
func (e *PackageError) Is(target error) bool { return target == ErrPackage }

// Hint says what to do.
func (e *PackageError) Hint() string {
	if e.Advice != "" {
		return e.Advice
	}
	return "the package is the one that the repository's signed index names, so the repository itself has it; leave it out with Exclude, or take another version or another mirror"
}

// Member refuses a package, which whoever knows it fills in, for something in it.
func Member(member, format string, a ...any) error {
	return &PackageError{Member: member, Reason: fmt.Sprintf(format, a...)}
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
