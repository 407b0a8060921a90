package fetch

import (
	"errors"
	"fmt"
	"strings"
	"syscall"

	"github.com/cfbuild/cfbuild/internal/httpx"
	"github.com/cfbuild/cfbuild/internal/pgp"
)

// What can be wrong with what a mirror serves; matched with errors.Is.
var (
	// ErrNotMetadata: what should be signed metadata is something else.
	ErrNotMetadata = errors.New("not signed metadata")
	// ErrSignature: no good signature by a key that is trusted here.
	ErrSignature = pgp.ErrSignature
	// ErrExpired: past its last day.
	ErrExpired = errors.New("expired")
	// ErrStale: older than what another mirror offers.
	ErrStale = errors.New("stale")
	// ErrMismatch: size or hash are not those that the signed metadata say.
	ErrMismatch = errors.New("not what the signed metadata say")
	// ErrMalformed: metadata that cannot be read.
	ErrMalformed = errors.New("malformed")
	// ErrOffline: only the cache may be used and it does not have it.
	ErrOffline = errors.New("not in the cache, and the network may not be used")
)

// Kind makes a sentinel with a text of its own that matches another one too.
func Kind(text string, of error) error { return &kind{text, of} }

type kind struct {
	text string
	of   error
}

func (k *kind) Error() string { return k.text }
func (k *kind) Unwrap() error { return k.of }

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
	// Missing is the hint where a mirror answers that it is not there (404).
	Missing string
}

// Error lists every mirror with its reason, one line each when there are several.
func (e *MirrorsError) Error() string {
	if len(e.Faults) == 1 {
		return fmt.Sprintf("%s: mirror %s: %s", e.What, httpx.Redact(e.Faults[0].Mirror), e.Faults[0].reason())
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s: none of %d mirrors has it", e.What, len(e.Faults))
	for _, f := range e.Faults {
		fmt.Fprintf(&b, "\n  %s: %s", httpx.Redact(f.Mirror), f.reason())
	}
	return b.String()
}

// reason is the fault without a repetition of the mirror's URL.
func (f Fault) reason() string {
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
	case is(ErrNotMetadata):
		return "the mirror, or a proxy or login page before it, answers with something else: open the URL in a browser"
	case is(ErrExpired):
		return "name a mirror that is up to date; for a snapshot or an archive set allow_expired"
	case is(ErrMismatch), is(ErrMalformed):
		return "the mirror is being updated, is broken, or a proxy changes what it sends: try again or name another mirror"
	case is(ErrOffline):
		return "run once with the network"
	}
	for _, f := range e.Faults {
		if NotFound(f.Err) {
			return e.Missing
		}
	}
	return ""
}

// NotFound says whether a server answered that there is no such file.
func NotFound(err error) bool {
	var e *httpx.Error
	return errors.As(err, &e) && e.Kind == httpx.NotFound
}

// CacheError is a fault of the cache directory.
type CacheError struct {
	Dir string
	Err error
}

func (e *CacheError) Error() string { return fmt.Sprintf("cache %s: %v", e.Dir, e.Err) }
func (e *CacheError) Unwrap() error { return e.Err }

// Hint is what to do about it.
func (e *CacheError) Hint() string {
	switch {
	case errors.Is(e.Err, syscall.ENOSPC), errors.Is(e.Err, syscall.EDQUOT):
		return "free space there, or choose another cache directory"
	case errors.Is(e.Err, syscall.EACCES), errors.Is(e.Err, syscall.EROFS):
		return "choose a cache directory that this user can write to"
	}
	return ""
}

// Mismatch matches ErrMismatch.
func Mismatch(format string, a ...any) error {
	return fmt.Errorf("%w: %s", ErrMismatch, fmt.Sprintf(format, a...))
}
