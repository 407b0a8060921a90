package apkrepo

import "github.com/cfbuild/cfbuild/internal/testrepo/mirror"

// Mirror is [mirror.Mirror].
type Mirror = mirror.Mirror

// Serve is [mirror.ServeAt]; ServeTLS and Down are those of package mirror.
var (
	Serve    = mirror.ServeAt
	ServeTLS = mirror.ServeTLS
	Down     = mirror.Down
)
