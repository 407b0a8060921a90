// Package cfbuild is the root of the module. It holds nothing but the module's own
// go.mod and go.sum, which `cfbuild init` writes into new programs so that they
// compile with exactly the versions this one was made with.
//
// The packages to import are pipelines, recipes, site, builders, bootstrap,
// publishers and cmd/cli.
package cfbuild

import _ "embed"

// GoMod and GoSum are the module's files.
var (
	//go:embed go.mod
	GoMod string
	//go:embed go.sum
	GoSum string
)
