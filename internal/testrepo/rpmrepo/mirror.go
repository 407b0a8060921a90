package rpmrepo

import "github.com/cfbuild/cfbuild/internal/testrepo/mirror"

// Mirror is [mirror.Mirror].
type Mirror = mirror.Mirror

// Serve and Down are those of package mirror.
var (
	Serve = mirror.Serve
	Down  = mirror.Down
)
