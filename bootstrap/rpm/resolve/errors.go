package resolve

import (
	"fmt"
	"strings"

	"github.com/cfbuild/cfbuild/pipelines"
)

// NotFoundError: no package of the name, and none that provides it. It matches
// [pipelines.ErrInvalid].
type NotFoundError struct {
	Name string
	Near []string
}

func (e *NotFoundError) Error() string {
	return fmt.Sprintf("package %s: no repository has it", e.Name)
}

// Is matches [pipelines.ErrInvalid].
func (e *NotFoundError) Is(target error) bool { return target == pipelines.ErrInvalid }

// Hint names what is like it.
func (e *NotFoundError) Hint() string {
	if len(e.Near) > 0 {
		return "did you mean " + strings.Join(e.Near, ", ") + "?"
	}
	return "check the name, and whether the repository that has it is among the sources"
}

// UnsatisfiedError: something that a package requires cannot be had.
type UnsatisfiedError struct {
	Dep string
	// Chain leads from what was asked for to the package that requires Dep; empty
	// when that was asked for itself.
	Chain []string
	// Why is what stands against each candidate.
	Why  []string
	Near []string
}

func (e *UnsatisfiedError) Error() string {
	var b strings.Builder
	if len(e.Chain) == 0 {
		fmt.Fprintf(&b, "package %s: cannot be installed", e.Dep)
	} else {
		fmt.Fprintf(&b, "package %s: requires %s, which cannot be had", e.Chain[len(e.Chain)-1], e.Dep)
	}
	if len(e.Chain) > 1 {
		fmt.Fprintf(&b, "\n  it is there for %s", strings.Join(e.Chain, " > "))
	}
	for i, w := range e.Why {
		if i == 8 {
			fmt.Fprintf(&b, "\n  and %d more", len(e.Why)-i)
			break
		}
		b.WriteString("\n  " + w)
	}
	return b.String()
}

// Hint is what to do about it.
func (e *UnsatisfiedError) Hint() string {
	switch {
	case len(e.Near) > 0:
		return "names like it: " + strings.Join(e.Near, ", ")
	case len(e.Why) > 0:
		return "leave one of the packages that stand against each other out, or name the one that is wanted"
	}
	return "the repository that has it may be missing from the sources"
}

// NeedFilesError: files are required that the packages' own lists do not name; a
// repository's full file lists may.
type NeedFilesError struct{ Paths []string }

func (e *NeedFilesError) Error() string {
	return fmt.Sprintf("no package is known to have %s", strings.Join(e.Paths, ", "))
}

// Hint is what to do about it.
func (e *NeedFilesError) Hint() string {
	return "the repository that has it may be missing from the sources"
}
