package rpm

import (
	"fmt"
	"slices"
	"strings"

	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/cfbuild/cfbuild/recipes/common"
)

// tool is the package manager of a release.
type tool string

const (
	yum  tool = "yum"  // version 3, in Python 2
	dnf  tool = "dnf"  // version 4
	dnf5 tool = "dnf5" // called dnf too
)

// release is what is known of one release.
type release struct {
	distribution Distribution
	version      int
	title        string // "" for a release that is not known
	url, vendor  string
	image        string // the distribution's own
	end          string // of its support, without a contract
	id           string // ID of os-release(5)
	arches       []string
	include      []string // the base set of packages
	tool         tool
	crb          string // identifier of CodeReady Builder
}

var (
	allArches = [...]string{"amd64", "arm64", "ppc64le", "s390x"}
	// base are packages of every base set: a shell and its tools, the public
	// roots, tar and gzip, the locale C.UTF-8 without the megabytes of all
	// others, and users for those who add some.
	base = [...]string{"bash", "ca-certificates", "coreutils", "findutils", "glibc-minimal-langpack", "grep", "gzip", "rootfiles", "sed", "shadow-utils", "tar"}
)

// releases are those known, the platforms as they are published below each
// repository. Ends of support: the CentOS project, Rocky's and AlmaLinux's release
// pages, Red Hat's life cycle (the end of maintenance support), Fedora's schedule.
// Fedora's is known to the day only once the release after next is out.
func releases() []release {
	const (
		centosURL = "https://www.centos.org/"
		rockyURL  = "https://rockylinux.org/"
		almaURL   = "https://almalinux.org/"
		fedoraURL = "https://fedoraproject.org/"
		ubiURL    = "https://catalog.redhat.com/software/base-images"
	)
	with := func(more ...string) []string { return slices.Concat(more, base[:]) }
	return []release{
		{distribution: CentOS, version: 7, title: "CentOS Linux 7", url: centosURL, vendor: "CentOS", image: "quay.io/centos/centos:7",
			end: "2024-06-30", id: "centos", arches: []string{"amd64", "arm64", "ppc64le"}, tool: yum,
			// Its C library comes with all locales, and has no C.UTF-8.
			include: slices.DeleteFunc(with("centos-release", "yum"), func(s string) bool { return s == "glibc-minimal-langpack" })},
		{distribution: CentOS, version: 8, title: "CentOS Stream 8", url: centosURL, vendor: "CentOS", image: "quay.io/centos/centos:stream8",
			end: "2024-05-31", id: "centos", arches: []string{"amd64", "arm64", "ppc64le"}, tool: dnf, crb: "powertools",
			include: with("centos-stream-release", "centos-stream-repos", "dnf", "yum")},
		{distribution: CentOS, version: 9, title: "CentOS Stream 9", url: centosURL, vendor: "CentOS", image: "quay.io/centos/centos:stream9",
			end: "2027-05-31", id: "centos", arches: allArches[:], tool: dnf, crb: "crb",
			include: with("centos-stream-release", "centos-stream-repos", "dnf", "yum")},
		{distribution: CentOS, version: 10, title: "CentOS Stream 10", url: centosURL, vendor: "CentOS", image: "quay.io/centos/centos:stream10",
			end: "2030-05-31", id: "centos", arches: allArches[:], tool: dnf, crb: "crb",
			include: with("centos-stream-release", "centos-stream-repos", "dnf", "yum")},

		{distribution: Rocky, version: 8, title: "Rocky Linux 8", url: rockyURL, vendor: "Rocky Enterprise Software Foundation", image: "quay.io/rockylinux/rockylinux:8",
			end: "2029-05-31", id: "rocky", arches: []string{"amd64", "arm64"}, tool: dnf, crb: "powertools",
			include: with("rocky-release", "rocky-repos", "dnf", "yum")},
		{distribution: Rocky, version: 9, title: "Rocky Linux 9", url: rockyURL, vendor: "Rocky Enterprise Software Foundation", image: "quay.io/rockylinux/rockylinux:9",
			end: "2032-05-31", id: "rocky", arches: allArches[:], tool: dnf, crb: "crb",
			include: with("rocky-release", "rocky-repos", "dnf", "yum")},
		{distribution: Rocky, version: 10, title: "Rocky Linux 10", url: rockyURL, vendor: "Rocky Enterprise Software Foundation", image: "quay.io/rockylinux/rockylinux:10",
			end: "2035-05-31", id: "rocky", arches: append(slices.Clone(allArches[:]), "riscv64"), tool: dnf, crb: "crb",
			include: with("rocky-release", "rocky-repos", "dnf", "yum")},

		{distribution: Alma, version: 8, title: "AlmaLinux 8", url: almaURL, vendor: "AlmaLinux OS Foundation", image: "quay.io/almalinuxorg/almalinux:8",
			end: "2029-05-31", id: "almalinux", arches: allArches[:], tool: dnf, crb: "powertools",
			include: with("almalinux-release", "dnf", "yum")},
		{distribution: Alma, version: 9, title: "AlmaLinux 9", url: almaURL, vendor: "AlmaLinux OS Foundation", image: "quay.io/almalinuxorg/almalinux:9",
			end: "2032-05-31", id: "almalinux", arches: allArches[:], tool: dnf, crb: "crb",
			include: with("almalinux-release", "almalinux-repos", "dnf", "yum")},
		{distribution: Alma, version: 10, title: "AlmaLinux 10", url: almaURL, vendor: "AlmaLinux OS Foundation", image: "quay.io/almalinuxorg/almalinux:10",
			end: "2035-05-31", id: "almalinux", arches: allArches[:], tool: dnf, crb: "crb",
			include: with("almalinux-release", "almalinux-repos", "dnf", "yum")},

		{distribution: Fedora, version: 43, title: "Fedora Linux 43", url: fedoraURL, vendor: "Fedora Project", image: "quay.io/fedora/fedora:43",
			end: "2026-12-09", id: "fedora", arches: allArches[:], tool: dnf5, include: with("fedora-release-container", "fedora-repos", "dnf5")},
		{distribution: Fedora, version: 44, title: "Fedora Linux 44", url: fedoraURL, vendor: "Fedora Project", image: "quay.io/fedora/fedora:44",
			end: "2027-06-02", id: "fedora", arches: allArches[:], tool: dnf5, include: with("fedora-release-container", "fedora-repos", "dnf5")},
		{distribution: Fedora, version: 45, title: "Fedora Linux 45", url: fedoraURL, vendor: "Fedora Project", image: "quay.io/fedora/fedora:45",
			id: "fedora", arches: allArches[:], tool: dnf5, include: with("fedora-release-container", "fedora-repos", "dnf5")},

		{distribution: UBI, version: 8, title: "Red Hat UBI 8", url: ubiURL, vendor: "Red Hat, Inc.", image: "registry.access.redhat.com/ubi8/ubi",
			end: "2029-05-31", id: "rhel", arches: allArches[:], tool: dnf, crb: "ubi-8-codeready-builder-rpms", include: with("redhat-release", "dnf", "yum")},
		{distribution: UBI, version: 9, title: "Red Hat UBI 9", url: ubiURL, vendor: "Red Hat, Inc.", image: "registry.access.redhat.com/ubi9/ubi",
			end: "2032-05-31", id: "rhel", arches: allArches[:], tool: dnf, crb: "ubi-9-codeready-builder-rpms", include: with("redhat-release", "dnf", "yum")},
		{distribution: UBI, version: 10, title: "Red Hat UBI 10", url: ubiURL, vendor: "Red Hat, Inc.", image: "registry.access.redhat.com/ubi10/ubi",
			end: "2035-05-31", id: "rhel", arches: allArches[:], tool: dnf, crb: "ubi-10-codeready-builder-rpms", include: with("redhat-release", "dnf", "yum")},
	}
}

// release of the options; the zero release when it is not known.
func (o Options) release() release {
	for _, r := range releases() {
		if r.distribution == o.Distribution && r.version == o.Release {
			return r
		}
	}
	return release{}
}

func releasesOf(d Distribution) string {
	var out []string
	for _, r := range releases() {
		if r.distribution == d {
			out = append(out, fmt.Sprint(r.version))
		}
	}
	return strings.Join(out, ", ")
}

func (r release) platforms() []pipelines.Platform {
	var out []pipelines.Platform
	for _, a := range r.arches {
		out = append(out, pipelines.Platform{OS: "linux", Architecture: a})
	}
	return out
}

// locale: the C library of release 7 (2.17) has no C.UTF-8, and comes with all
// others.
func (r release) locale() string {
	if r.tool == yum {
		return "en_US.UTF-8"
	}
	return common.Locale
}
