package resolve

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/cfbuild/cfbuild/bootstrap/apk/index"
	"github.com/cfbuild/cfbuild/pipelines"
)

// MissingError: no repository has a package of a name, nor one that provides it. It
// matches [pipelines.ErrInvalid] where the definition itself names it.
type MissingError struct {
	Name string
	// By is the package that wants it, "" for the definition itself.
	By string
	// Near are names that there are.
	Near []string
}

func (e *MissingError) Error() string {
	s := "package " + e.Name + ": no repository has it"
	if e.By != "" {
		s += ", and " + e.By + " needs it"
	}
	return s
}

// Hint is what to do about it.
func (e *MissingError) Hint() string {
	if len(e.Near) > 0 {
		return "near it: " + strings.Join(e.Near, ", ")
	}
	return "check the name; most packages are in community, which is a component of its own"
}

// Is matches [pipelines.ErrInvalid].
func (e *MissingError) Is(target error) bool { return e.By == "" && target == pipelines.ErrInvalid }

// ConflictError: packages that do not go together, or a choice that has to be made.
type ConflictError struct {
	// Name that nothing can be chosen for.
	Name string
	// Lines say why.
	Lines []string
}

func (e *ConflictError) Error() string {
	return "package " + e.Name + ": " + strings.Join(e.Lines, "; ")
}

// Hint is what to do about it.
func (e *ConflictError) Hint() string {
	return "include one of the packages by name, or leave out what excludes it"
}

// failure explains why there is no solution.
func (s *solver) failure(world []index.Dep) error {
	// A name that does not exist explains more than anything else.
	for _, r := range append(s.queue, s.wanting...) {
		if !r.Conflict && len(s.u.byName[r.Name]) == 0 {
			e := &MissingError{Name: r.Name, Near: s.near(r.Name)}
			if r.by != nil {
				e.By = r.by.Name
			}
			return e
		}
	}
	e := &ConflictError{Name: cmp.Or(s.stuck, "world")}
	if s.steps > maxSteps {
		e.Lines = append(e.Lines, fmt.Sprintf("no solution after %d steps", maxSteps))
	}
	var virtual []string
	for _, p := range s.u.byName[s.stuck] {
		if !s.selectable(p) {
			virtual = append(virtual, p.p.Name)
		}
	}
	if len(virtual) > 0 && len(virtual) == len(s.u.byName[s.stuck]) {
		slices.Sort(virtual)
		e.Lines = append(e.Lines, "it is provided by "+strings.Join(slices.Compact(virtual), ", ")+", and none of them is chosen by itself")
		return e
	}
	for _, r := range s.wanting {
		by := "the definition"
		if r.by != nil {
			by = r.by.String()
		}
		e.Lines = append(e.Lines, by+" wants "+r.Dep.String())
	}
	var have []string
	for _, p := range s.u.byName[s.stuck] {
		have = append(have, p.p.String())
	}
	if len(have) > 0 {
		e.Lines = append(e.Lines, "there is "+strings.Join(have, ", "))
	}
	for _, d := range world {
		if d.Conflict {
			e.Lines = append(e.Lines, d.Name+" is excluded")
		}
	}
	if len(e.Lines) == 0 {
		e.Lines = []string{"nothing fits"}
	}
	return e
}

// near gives names that are a little different, at most five.
func (s *solver) near(name string) []string {
	type scored struct {
		name string
		far  int
	}
	var out []scored
	for n, ps := range s.u.byName {
		if ps[0].p.Name != n || strings.ContainsAny(n, ":/") {
			continue
		}
		far := distance(n, name)
		if strings.HasPrefix(n, name) || strings.HasPrefix(name, n) && len(n) > 2 {
			far = min(far, 2)
		}
		if far <= max(2, len(name)/4) {
			out = append(out, scored{n, far})
		}
	}
	slices.SortFunc(out, func(a, b scored) int { return cmp.Or(a.far-b.far, strings.Compare(a.name, b.name)) })
	var names []string
	for _, o := range out[:min(5, len(out))] {
		names = append(names, o.name)
	}
	return names
}

// distance is the number of letters to change (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		last := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			last, row[j+1] = row[j+1], min(row[j+1]+1, row[j]+1, last+cost)
		}
	}
	return row[len(b)]
}
