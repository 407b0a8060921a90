package unpack

import "github.com/cfbuild/cfbuild/bootstrap/refused"

// ErrRefused: a package is malformed, hostile, or not signed as it should be.
var ErrRefused = refused.ErrPackage

// RefusedError says what is wrong with a package. It matches [ErrRefused].
type RefusedError = refused.PackageError

// ConflictError: two packages ship the same path and neither replaces the other.
type ConflictError = refused.ConflictError

func refuse(member, format string, a ...any) error { return refused.Member(member, format, a...) }
