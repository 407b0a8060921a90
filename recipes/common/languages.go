package common

import (
	"slices"
	"strings"

	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/cfbuild/cfbuild/site"
)

// LanguagePaths say where a family of distributions keeps the site-wide
// configuration of language package managers.
type LanguagePaths struct {
	// RProfile is R's Rprofile.site: "/etc/R/Rprofile.site",
	// "/usr/lib64/R/etc/Rprofile.site".
	RProfile string
	// NPMRC is npm's global configuration, default "/etc/npmrc".
	NPMRC string
	// Bundle is the merged bundle of certificate authorities, for those that do
	// not find it by themselves. Empty: not named.
	Bundle string
	// All writes the configuration of clients too whose index at this site is just
	// the public one. Without it those are left as they come.
	All bool
}

// Languages gives the configuration of pip, conda, R, CPAN and npm: the site's
// indexes first, public ones to fall back on, for all users and for accounts made
// later (/etc/skel), as figures 16 and 17 of the ORNL report place it. Clients whose
// index at the site is just the public one get nothing, unless at.All.
//
// All files are 0644. (The figures make pip.conf and Rprofile.site 0744; they are
// read, never run.) What each client does when its first index is down is in
// docs/recipes.md.
func Languages(s site.Site, at LanguagePaths) []pipelines.File {
	var out []pipelines.File
	write := func(data string, paths ...string) {
		for _, p := range paths {
			if p != "" {
				out = append(out, pipelines.File{Path: p, Data: []byte(data)})
			}
		}
	}
	if at.NPMRC == "" {
		at.NPMRC = "/etc/npmrc"
	}
	if urls := at.indexes(s, "pypi"); urls != nil {
		write(pipConf(urls, at.Bundle), "/etc/pip.conf", "/etc/skel/.config/pip/pip.conf")
	}
	if urls := at.indexes(s, "conda"); urls != nil {
		write(condarc(urls, at.Bundle), "/etc/conda/.condarc", "/root/.condarc", "/etc/skel/.condarc")
	}
	if urls := at.indexes(s, "cran"); urls != nil {
		write(rProfile(urls), at.RProfile, "/etc/skel/.Rprofile")
	}
	if urls := at.indexes(s, "cpan"); urls != nil {
		write(cpanConfig(urls), "/root/.cpan/CPAN/MyConfig.pm", "/etc/skel/.cpan/CPAN/MyConfig.pm")
	}
	if urls := at.indexes(s, "npm"); urls != nil {
		write(npmrc(urls, at.Bundle), at.NPMRC)
	}
	return out
}

// indexes are the URLs to write for a kind, nil for none: those of the site for
// images, or the public ones where it has none and all are asked for.
func (at LanguagePaths) indexes(s site.Site, kind string) []string {
	var public []string
	for _, m := range site.Public().Indexes[kind] {
		public = append(public, m.URL)
	}
	var urls []string
	for _, u := range s.ImageIndexURLs(kind) {
		if u = strings.TrimRight(u, "/"); !slices.Contains(urls, u) {
			urls = append(urls, u)
		}
	}
	switch {
	case len(urls) == 0 && !at.All, slices.Equal(urls, public) && !at.All:
		return nil
	case len(urls) == 0:
		return public
	}
	return urls
}

// text joins lines, leaving out empty ones.
func text(lines ...string) string {
	lines = slices.DeleteFunc(lines, func(l string) bool { return l == "" })
	return strings.Join(lines, "\n") + "\n"
}

// each gives a line for each URL.
func each(urls []string, line func(url string) string) string {
	var out []string
	for _, u := range urls {
		out = append(out, line(u))
	}
	return strings.Join(out, "\n")
}

// LanguageConfig says which language package managers an image has a configuration
// for; recipes take it as an option.
type LanguageConfig string

// The configurations of language package managers.
const (
	// OwnIndexes: those whose index at the site is not just the public one.
	OwnIndexes LanguageConfig = ""
	// AllIndexes: all of them.
	AllIndexes LanguageConfig = "all"
	// NoIndexes: none.
	NoIndexes LanguageConfig = "none"
)

// Known says whether c is one of the constants.
func (c LanguageConfig) Known() bool {
	return c == OwnIndexes || c == AllIndexes || c == NoIndexes
}

// Files are those of [Languages] for the configuration.
func (c LanguageConfig) Files(s site.Site, at LanguagePaths) []pipelines.File {
	if c == NoIndexes {
		return nil
	}
	at.All = c == AllIndexes
	return Languages(s, at)
}
