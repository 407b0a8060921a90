package suse

import (
	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/cfbuild/cfbuild/recipes/common"
)

// release is what is known of one release.
type release struct {
	distribution Distribution
	title        string // "" for one that is not known
	version      string // VERSION_ID of os-release(5)
	id           string // ID there
	url, vendor  string
	image        string // the distribution's own
	end          string // of its general support
	beyond       string // what there is by contract after it
	arches       []string
	include      []string // the base set of packages
	repositories []repository
	locale       string // "" where the C library has no C.UTF-8
}

// repository is one package repository: a file in /etc/zypp/repos.d by the name that
// the distribution's own has.
type repository struct {
	id, title         string
	repository, suite string
	// off: in the image, but not enabled. Nothing is made of it.
	off bool
}

// releases are those known. Ends of general support: openSUSE's lifetime page, SUSE's
// product support lifecycle. Since 15.3 Leap has all architectures in one tree, and
// is made of SUSE's packages, Backports and its own.
func releases() []release {
	base := func(more ...string) []string {
		return append(more, "aaa_base", "bash", "ca-certificates", "ca-certificates-mozilla", "coreutils", "findutils", "grep", "gzip", "sed", "shadow", "tar", "zypper")
	}
	leap := func(id, title, suite string) repository {
		return repository{id: id, title: title, repository: "opensuse", suite: suite}
	}
	off := func(r repository) repository { r.off = true; return r }
	return []release{
		{distribution: Leap, title: "openSUSE Leap 15.6", version: "15.6", id: "opensuse-leap", url: "https://www.opensuse.org/", vendor: "openSUSE Project",
			image: "registry.opensuse.org/opensuse/leap:15.6", end: "2026-04-30", arches: []string{"amd64", "arm64", "ppc64le", "s390x"},
			include: base("openSUSE-release", "openSUSE-build-key"), locale: common.Locale,
			repositories: []repository{
				leap("repo-oss", "Main", "distribution/leap/15.6/repo/oss"),
				leap("repo-update", "Updates", "update/leap/15.6/oss"),
				leap("repo-backports-update", "Updates of Backports", "update/leap/15.6/backports"),
				leap("repo-sle-update", "Updates from SUSE Linux Enterprise", "update/leap/15.6/sle"),
				off(leap("repo-non-oss", "Main, not open source", "distribution/leap/15.6/repo/non-oss")),
				off(leap("repo-update-non-oss", "Updates, not open source", "update/leap/15.6/non-oss")),
				off(repository{id: "repo-openh264", title: "openh264 (from Cisco)"}),
			}},
		{distribution: BCI, title: "SUSE Linux Enterprise BCI 15 SP7", version: "15.7", id: "sles", url: "https://www.suse.com/products/base-container-images/", vendor: "SUSE LLC",
			image: "registry.suse.com/bci/bci-base:15.7", end: "2031-07-31", beyond: "LTSS until 2034-07-31", arches: []string{"amd64", "arm64", "ppc64le", "s390x"},
			include: base("sles-release", "suse-build-key"), locale: common.Locale,
			repositories: []repository{{id: "SLE_BCI", title: "Base Container Images", repository: "suse-bci", suite: "Products/SLE-BCI/15-SP7/$basearch/product"}}},
		{distribution: SLES12, title: "SUSE Linux Enterprise Server 12 SP5", version: "12.5", id: "sles", url: "https://www.suse.com/products/server/", vendor: "SUSE LLC",
			image: "registry.suse.com/suse/sles12sp5", end: "2024-10-31", beyond: "LTSS until 2027-10-31", arches: []string{"amd64", "arm64", "ppc64le", "s390x"}},
	}
}

// release of the options; the zero release when it is not known.
func (o Options) release() release {
	for _, r := range releases() {
		if r.distribution == o.Distribution {
			return r
		}
	}
	return release{}
}

func (r release) platforms() []pipelines.Platform {
	var out []pipelines.Platform
	for _, a := range r.arches {
		out = append(out, pipelines.Platform{OS: "linux", Architecture: a})
	}
	return out
}
