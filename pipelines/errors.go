package pipelines

import (
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
)

// ErrInvalid is matched (errors.Is) by every [InvalidError].
var ErrInvalid = errors.New("invalid definition")

// Position is a line of the author's source. It is kept for errors and never
// part of an identity. The zero Position is unknown.
type Position struct {
	File string `json:"file,omitempty"`
	Line int    `json:"line,omitempty"`
}

// String is "dir/file.go:12", the last two elements of the path, or "".
func (p Position) String() string {
	if p.File == "" {
		return ""
	}
	dir, base := filepath.Split(p.File)
	return filepath.Join(filepath.Base(dir), base) + ":" + strconv.Itoa(p.Line)
}

// InvalidError says that a definition, flag or file is wrong, where, and how to
// mend it. It matches [ErrInvalid].
type InvalidError struct {
	Where Position // the author's line, when known
	What  string   // the thing that is wrong, "step Run" or "platform \"x\""
	Cause string   // what is wrong with it
	Fix   string   // what to do, may be empty; printed by the CLI as a hint
}

// Error is "file.go:12: what: cause".
func (e *InvalidError) Error() string {
	var b strings.Builder
	if s := e.Where.String(); s != "" {
		b.WriteString(s + ": ")
	}
	fmt.Fprintf(&b, "%s: %s", e.What, e.Cause)
	return b.String()
}

// Is matches [ErrInvalid].
func (e *InvalidError) Is(target error) bool { return target == ErrInvalid }

// Hint is what to do about it.
func (e *InvalidError) Hint() string { return e.Fix }

// caller finds the first frame outside this package: the author's line.
func caller() Position {
	var pcs [16]uintptr
	n := runtime.Callers(3, pcs[:])
	frames := runtime.CallersFrames(pcs[:n])
	for {
		f, more := frames.Next()
		if !strings.Contains(f.Function, "/pipelines.") || strings.HasSuffix(f.File, "_test.go") {
			return Position{File: f.File, Line: f.Line}
		}
		if !more {
			return Position{}
		}
	}
}
