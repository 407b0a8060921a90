package rpm

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
	reposDir = "/etc/yum.repos.d"
	keysDir  = "/etc/pki/rpm-gpg"
)

// pairComment begins a file that has a repository twice.
const pairComment = `# A repository with several mirrors is here twice: with the preferred mirror first,
# skipped when what that has cannot be used, and with it last. The newest package of
# both counts, of the same one the preferred mirror's.
`

// Files are what an image gets beyond its packages:
//
//   - /etc/yum.repos.d/*.repo: where dnf fetches from, by the names and with the
//     section names of the distribution's own files, whose place they take;
//     packages leave them alone (%config(noreplace)). A repository with several
//     mirrors has them in the site's order of preference, twice for dnf (see
//     [Pair]). Signatures of packages are checked always, those of metadata where
//     the distribution signs them.
//   - /etc/pki/rpm-gpg/RPM-GPG-KEY-EPEL-N, and …-REPOSITORY-site: EPEL's key and the
//     site's own, if it has any for images. All other keys come in packages.
//   - /etc/dnf/dnf.conf, for release 7 /etc/yum.conf: dnf in a container (see the
//     comments in it).
//   - the configuration of language package managers ([common.Languages]).
//
// Everything but the architecture is written out in them: nothing depends on
// $releasever or on files in /etc/dnf/vars.
func Files(o Options, s site.Site, p pipelines.Platform) []pipelines.File {
	files := packageFiles(o, s, p)
	if o.Languages != common.NoIndexes {
		files = append(files, common.Languages(s, common.LanguagePaths{
			RProfile: "/usr/lib64/R/etc/Rprofile.site", Bundle: bundle, All: o.Languages == common.AllIndexes})...)
	}
	return files
}

// packageFiles are those that say where packages come from and how.
func packageFiles(o Options, s site.Site, p pipelines.Platform) []pipelines.File {
	r := o.release()
	conf := pipelines.File{Path: "/etc/dnf/dnf.conf", Data: []byte(o.dnfConf())}
	if r.tool == yum {
		conf = pipelines.File{Path: "/etc/yum.conf", Data: []byte(o.yumConf())}
	}
	files := []pipelines.File{conf}
	sections := map[string]*strings.Builder{}
	for _, x := range o.repositories(p) {
		if x.own != "" {
			files = add(files, pipelines.File{Path: keysDir + "/" + x.own, Data: distkeys.Keys(x.repository, x.suite)})
		}
		if k, ok := s.Keyrings[x.repository]; ok && !k.BuildOnly {
			files = add(files, pipelines.File{Path: siteKey(x), Data: k.Keys})
		}
		texts := o.sections(x, s)
		if sections[x.file] == nil {
			sections[x.file] = &strings.Builder{}
		}
		b := sections[x.file]
		if len(texts) > 1 && !strings.HasPrefix(b.String(), pairComment) {
			before := b.String()
			b.Reset()
			b.WriteString(pairComment + before)
		}
		for _, text := range texts {
			if b.Len() > 0 {
				b.WriteString("\n")
			}
			b.WriteString(text)
		}
	}
	for _, x := range o.repositories(p) {
		files = add(files, pipelines.File{Path: reposDir + "/" + x.file, Data: []byte(sections[x.file].String())})
	}
	return files
}

// add appends a file unless its path is there already.
func add(files []pipelines.File, f pipelines.File) []pipelines.File {
	if slices.ContainsFunc(files, func(g pipelines.File) bool { return g.Path == f.Path }) {
		return files
	}
	return append(files, f)
}

func siteKey(x repository) string { return keysDir + "/RPM-GPG-KEY-" + x.repository + "-site" }

// sections are the texts of a repository, one or, where dnf is to choose between
// mirrors by itself, two.
func (o Options) sections(x repository, s site.Site) []string {
	urls := x.urls(s)
	head := func(id, title string, skip, cost bool) string {
		var b strings.Builder
		fmt.Fprintf(&b, "[%s]\nname=%s - %s\n", id, o.release().title, title)
		on := 0
		if x.on {
			on = 1
		}
		fmt.Fprintf(&b, "enabled=%d\ngpgcheck=1\n", on)
		if x.signed && !o.NoMetadataSignature {
			b.WriteString("repo_gpgcheck=1\n")
		}
		b.WriteString("gpgkey=" + strings.Join(o.keyURLs(x, s), "\n       ") + "\n")
		if x.priority > 0 && o.release().tool != yum { // a plugin in yum
			fmt.Fprintf(&b, "priority=%d\n", x.priority)
		}
		if cost {
			b.WriteString("cost=900\n")
		}
		if skip {
			b.WriteString("skip_if_unavailable=1\n")
		}
		if o.archived(x) {
			b.WriteString("metadata_expire=never\n")
		}
		return b.String()
	}
	list := func(urls []string) string {
		for i, u := range urls {
			urls[i] = u + "/" + x.suite
		}
		return "baseurl=" + strings.Join(urls, "\n        ") + "\n"
	}
	switch {
	case len(urls) == 0: // not a repository of sites
		return []string{head(x.id, x.title, false, false) + x.public + "\n"}
	case len(urls) == 1 && x.public != "" && slices.Equal(urls, site.Public().URLs(x.repository)):
		return []string{head(x.id, x.title, false, false) + x.public + "\n"}
	case len(urls) == 1 || o.fallback() == List || !x.on:
		text := head(x.id, x.title, false, false) + list(urls)
		if len(urls) > 1 && o.release().tool == yum {
			text += "failovermethod=priority\n"
		}
		return []string{text}
	}
	others := append(slices.Clone(urls[1:]), urls[0])
	return []string{
		head(x.id, x.title, true, true) + list(urls),
		head(x.id+"-fallback", x.title+", other mirrors first", false, false) + list(others),
	}
}

func (o Options) fallback() Fallback {
	if o.release().tool == yum {
		return List
	}
	return o.Fallback
}

// archived repositories never change again.
func (o Options) archived(x repository) bool {
	return slices.Contains([]string{"centos-vault", "centos-altarch", "epel-archive"}, x.repository)
}

// urls are the mirrors an image uses, each once.
func (x repository) urls(s site.Site) []string {
	var out []string
	if x.repository == "" {
		return nil
	}
	for _, u := range s.ImageURLs(x.repository) {
		if u = strings.TrimRight(u, "/"); !slices.Contains(out, u) {
			out = append(out, u)
		}
	}
	return out
}

func (o Options) keyURLs(x repository, s site.Site) []string {
	var out []string
	k, has := s.Keyrings[x.repository]
	has = has && !k.BuildOnly
	if !has || !k.Replace {
		for _, name := range x.keys {
			out = append(out, "file://"+keysDir+"/"+name)
		}
		if x.own != "" {
			out = append(out, "file://"+keysDir+"/"+x.own)
		}
	}
	if has {
		out = append(out, "file://"+siteKey(x))
	}
	return out
}
