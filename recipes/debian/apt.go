package debian

import (
	"bytes"
	_ "embed"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/cfbuild/cfbuild/recipes/common"
	"github.com/cfbuild/cfbuild/site"
)

const (
	mirrorDir = "/etc/apt/mirrors"
	chooser   = mirrorDir + "/choose"
)

//go:embed choose.sh
var choose []byte

// Files are what an image gets beyond its packages; no package owns any of them.
//
//   - /etc/apt/sources.list.d/debian.sources: where apt fetches from. A repository
//     with several mirrors has them in /etc/apt/mirrors/REPOSITORY.list, in the
//     site's order of preference, read by apt's mirror method: a mirror that
//     refuses, is slow, or lacks a file costs a time-out, not the run.
//
//   - /etc/apt/sources.list: one comment that points there.
//
//   - /etc/apt/keyrings/REPOSITORY-site.gpg or .asc: the site's own archive keys,
//     if it has any for images. Signatures are checked always.
//
//   - /etc/apt/apt.conf.d/50cfbuild: apt in a container (no recommended packages, no
//     caches, no translations, ten seconds for a silent mirror; each with a comment).
//
//   - /etc/dpkg/dpkg.cfg.d/50cfbuild: no fsync for each file; a build that is cut
//     short is thrown away.
//
//   - /usr/sbin/policy-rc.d: packages do not start daemons while they are
//     installed.
//
//   - the configuration of pip, conda, R, CPAN and npm, see [common.Languages].
//
// For Ubuntu the file is ubuntu.sources. Variants without apt get none of apt's.
func Files(o Options, s site.Site, p pipelines.Platform) []pipelines.File {
	o = o.withRoots(s, p)
	at := common.LanguagePaths{RProfile: "/etc/R/Rprofile.site"}
	if o.hasRoots() && !o.NoTrust && len(s.ImageCAs()) > 0 {
		at.Bundle = bundle
	}
	languages := o.Languages.Files(s, at)
	if !o.hasAPT() {
		return languages
	}
	files := []pipelines.File{
		{Path: "/etc/apt/sources.list", Data: []byte("# See " + o.release().sourcesFile() + "\n")},
		{Path: "/etc/apt/apt.conf.d/50cfbuild", Data: []byte(aptConf(o, s, p))},
		{Path: "/etc/dpkg/dpkg.cfg.d/50cfbuild", Data: []byte(dpkgConf)},
		{Path: "/usr/sbin/policy-rc.d", Mode: 0o755, Data: []byte("#!/bin/sh\n# Packages do not start daemons in an image (invoke-rc.d: 101 is \"forbidden\").\nexit 101\n")},
	}
	return slices.Concat(files, aptSources(o, s, p), languages)
}

const dpkgConf = `# A build that is cut short is thrown away.
force-unsafe-io
# Nobody is there to answer: files that this image configured stay as they are.
force-confdef
force-confold
`

// aptSources are the files that say where apt fetches from.
func aptSources(o Options, s site.Site, p pipelines.Platform) []pipelines.File {
	var files []pipelines.File
	if o.chosen(s, p) != "" {
		files = append(files, pipelines.File{Path: chooser, Mode: 0o755, Data: choose})
	}
	var sources strings.Builder
	for i, r := range o.repositories(p) {
		urls := o.imageURLs(s, r.name)
		uri := ""
		switch {
		case len(urls) == 1:
			uri = urls[0]
		default:
			path := mirrorDir + "/" + r.name + ".list"
			files = append(files, pipelines.File{Path: path, Data: []byte(mirrorList(urls))})
			uri = "mirror+file:" + path
		}
		signedBy := []string{o.release().keyring()}
		if k, ok := s.Keyrings[r.name]; ok && !k.BuildOnly {
			f := keyring(r.name, k)
			files = append(files, f)
			if k.Replace {
				signedBy = nil
			}
			signedBy = append(signedBy, f.Path)
		}
		if i > 0 {
			sources.WriteString("\n")
		}
		fmt.Fprintf(&sources, "Types: deb\nURIs: %s\nSuites: %s\nComponents: %s\nSigned-By: %s\n",
			uri, strings.Join(r.suites, " "), strings.Join(o.components(), " "), strings.Join(signedBy, " "))
		if r.expired {
			// The archive does not sign anew what no longer changes.
			sources.WriteString("Check-Valid-Until: no\n")
		}
	}
	return append(files, pipelines.File{Path: o.release().sourcesFile(), Data: []byte(sources.String())})
}

