package site

// Names lists the built-in sites, sorted.
func Names() []string { return []string{"host", "nccs", "ornl", "public", "univention"} }

// ORNL is Oak Ridge National Laboratory as its container factory report (March
// 2024) describes it: packages from repoman.ornl.gov, public mirrors to fall back
// on ("preferring local ORNL mirrors over Internet mirrors, although allowing
// fallback to public mirrors"), and pull-through caches on cfcc01.ornl.gov, with
// TLS.
//
// The report says:
//   - docker.io through port 4567 (figures 7 and 11), quay.io through port 4568
//     (figures 11 and 15);
//   - repoman.ornl.gov/centos-stream/9-stream/BaseOS/ARCH/os (figure 17);
//   - repoman.ornl.gov/epel, from the URL of its key RPM-GPG-KEY-EPEL-9 (figure 17);
//   - repoman.ornl.gov mirrors "all ORNL approved operating systems" (section 4.8),
//     and conda, CRAN, pip and CPAN point to it (figure 16), without their paths.
//
// Inferred, after the pattern of the two paths that are named: those of Debian and
// Ubuntu (the report's repository has a debootstrap example), and of the language
// indexes. Repositories it says nothing of come from the public mirrors. A site
// file that extends this one puts others in front; `cfbuild site check ornl` tells
// on the laboratory's network which are there.
//
// Its inspection CA (Netskope*.pem in figure 17) is not public: a site file names
// it, or [Site.WithCAs] adds it.
func ORNL() Site {
	const repoman = "https://repoman.ornl.gov/"
	s := Public()
	s.Name = "ornl"
	own := map[string][]Mirror{}
	for _, repo := range []string{"centos-stream", "epel", "debian", "debian-security", "ubuntu", "ubuntu-ports"} {
		own[repo] = []Mirror{{URL: repoman + repo}}
	}
	s.Mirrors = before(own, s.Mirrors)
	s.Indexes = before(map[string][]Mirror{
		"conda": {{URL: repoman + "conda"}},
		"cran":  {{URL: repoman + "cran"}},
		"pypi":  {{URL: repoman + "pypi/simple"}},
		"cpan":  {{URL: repoman + "cpan"}},
	}, s.Indexes)
	s.Registries = []Registry{
		{Prefix: "docker.io", Location: "docker.io", Mirrors: []RegistryMirror{{Location: "cfcc01.ornl.gov:4567"}}},
		{Prefix: "quay.io", Location: "quay.io", Mirrors: []RegistryMirror{{Location: "cfcc01.ornl.gov:4568"}}},
	}
	return s
}

// NCCS is NASA's Center for Climate Simulation as its best practices for
// containers describe it.
//
// They say (section 2.1): base images come from the public registry, are made to
// comply with the agency's standards, and live, as golden images that everything
// run there has to be based on, below
// gitlab.nccs.nasa.gov:5050/nccs-ci/nccs-containers, as base/OPERATING_SYSTEM
// (base/centos7, base/debian10) and APPLICATION/nccs-OS-APPLICATION. Packages come
// from "repositories available to the operating system": the public mirrors. They
// hold NASA's certificates, which are not public: a site file names them.
//
// Inferred: nothing; no package mirror and no pull-through cache is named.
func NCCS() Site {
	s := Public()
	s.Name = "nccs"
	s.Registries = []Registry{{Prefix: "gitlab.nccs.nasa.gov:5050/nccs-ci/nccs-containers"}}
	return s
}

// Univention is Univention GmbH's internal network as its "Gitlab 101" describes
// it.
//
// It says: Docker's registry mirror is http://docker-registry.knut.univention.de:5001
// (without TLS); docker-registry.knut.univention.de is a plain registry for
// everyone inside; a Harbor at artifacts.knut.univention.de proxies docker.io as
// dockerhub_proxy_cache and quay.io too, with TLS and a login; projects' own images
// live in gitregistry.knut.univention.de. All TLS there is signed by the KNUT root,
// which nobody knows by default: every GitLab job has it as a file named by the
// variable KNUT_CA. [Load] reads that variable where it is set; this function
// cannot.
//
// Inferred: the name quay_proxy_cache of Harbor's proxy of quay.io, after that of
// docker.io. Harbor's proxies come last as they need a login (docker login) and
// are called unmaintained. Packages come from the public mirrors.
func Univention() Site {
	const knut = ".knut.univention.de"
	s := Public()
	s.Name = "univention"
	s.Registries = []Registry{
		{Prefix: "docker.io", Location: "docker.io", Mirrors: []RegistryMirror{
			{Location: "docker-registry" + knut + ":5001", Insecure: true},
			{Location: "artifacts" + knut + "/dockerhub_proxy_cache"},
		}},
		{Prefix: "quay.io", Location: "quay.io", Mirrors: []RegistryMirror{{Location: "artifacts" + knut + "/quay_proxy_cache"}}},
		{Prefix: "docker-registry" + knut},
		{Prefix: "gitregistry" + knut},
	}
	return s
}

// univention is [Univention] with the KNUT root where the job has it.
func univention(o LoadOptions) (Site, error) {
	const name = "KNUT_CA"
	s := Univention()
	if o.getenv(name) == "" {
		s.Notes = []string{"the KNUT root: $" + name + " is not set (GitLab sets it in jobs); without it nothing signed by KNUT is trusted"}
		return s, nil
	}
	cas, bad := o.readCAs("$"+name, o.Dir, caUse{})
	if bad != nil {
		return Site{}, bad.at("", 0, "univention")
	}
	for i := range cas {
		if len(cas) == 1 {
			cas[i].Name = "knut-ca" // the name the document installs it under
		}
	}
	s.CAs = addCAs(s.CAs, cas)
	return s, nil
}
