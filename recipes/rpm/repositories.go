package rpm

import (
	"fmt"
	"strings"

	"github.com/cfbuild/cfbuild/pipelines"
)

// repository is one package repository of a release: a section of a file in
// /etc/yum.repos.d. The files have the names that the distribution's own package
// gives them, so that each is there once; they are %config(noreplace) in it.
type repository struct {
	file, id, title string
	// repository is the name that sites list mirrors under, suite what is below.
	repository, suite string
	// keys are files in /etc/pki/rpm-gpg that the distribution's own packages
	// bring, and renew when a key is replaced.
	keys []string
	// own is a file there that no package of the image brings.
	own string
	// public is what the distribution's own file says instead of a mirror: used
	// where the site has no other than the public one.
	public string
	// signed metadata: there is a repomd.xml.asc by one of the keys.
	signed bool
	on     bool
	// base: an image is made of it.
	base bool
	// priority of dnf(8), 0 for its default of 99. A package that a repository
	// with a lower number has is never taken from this one.
	priority int
}

// repositories of the release, in order.
func (o Options) repositories(p pipelines.Platform) []repository {
	r := o.release()
	var out []repository
	switch o.Distribution {
	case CentOS:
		out = centos(r, p)
	case Rocky:
		out = rocky(r)
	case Alma:
		out = alma(r)
	case Fedora:
		return fedora(r, p)
	case UBI:
		out = ubi(r)
	}
	for i := range out {
		if out[i].id == r.crb {
			out[i].on = o.CRB || o.hasEPEL()
		}
	}
	if o.hasEPEL() {
		out = append(out, o.epel()...)
	}
	return out
}

// centos: release 7 from the vault, where only x86_64 is in the main tree, with
// metadata signed since 7.5; 8 from the vault; 9 and 10 from the mirrors. The
// project signs the metadata of BaseOS, AppStream and CRB of 9 and 10 with its own
// key. It signs those of 7 by hand; of 8, that is not known.
func centos(r release, p pipelines.Platform) []repository {
	const files = "RPM-GPG-KEY-"
	switch r.version {
	case 7:
		name, keys := "centos-vault", []string{files + "CentOS-7"}
		switch p.Architecture {
		case "arm64":
			name, keys = "centos-altarch", append(keys, files+"CentOS-7-aarch64")
		case "ppc64le":
			name, keys = "centos-altarch", append(keys, files+"CentOS-SIG-AltArch-7-ppc64le")
		}
		section := func(id, title string, base bool) repository {
			dir := strings.ToLower(title)
			if id == "base" {
				dir = "os"
			}
			return repository{file: "CentOS-Base.repo", id: id, title: title, repository: name, suite: "7.9.2009/" + dir + "/$basearch",
				keys: keys, signed: true, on: true, base: base}
		}
		return []repository{section("base", "Base", true), section("updates", "Updates", true), section("extras", "Extras", false)}
	case 8:
		section := func(id, dir string, on, base bool) repository {
			return repository{file: "CentOS-Stream-" + strings.ToUpper(dir[:1]) + dir[1:] + ".repo", id: id, title: dir, repository: "centos-vault",
				suite: "8-stream/" + dir + "/$basearch/os", keys: []string{files + "centosofficial"}, on: on, base: base}
		}
		common := section("extras-common", "extras", true, false)
		common.file, common.title = "CentOS-Stream-Extras-common.repo", "extras common"
		common.suite, common.keys = "8-stream/extras/$basearch/extras-common", []string{files + "CentOS-SIG-Extras"}
		return []repository{section("baseos", "BaseOS", true, true), section("appstream", "AppStream", true, true),
			section("powertools", "PowerTools", false, false), section("extras", "extras", true, false), common}
	}
	stream := fmt.Sprintf("%d-stream", r.version)
	official := files + "centosofficial"
	if r.version >= 10 {
		official += "-SHA256"
	}
	section := func(file, id, dir string, on, base bool) repository {
		return repository{file: file, id: id, title: dir, repository: "centos-stream", suite: stream + "/" + dir + "/$basearch/os",
			public: "metalink=https://mirrors.centos.org/metalink?repo=centos-" + strings.ToLower(dir) + "-" + stream + "&arch=$basearch&protocol=https,http",
			keys:   []string{official}, signed: true, on: on, base: base}
	}
	extras := repository{file: "centos-addons.repo", id: "extras-common", title: "Extras", repository: "centos-stream",
		suite:  "SIGs/" + stream + "/extras/$basearch/extras-common",
		public: "metalink=https://mirrors.centos.org/metalink?repo=centos-extras-sig-extras-common-" + stream + "&arch=$basearch&protocol=https,http",
		keys:   []string{files + "CentOS-SIG-Extras-SHA512"}, on: true}
	return []repository{
		section("centos.repo", "baseos", "BaseOS", true, true), section("centos.repo", "appstream", "AppStream", true, true),
		section("centos.repo", "crb", "CRB", false, false),
		section("centos-addons.repo", "highavailability", "HighAvailability", false, false), extras,
	}
}

