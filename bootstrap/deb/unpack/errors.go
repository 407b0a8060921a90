package unpack

import "github.com/cfbuild/cfbuild/bootstrap/refused"

// ErrRefused: a package is malformed, hostile, or not signed as it should be.
var ErrRefused = refused.ErrPackage

// RefusedError says what is wrong with a package. It matches [ErrRefused].
type RefusedError = refused.PackageError

// ConflictError: two packages ship the same path and neither Replaces the other.
type ConflictError = refused.ConflictError

// refuse makes a RefusedError without the package, which Add fills in.
func refuse(member, format string, a ...any) error { return refused.Member(member, format, a...) }

func refuseErr(member, reason string, err error) error {
	return &RefusedError{Member: member, Reason: reason, Err: err}
}
