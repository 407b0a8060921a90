package common

import (
	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/cfbuild/cfbuild/site"
)

// LanguagePaths say where a family of distributions keeps the site-wide
// configuration of language package managers.
type LanguagePaths struct {
	// RProfile is R's Rprofile.site: "/etc/R/Rprofile.site",
	// "/usr/lib64/R/etc/Rprofile.site".
	RProfile string
	// Bundle is the merged bundle of certificate authorities, for those that do
	// not find it by themselves. Empty: not named.
	Bundle string
}

// Languages gives the configuration of pip, conda, R, CPAN and npm: the site's
// indexes first, public ones to fall back on, for all users and for accounts made
// later (/etc/skel). Nothing where the site names no index for images.
func Languages(s site.Site, at LanguagePaths) []pipelines.File { return nil }
