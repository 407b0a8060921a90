// Package rpm makes CentOS, Rocky Linux, AlmaLinux, Fedora and RHEL UBI base images, as pure functions
// of a site and a platform.
package rpm

import (
	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/cfbuild/cfbuild/site"
)

// Targets are the built-in targets of this family at a site.
func Targets(s site.Site) []pipelines.Target { return nil }