// chosen are the arguments of the chooser: repositories with several mirrors and a
// suite of each to ask for; empty for none.
func (o Options) chosen(s site.Site, p pipelines.Platform) string {
	var out []string
	for _, r := range o.repositories(p) {
		if len(o.imageURLs(s, r.name)) > 1 {
			out = append(out, r.name, r.suites[0])
		}
	}
	return strings.Join(out, " ")
}

// keyring keeps the form the site gave: apt tells armored keys by the ending.
func keyring(repo string, k site.Keyring) pipelines.File {
	ending := ".gpg"
	if bytes.Contains(k.Keys, []byte("-----BEGIN PGP")) {
		ending = ".asc"
	}
	return pipelines.File{Path: "/etc/apt/keyrings/" + repo + "-site" + ending, Data: k.Keys}
}

// mirrorList is the format of apt-transport-mirror(1). The options of a line
// begin after a TAB; apt takes the lowest priority number first.
func mirrorList(urls []string) string {
	var b strings.Builder
	for i, u := range urls {
		fmt.Fprintf(&b, "%s\tpriority:%d\n", u, i+1)
	}
	return b.String()
}

// aptConf makes apt fit for containers: it keeps no packages and no second copy of
// its indexes, fetches no translations, installs what is asked for and needed
// unless Options.Recommends, and gives up on a silent mirror after ten seconds.
// With several mirrors the next one is the retry, for a single one there are
// three.
func aptConf(o Options, s site.Site, p pipelines.Platform) string {
	chosen := o.chosen(s, p)
	var b strings.Builder
	line := func(comment, setting string) { fmt.Fprintf(&b, "// %s\n%s\n", comment, setting) }
	if !o.Recommends {
		line("Install what is asked for and what it needs. To change it:\n// apt-get install --install-recommends, or remove this line.", `APT::Install-Recommends "false";`)
	}
	line("Keep no downloaded packages and no binary caches of the indexes.",
		"APT::Keep-Downloaded-Packages \"false\";\nDir::Cache::pkgcache \"\";\nDir::Cache::srcpkgcache \"\";")
	line("Keep the indexes compressed, and fetch no translations.",
		"Acquire::GzipIndexes \"true\";\nAcquire::Languages \"none\";")
	line("Do not keep packages because others suggest them.", `APT::AutoRemove::SuggestsImportant "false";`)
	line("Seconds before a silent mirror is given up.", "Acquire::http::Timeout \"10\";\nAcquire::https::Timeout \"10\";")
	if chosen != "" {
		line("Another mirror is tried instead of the same one again.", `Acquire::Retries "0";`)
		line("Before an update, find out which mirror is to be tried first.", fmt.Sprintf("APT::Update::Pre-Invoke { \"%s %s || true\"; };", chooser, chosen))
	} else {
		line("There is one mirror only.", `Acquire::Retries "3";`)
	}
	return b.String()
}

// imageURLs are the mirrors the image itself uses. Without ca-certificates apt
// cannot check a server's certificate, so Debian's own mirrors are then written
// with http: apt verifies the archive's signature either way.
func (o Options) imageURLs(s site.Site, repo string) []string {
	var out []string
	for _, u := range s.ImageURLs(repo) {
		if !o.hasRoots() {
			u = plain(u)
		}
		if !slices.Contains(out, u) {
			out = append(out, u)
		}
	}
	return out
}

// plain gives the http form of the project's own mirrors, which offer both.
func plain(u string) string {
	p, err := url.Parse(u)
	if err == nil && p.Scheme == "https" && strings.HasSuffix(p.Host, ".debian.org") {
		p.Scheme = "http"
		return p.String()
	}
	return u
}

func (o Options) hasRoots() bool {
	return common.Has(o.Include, "ca-certificates") && !common.Has(o.Exclude, "ca-certificates")
}

// withRoots includes ca-certificates where a mirror of the site can be reached by
// https only: without the public roots the image's apt would pass over the
// preferred mirror in silence.
func (o Options) withRoots(s site.Site, p pipelines.Platform) Options {
	if !o.hasAPT() || common.Has(o.Exclude, "ca-certificates") || o.hasRoots() {
		return o
	}
	for _, r := range o.repositories(p) {
		for _, u := range o.imageURLs(s, r.name) {
			if strings.HasPrefix(u, "https://") {
				o.Include = append(slices.Clone(o.Include), "ca-certificates")
				return o
			}
		}
	}
	return o
}