func rocky(r release) []repository {
	section := func(file, id, dir, key string, on, base bool) repository {
		return repository{file: file, id: id, title: dir, repository: "rocky", suite: fmt.Sprintf("%d/%s/$basearch/os", r.version, dir),
			public: fmt.Sprintf("mirrorlist=https://mirrors.rockylinux.org/mirrorlist?arch=$basearch&repo=%s-%d", dir, r.version),
			keys:   []string{"RPM-GPG-KEY-" + key}, on: on, base: base}
	}
	if r.version == 8 {
		const key = "rockyofficial"
		return []repository{section("Rocky-BaseOS.repo", "baseos", "BaseOS", key, true, true), section("Rocky-AppStream.repo", "appstream", "AppStream", key, true, true),
			section("Rocky-PowerTools.repo", "powertools", "PowerTools", key, false, false), section("Rocky-Extras.repo", "extras", "extras", key, true, false)}
	}
	key := fmt.Sprintf("Rocky-%d", r.version)
	return []repository{section("rocky.repo", "baseos", "BaseOS", key, true, true), section("rocky.repo", "appstream", "AppStream", key, true, true),
		section("rocky.repo", "crb", "CRB", key, false, false), section("rocky-extras.repo", "extras", "extras", key, true, false)}
}

func alma(r release) []repository {
	key := "RPM-GPG-KEY-AlmaLinux"
	if r.version > 8 {
		key += fmt.Sprintf("-%d", r.version)
	}
	section := func(id, dir string, on, base bool) repository {
		file := "almalinux-" + id + ".repo"
		if r.version == 8 && id != "powertools" {
			file = "almalinux.repo"
		}
		return repository{file: file, id: id, title: dir, repository: "almalinux", suite: fmt.Sprintf("%d/%s/$basearch/os", r.version, dir),
			public: fmt.Sprintf("mirrorlist=https://mirrors.almalinux.org/mirrorlist/%d/%s", r.version, strings.ToLower(dir)),
			keys:   []string{key}, on: on, base: base}
	}
	crb := section("crb", "CRB", false, false)
	if r.version == 8 {
		crb = section("powertools", "PowerTools", false, false)
	}
	return []repository{section("baseos", "BaseOS", true, true), section("appstream", "AppStream", true, true), crb, section("extras", "extras", true, false)}
}

// fedora: ppc64le and s390x are in a tree of their own. Cisco's codec repository,
// which Fedora's own file has on, is no mirror of a site: off.
func fedora(r release, p pipelines.Platform) []repository {
	name := "fedora"
	if p.Architecture == "ppc64le" || p.Architecture == "s390x" {
		name = "fedora-secondary"
	}
	keys := []string{fmt.Sprintf("RPM-GPG-KEY-fedora-%d-$basearch", r.version)}
	const metalink = "metalink=https://mirrors.fedoraproject.org/metalink?repo=%s%d&arch=$basearch"
	return []repository{
		{file: "fedora.repo", id: "fedora", title: "release", repository: name, suite: fmt.Sprintf("releases/%d/Everything/$basearch/os", r.version),
			public: fmt.Sprintf(metalink, "fedora-", r.version), keys: keys, on: true, base: true},
		{file: "fedora-updates.repo", id: "updates", title: "updates", repository: name, suite: fmt.Sprintf("updates/%d/Everything/$basearch", r.version),
			public: fmt.Sprintf(metalink, "updates-released-f", r.version), keys: keys, on: true, base: true},
		{file: "fedora-cisco-openh264.repo", id: "fedora-cisco-openh264", title: "openh264 (from Cisco)",
			public: fmt.Sprintf(metalink, "fedora-cisco-openh264-", r.version), keys: keys},
	}
}

func ubi(r release) []repository {
	section := func(kind, dir string, on, base bool) repository {
		return repository{file: "ubi.repo", id: fmt.Sprintf("ubi-%d-%s-rpms", r.version, kind), title: dir, repository: "ubi",
			suite: fmt.Sprintf("dist/ubi%d/%d/$basearch/%s/os", r.version, r.version, dir), keys: []string{"RPM-GPG-KEY-redhat-release"}, on: on, base: base}
	}
	return []repository{section("baseos", "baseos", true, true), section("appstream", "appstream", true, true), section("codeready-builder", "codeready-builder", false, false)}
}

// epel of a release. 7 is in Fedora's archive. 10 has a tree for CentOS Stream, and
// one that follows the minor releases of Red Hat Enterprise Linux ("10z"). EPEL Next
// is for CentOS Stream 9. EPEL does not sign its metadata.
//
// It has a priority below the distribution's, so that it adds packages and never
// replaces one.
func (o Options) epel() []repository {
	r := o.release()
	name, suite, link := "epel", fmt.Sprintf("%d/Everything/$basearch", r.version), fmt.Sprintf("epel-%d", r.version)
	switch {
	case r.version == 7:
		name, suite, link = "epel-archive", "7/$basearch", ""
	case r.version >= 10 && o.Distribution != CentOS:
		suite, link = fmt.Sprintf("%dz/Everything/$basearch", r.version), fmt.Sprintf("epel-z-%d", r.version)
	}
	public := func(link string) string {
		if link == "" {
			return ""
		}
		return "metalink=https://mirrors.fedoraproject.org/metalink?repo=" + link + "&arch=$basearch"
	}
	own := fmt.Sprintf("RPM-GPG-KEY-EPEL-%d", r.version)
	out := []repository{{file: "epel.repo", id: "epel", title: "Extra Packages for Enterprise Linux", repository: name, suite: suite,
		public: public(link), own: own, on: true, priority: 110}}
	if o.Distribution == CentOS && r.version == 9 {
		out = append(out, repository{file: "epel-next.repo", id: "epel-next", title: "Extra Packages for Enterprise Linux, Next", repository: "epel",
			suite: "next/9/Everything/$basearch", public: public("epel-next-9"), own: own, on: true, priority: 110})
	}
	return out
}
