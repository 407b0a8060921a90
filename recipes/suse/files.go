package suse

import (
	"fmt"
	"slices"
	"strings"

	"github.com/cfbuild/cfbuild/internal/distkeys"
	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/cfbuild/cfbuild/recipes/common"
	"github.com/cfbuild/cfbuild/site"
)

const (
	reposDir = "/etc/zypp/repos.d"
	keysDir  = "/etc/zypp/keys"
)

// Files are what an image gets beyond its packages:
//
//   - /etc/zypp/repos.d/*.repo: where zypper fetches from, by the names of the
//     distribution's own files. A repository with several mirrors has them in the
//     site's order of preference, twice (see [Pair]). Signatures of metadata and
//     packages are checked always.
//   - /etc/zypp/keys/REPOSITORY.asc: the distribution's keys and the site's own, if
//     it has any for images.
//   - /etc/zypp/zypp.conf: zypper in a container (see the comments in it).
//   - the configuration of language package managers ([common.Languages]).
//
// SLES12, whose repositories need a subscription, gets only the last one.
func Files(o Options, s site.Site) []pipelines.File {
	files := packageFiles(o, s)
	if o.Languages != common.NoIndexes {
		files = append(files, common.Languages(s, common.LanguagePaths{
			RProfile: "/usr/lib64/R/etc/Rprofile.site", Bundle: bundle, All: o.Languages == common.AllIndexes})...)
	}
	return files
}

// packageFiles are those that say where packages come from and how.
func packageFiles(o Options, s site.Site) []pipelines.File {
	r := o.release()
	if len(r.repositories) == 0 {
		return nil
	}
	files := []pipelines.File{{Path: "/etc/zypp/zypp.conf", Data: []byte(o.zyppConf())}}
	for _, x := range r.repositories {
		if x.repository == "" {
			continue
		}
		key := pipelines.File{Path: x.key(), Data: x.keys(s)}
		if !slices.ContainsFunc(files, func(f pipelines.File) bool { return f.Path == key.Path }) {
			files = append(files, key)
		}
	}
	for _, x := range r.repositories {
		files = append(files, pipelines.File{Path: reposDir + "/" + x.id + ".repo", Data: []byte(o.sections(x, s))})
	}
	return files
}

func (x repository) key() string { return keysDir + "/" + x.repository + ".asc" }

func (x repository) keys(s site.Site) []byte {
	k, has := s.Keyrings[x.repository]
	has = has && !k.BuildOnly
	var out []byte
	if !has || !k.Replace {
		out = append(out, distkeys.Keys(x.repository, x.suite)...)
	}
	if has {
		out = append(out, k.Keys...)
	}
	return out
}

// sections are the text of a repository, one section or two.
func (o Options) sections(x repository, s site.Site) string {
	var urls []string
	for _, u := range s.ImageURLs(x.repository) {
		if u = strings.TrimRight(u, "/") + "/" + x.suite; !slices.Contains(urls, u) {
			urls = append(urls, u)
		}
	}
	section := func(id, title string, urls []string) string {
		on := 1
		if x.off {
			on = 0
		}
		return fmt.Sprintf("[%s]\nname=%s - %s\nenabled=%d\nautorefresh=1\ntype=rpm-md\ngpgcheck=1\nrepo_gpgcheck=1\npkg_gpgcheck=1\ngpgkey=file://%s\nbaseurl=%s\n",
			id, o.release().title, title, on, x.key(), strings.Join(urls, "\n        "))
	}
	if x.repository == "" {
		return "# Not from a mirror of this image's site, so it is not here.\n"
	}
	if len(urls) < 2 || o.Fallback == List || x.off {
		return section(x.id, x.title, urls)
	}
	return "# A repository with several mirrors is here twice: with the preferred mirror first,\n# and with it last. The newest package of both counts.\n\n" +
		section(x.id, x.title, urls) + "\n" + section(x.id+"-fallback", x.title+", other mirrors first", append(slices.Clone(urls[1:]), urls[0]))
}

// zyppConf makes zypper fit for containers. Settings that are not there have
// libzypp's defaults.
func (o Options) zyppConf() string {
	var b strings.Builder
	b.WriteString("[main]\n")
	if !o.Recommends {
		b.WriteString("## Install what is asked for and what it needs. To change it: zypper install --recommends\nsolver.onlyRequires = true\n")
	}
	if !o.Docs {
		b.WriteString("## Leave documentation out.\nrpm.install.excludedocs = yes\n")
	}
	b.WriteString(`## Several versions of a kernel may be there at once.
multiversion = provides:multiversion(kernel)
multiversion.kernels = latest,latest-1,running
## Bytes per second below which a mirror is given up after a minute. Without it one
## that says nothing is waited for up to an hour.
download.min_download_speed = 1000
## Seconds without progress in a file before it is given up.
download.transfer_timeout = 30
`)
	return b.String()
}
