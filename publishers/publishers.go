// Package publishers holds what every way of publishing shares: its error and
// its credentials. A publisher is idempotent, and its nil error means that what
// was published is durable and was read back.
package publishers

import (
	"errors"
	"fmt"
	"strings"
)

// ErrPublish is matched (errors.Is) by every [PublishError]. Exit code 6.
var ErrPublish = errors.New("publishing failed")

// PublishError says what could not be published, at which stage, what had been
// done by then and what mends it. It matches [ErrPublish] and never holds a
// secret.
type PublishError struct {
	// Ref is the repository or reference, its registry's name first.
	Ref string
	// Stage is one of "reference", "layout", "connect", "upload", "manifest",
	// "list", "tag", "verify", "inspect" and "pull" for registries of images, and of
	// "options", "name", "files", "connect", "compare", "upload", "verify",
	// "checksums", "list" and "delete" for those of packages.
	Stage string
	// Done says what the destination holds now; empty when nothing was sent.
	Done string
	// Fix is what to do about it, may be empty.
	Fix string
	Err error
}

// Error is "publish REF: STAGE: cause (what was done)".
func (e *PublishError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "publish %s: %s: %v", e.Ref, e.Stage, e.Err)
	if e.Done != "" {
		b.WriteString(" (" + e.Done + ")")
	}
	return b.String()
}

func (e *PublishError) Unwrap() error { return e.Err }

// Is matches [ErrPublish].
func (e *PublishError) Is(target error) bool { return target == ErrPublish }

// Hint is what to do about it.
func (e *PublishError) Hint() string { return e.Fix }

// Credential is a user and password or token for one registry. It prints without
// its secret.
type Credential struct {
	User, Password string
	// From names where it came from, for hints: "CI_REGISTRY_PASSWORD".
	From string
}

// Format prints the user and hides the password, whatever the verb.
func (c Credential) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "%s:***", c.User) }

// MarshalText does the same for JSON and other encodings.
func (c Credential) MarshalText() ([]byte, error) { return []byte(c.User + ":***"), nil }
