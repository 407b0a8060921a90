package site

import (
	"maps"
	"slices"
)

// Public is the open internet: each distribution's own public URL, the language
// indexes their clients use by default, docker.io and quay.io as they are, and no
// further certificate authorities.
//
// Each mirror is the base that a source's suite is appended to:
//
//	debian, debian-security   ftp.debian.org is the main mirror, security.debian.org the
//	                          origin of security updates; both speak http, as the
//	                          archive's signature is what is checked
//	debian-archive, …-security  archive.debian.org: releases that left the mirrors
//	ubuntu, ubuntu-ports      amd64 and i386; all other architectures
//	ubuntu-old-releases       releases that left both
//	centos-stream             9-stream/BaseOS/ARCH/os; 10-stream
//	centos-vault              7.9.2009/os/x86_64; 8-stream/BaseOS/ARCH/os
//	centos-altarch            7.9.2009/os/ARCH for what is not x86_64
//	epel, epel-archive        9/Everything/ARCH; 7/ARCH
//	rocky, almalinux          9/BaseOS/ARCH/os
//	fedora                    releases/N/Everything/ARCH/os, updates/N/Everything/ARCH
//	fedora-secondary          the same, for ppc64le and s390x
//	ubi                       dist/ubi9/9/ARCH/baseos/os: what Red Hat gives to all
//	alpine                    v3.22/main
//	opensuse                  distribution/leap/15.6/repo/oss, update/leap/15.6/oss
//	suse-bci                  Products/SLE-BCI/15-SP6/ARCH/product
func Public() Site {
	one := func(url string) []Mirror { return []Mirror{{URL: url}} }
	return Site{
		Name: "public",
		Mirrors: map[string][]Mirror{
			"debian":                  one("http://ftp.debian.org/debian"),
			"debian-security":         one("http://security.debian.org/debian-security"),
			"debian-archive":          one("http://archive.debian.org/debian"),
			"debian-archive-security": one("http://archive.debian.org/debian-security"),
			"ubuntu":                  one("http://archive.ubuntu.com/ubuntu"),
			"ubuntu-ports":            one("http://ports.ubuntu.com/ubuntu-ports"),
			"ubuntu-old-releases":     one("http://old-releases.ubuntu.com/ubuntu"),
			"centos-stream":           one("https://mirror.stream.centos.org"),
			"centos-vault":            one("https://vault.centos.org"),
			"centos-altarch":          one("https://vault.centos.org/altarch"),
			"epel":                    one("https://dl.fedoraproject.org/pub/epel"),
			"epel-archive":            one("https://archives.fedoraproject.org/pub/archive/epel"),
			"rocky":                   one("https://dl.rockylinux.org/pub/rocky"),
			"almalinux":               one("https://repo.almalinux.org/almalinux"),
			"fedora":                  one("https://dl.fedoraproject.org/pub/fedora/linux"),
			"fedora-secondary":        one("https://dl.fedoraproject.org/pub/fedora-secondary"),
			"ubi":                     one("https://cdn-ubi.redhat.com/content/public/ubi"),
			"alpine":                  one("https://dl-cdn.alpinelinux.org/alpine"),
			"opensuse":                one("https://download.opensuse.org"),
			"suse-bci":                one("https://updates.suse.com/SUSE"),
		},
		Indexes: map[string][]Mirror{
			"pypi":  one("https://pypi.org/simple"),
			"conda": one("https://conda.anaconda.org"),
			"cran":  one("https://cloud.r-project.org"),
			"cpan":  one("https://www.cpan.org"),
			"npm":   one("https://registry.npmjs.org"),
		},
	}
}

// knownRepositories are those that built-in recipes and sites use, sorted. A site
// may name others.
func knownRepositories() []string { return slices.Sorted(maps.Keys(Public().Mirrors)) }

// IndexKinds are the kinds of language index a site can name, sorted: "conda",
// "cpan", "cran", "npm", "pypi".
func IndexKinds() []string { return slices.Sorted(maps.Keys(Public().Indexes)) }

// before puts own mirrors in front of others: repositories that own does not name
// keep theirs, and a URL that both name counts once, as own has it.
func before(own, others map[string][]Mirror) map[string][]Mirror {
	out := map[string][]Mirror{}
	for name, list := range others {
		out[name] = slices.Clone(list)
	}
	for name, list := range own {
		list = slices.Clone(list)
		for _, m := range others[name] {
			if !slices.ContainsFunc(list, func(o Mirror) bool { return o.URL == m.URL }) {
				list = append(list, m)
			}
		}
		out[name] = list
	}
	return out
}
