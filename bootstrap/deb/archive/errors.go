package archive

import (
	"errors"

	"github.com/cfbuild/cfbuild/bootstrap/fetch"
)

// What can be wrong with what a mirror serves; matched with errors.Is. Those of
// package fetch have their names here too.
var (
	// ErrNotRelease: what should be a signed release file is something else.
	ErrNotRelease = fetch.Kind("not a signed release file", fetch.ErrNotMetadata)
	ErrSignature  = fetch.ErrSignature
	// ErrExpired: past its Valid-Until.
	ErrExpired   = fetch.ErrExpired
	ErrStale     = fetch.ErrStale
	ErrMismatch  = fetch.ErrMismatch
	ErrMalformed = fetch.ErrMalformed
	ErrOffline   = fetch.ErrOffline
	// ErrNoArchitecture: the suite has nothing for the architecture.
	ErrNoArchitecture = errors.New("the suite does not have the architecture")
	// ErrNoComponent: the suite has no such component.
	ErrNoComponent = errors.New("the suite does not have the component")
)

// Fault and MirrorsError are those of package fetch.
type (
	Fault        = fetch.Fault
	MirrorsError = fetch.MirrorsError
)

// missing is the hint where a mirror has no such suite or file.
const missing = "check the suite's name and that the mirror's URL is the directory that holds dists/ and pool/; releases that are no longer supported move to archive.debian.org"
