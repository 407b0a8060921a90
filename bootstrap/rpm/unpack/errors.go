package unpack

import (
	"fmt"

	"github.com/cfbuild/cfbuild/bootstrap/refused"
)

// ErrRefused: a package is malformed, hostile, or not signed as it should be.
var ErrRefused = refused.ErrPackage

// RefusedError says what is wrong with a package. It matches [ErrRefused].
type RefusedError = refused.PackageError

func refuse(pkg, format string, a ...any) error {
	return &RefusedError{Package: pkg, Reason: fmt.Sprintf(format, a...)}
}
