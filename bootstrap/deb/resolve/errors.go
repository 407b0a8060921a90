package resolve

import (
	"errors"
	"fmt"
	"strings"

	"github.com/cfbuild/cfbuild/pipelines"
)

// What the errors of Resolve match (errors.Is).
var (
	// ErrNoPackage: a package that was asked for does not exist.
	ErrNoPackage = errors.New("no such package")
	// ErrUnmet: a dependency cannot be met.
	ErrUnmet = errors.New("unmet dependency")
	// ErrConflict: two packages that are needed exclude each other.
	ErrConflict = errors.New("conflict")
)

// NoPackageError: a package that was asked for does not exist. It matches
// [ErrNoPackage] and [pipelines.ErrInvalid].
type NoPackageError struct {
	Name, Arch string
	// Version that was asked for, when the package is there in others.
	Version string
	// Near are names like it; Providers provide it, when it is only virtual.
	Near, Providers []string
}

func (e *NoPackageError) Error() string {
	switch {
	case e.Version != "":
		return fmt.Sprintf("package %s: it is not there in version %s for %s", e.Name, e.Version, e.Arch)
	case len(e.Providers) > 0:
		return fmt.Sprintf("package %s: it is virtual, several packages provide it", e.Name)
	}
	return fmt.Sprintf("package %s: %v for %s", e.Name, ErrNoPackage, e.Arch)
}

// Is matches the sentinels.
func (e *NoPackageError) Is(target error) bool {
	return target == ErrNoPackage || target == pipelines.ErrInvalid
}

// Hint is what to do about it.
func (e *NoPackageError) Hint() string {
	switch {
	case e.Version != "":
		return "name one of its versions: " + strings.Join(e.Near, ", ")
	case len(e.Providers) > 0:
		return "name one of them: " + strings.Join(e.Providers, ", ")
	case len(e.Near) > 0:
		return "near it: " + strings.Join(e.Near, ", ")
	}
	return "check the name, and that its component and suite are among the package sources"
}

// UnmetError is a dependency that cannot be met, with everything between it and
// what was asked for.
type UnmetError struct {
	// Package that has the dependency, and why it is wanted.
	Package, Why string
	// Group is the dependency as written, "b (>= 2) | c".
	Group string
	// Reasons, one for each package that might have met it: *UnmetError,
	// *ConflictError, or plain.
	Reasons []error
}

// Error is "a depends b (>= 2) depends c: no such package".
func (e *UnmetError) Error() string { return e.Package + e.tail() }

// tail leaves out the package, which the text before it ends with.
func (e *UnmetError) tail() string {
	s := " depends " + e.Group
	if len(e.Reasons) == 1 {
		var inner *UnmetError
		if u, ok := e.Reasons[0].(*UnmetError); ok {
			inner = u
		}
		switch {
		case inner != nil && strings.Fields(e.Group)[0] == inner.Package && !strings.Contains(e.Group, "|"):
			return s + inner.tail()
		case inner != nil:
			return s + ": " + inner.Error()
		}
		return s + ": " + e.Reasons[0].Error()
	}
	var parts []string
	for _, r := range e.Reasons {
		parts = append(parts, r.Error())
	}
	return s + ": " + strings.Join(parts, "; ")
}

// Is matches [ErrUnmet].
func (e *UnmetError) Is(target error) bool { return target == ErrUnmet }

// Unwrap gives the reasons.
func (e *UnmetError) Unwrap() []error { return e.Reasons }

// Hint is what to do about it.
func (e *UnmetError) Hint() string {
	if errors.Is(errors.Join(e.Reasons...), errExcluded) {
		return "do not exclude what is needed"
	}
	if e.Why == "requested" {
		return "add the package source (suite or component) that has it, or leave " + e.Package + " out"
	}
	return "the suites do not fit together: add the one that has it (updates, security), or name mirrors of one state"
}

var errExcluded = errors.New("it is excluded")

// ConflictError: a package excludes one that is chosen already.
type ConflictError struct {
	// Package declares Relation ("b (<< 2)") in Field ("conflicts" or "breaks")
	// against Other. Chain says for both how they came to be chosen.
	Package, Field, Relation, Other string
	Chain                           [2]string
}

func (e *ConflictError) Error() string {
	s := fmt.Sprintf("%s %s %s", e.Package, e.Field, e.Relation)
	if !strings.HasPrefix(e.Relation+" ", e.Other+" ") {
		s += ", which is " + e.Other
	}
	return fmt.Sprintf("%s [%s; %s]", s, e.Chain[0], e.Chain[1])
}

// Is matches [ErrConflict].
func (e *ConflictError) Is(target error) bool { return target == ErrConflict }

// Hint is what to do about it.
func (e *ConflictError) Hint() string { return "leave one of the two out" }
