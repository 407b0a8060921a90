package site

import (
	"errors"
	"fmt"
	"strings"
)

// ErrInvalid is matched (errors.Is) by every [InvalidError].
var ErrInvalid = errors.New("invalid site")

// InvalidError says that a site, or the file it is read from, is wrong: where,
// and how to mend it. It matches [ErrInvalid].
type InvalidError struct {
	File  string // the site file; empty for a built-in or a site made in code
	Line  int    // of File, from 1; 0 when unknown
	Key   string // "mirrors.debian[1]"; may be empty
	Cause string // what is wrong with it
	Fix   string // what to do, may be empty; printed by the CLI as a hint
}

// Error is "FILE:LINE: KEY: CAUSE", without the parts that are unknown.
func (e *InvalidError) Error() string {
	var b strings.Builder
	switch {
	case e.File != "" && e.Line > 0:
		fmt.Fprintf(&b, "%s:%d: ", e.File, e.Line)
	case e.File != "":
		b.WriteString(e.File + ": ")
	}
	if e.Key != "" {
		b.WriteString(e.Key + ": ")
	}
	b.WriteString(e.Cause)
	return b.String()
}

// Is matches [ErrInvalid].
func (e *InvalidError) Is(target error) bool { return target == ErrInvalid }

// Hint is what to do about it.
func (e *InvalidError) Hint() string { return e.Fix }

// fault is a cause and what to do about it, before it is known where it stands.
type fault struct{ cause, fix string }

func (f *fault) at(file string, line int, key string) *InvalidError {
	return &InvalidError{File: file, Line: line, Key: key, Cause: f.cause, Fix: f.fix}
}

// nearest is the name that looks most like s, or "": at most a third of the
// letters (at least one, at most limit) differ.
func nearest(s string, names []string, limit int) string {
	best, found := "", limit+1
	for _, n := range names {
		d := distance(s, n)
		if d <= max(1, max(len(s), len(n))/3) && d < found {
			best, found = n, d
		}
	}
	return best
}

// distance counts the letters to change, add, drop or swap with their neighbour.
func distance(a, b string) int {
	d := make([][]int, len(a)+1)
	for i := range d {
		d[i] = make([]int, len(b)+1)
		d[i][0] = i
	}
	for j := range d[0] {
		d[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			d[i][j] = min(d[i-1][j]+1, d[i][j-1]+1, d[i-1][j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				d[i][j] = min(d[i][j], d[i-2][j-2]+1)
			}
		}
	}
	return d[len(a)][len(b)]
}
