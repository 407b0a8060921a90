// Package recipes lists the built-in pipeline: operating system base images for
// one site.
package recipes

import (
	"slices"

	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/cfbuild/cfbuild/recipes/alpine"
	"github.com/cfbuild/cfbuild/recipes/debian"
	"github.com/cfbuild/cfbuild/recipes/rpm"
	"github.com/cfbuild/cfbuild/recipes/suse"
	"github.com/cfbuild/cfbuild/site"
)

// Pipeline is every built-in target, for one site. Targets are built for all
// platforms that their packages are offered for.
func Pipeline(s site.Site) pipelines.Pipeline {
	return pipelines.Pipeline{
		Name:    "base",
		Targets: accept(mark(slices.Concat(debian.Targets(s), rpm.Targets(s), suse.Targets(s), alpine.Targets(s)))),
	}
}
