// Package suse makes openSUSE Leap and SUSE Linux Enterprise base images, as pure functions
// of a site and a platform.
package suse

import (
	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/cfbuild/cfbuild/site"
)

// Targets are the built-in targets of this family at a site.
func Targets(s site.Site) []pipelines.Target { return nil }
