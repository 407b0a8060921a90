package archive

import (
	"errors"
	"fmt"
	"strings"
	"syscall"

	"github.com/cfbuild/cfbuild/internal/httpx"
)

// What can be wrong with what a mirror serves; matched with errors.Is.
var (
	// ErrNotRelease: what should be a signed release file is something else.
	ErrNotRelease = errors.New("not a signed release file")
	// ErrSignature: no good signature by a key that is trusted here.
	ErrSignature = errors.New("no good signature by a trusted key")
	// ErrExpired: past its Valid-Until.
	ErrExpired = errors.New("expired")
	// ErrStale: older than what another mirror offers.
	ErrStale = errors.New("stale")
	// ErrMismatch: size or hash are not those that the signed metadata say.
	ErrMismatch = errors.New("not what the signed metadata say")
	// ErrMalformed: an index or release file that cannot be read.
	ErrMalformed = errors.New("malformed")
	// ErrOffline: only the cache may be used and it does not have it.
	ErrOffline = errors.New("not in the cache, and the network may not be used")
	// ErrNoArchitecture: the suite has nothing for the architecture.
	ErrNoArchitecture = errors.New("the suite does not have the architecture")
	// ErrNoComponent: the suite has no such component.
	ErrNoComponent = errors.New("the suite does not have the component")
)

// Fault is what was wrong with one mirror.
type Fault struct {
	Mirror string
	Err    error
}

// MirrorsError says that no mirror had something, and why not.
type MirrorsError struct {
	// What was asked for: "release bookworm", "package bash=5.2".
	What   string
	Faults []Fault
}

// Error lists every mirror with its reason, one line each when there are several.
func (e *MirrorsError) Error() string {
	if len(e.Faults) == 1 {
		return fmt.Sprintf("%s: mirror %s: %s", e.What, httpx.Redact(e.Faults[0].Mirror), reason(e.Faults[0]))
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s: none of %d mirrors has it", e.What, len(e.Faults))
	for _, f := range e.Faults {
		fmt.Fprintf(&b, "\n  %s: %s", httpx.Redact(f.Mirror), reason(f))
	}
	return b.String()
}

// reason is the fault without a repetition of the mirror's URL.
func reason(f Fault) string {
	return strings.TrimPrefix(strings.ReplaceAll(f.Err.Error(), httpx.Redact(f.Mirror)+"/", ""), ": ")
}

// Unwrap gives the faults.
func (e *MirrorsError) Unwrap() []error {
	var out []error
	for _, f := range e.Faults {
		out = append(out, f.Err)
	}
	return out
}

// Hint is what to do about the first fault that something can be done about.
func (e *MirrorsError) Hint() string {
	for _, f := range e.Faults {
		var h interface{ Hint() string }
		if errors.As(f.Err, &h) && h.Hint() != "" {
			return h.Hint()
		}
	}
	is := func(target error) bool { return errors.Is(e, target) }
	switch {
	case is(ErrSignature):
		return "if the mirror carries another distribution or its own key, add that key to the site's keyrings; otherwise do not use this mirror"
	case is(ErrNotRelease):
		return "the mirror, or a proxy or login page before it, answers with something else: open the URL in a browser"
	case is(ErrExpired):
		return "name a mirror that is up to date; for a snapshot or an archive set allow_expired"
	case is(ErrMismatch), is(ErrMalformed):
		return "the mirror is being updated, is broken, or a proxy changes what it sends: try again or name another mirror"
	case is(ErrOffline):
		return "run once with the network"
	}
	for _, f := range e.Faults {
		var he *httpx.Error
		if errors.As(f.Err, &he) && he.Kind == httpx.NotFound {
			return "check the suite's name and that the mirror's URL is the directory that holds dists/ and pool/; releases that are no longer supported move to archive.debian.org"
		}
	}
	return ""
}

// cacheError is a fault of the cache directory.
type cacheError struct {
	dir string
	err error
}

func (e *cacheError) Error() string { return fmt.Sprintf("cache %s: %v", e.dir, e.err) }
func (e *cacheError) Unwrap() error { return e.err }

// Hint is what to do about it.
func (e *cacheError) Hint() string {
	switch {
	case errors.Is(e.err, syscall.ENOSPC), errors.Is(e.err, syscall.EDQUOT):
		return "free space there, or choose another cache directory"
	case errors.Is(e.err, syscall.EACCES), errors.Is(e.err, syscall.EROFS):
		return "choose a cache directory that this user can write to"
	}
	return ""
}

// mismatch matches ErrMismatch.
func mismatch(format string, a ...any) error {
	return fmt.Errorf("%w: %s", ErrMismatch, fmt.Sprintf(format, a...))
}
