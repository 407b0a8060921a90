package site

// Names lists the built-in sites, sorted.
func Names() []string { return []string{"host", "ornl", "public"} }

// Public is the open internet: Debian's and Ubuntu's own mirrors, docker.io and
// quay.io as they are, no further certificate authorities.
//
// ftp.debian.org is Debian's main mirror and security.debian.org the origin of
// security updates; both speak http, as the archive's signature is what is
// checked. archive.ubuntu.com holds amd64 and i386, ports.ubuntu.com
// ("ubuntu-ports") all other architectures.
func Public() Site {
	return Site{
		Name: "public",
		Mirrors: map[string][]Mirror{
			"debian":          {{URL: "http://ftp.debian.org/debian"}},
			"debian-security": {{URL: "http://security.debian.org/debian-security"}},
			"ubuntu":          {{URL: "http://archive.ubuntu.com/ubuntu"}},
			"ubuntu-ports":    {{URL: "http://ports.ubuntu.com/ubuntu-ports"}},
		},
	}
}

// ORNL is Oak Ridge National Laboratory as its container factory report (March
// 2024) describes it: packages from repoman.ornl.gov, public mirrors to fall back
// on, and pull-through caches on cfcc01.ornl.gov for docker.io (port 4567, figures
// 7 and 11) and quay.io (port 4568, figure 11).
//
// The report names the mirror host and two of its directories, centos-stream and
// epel; those for Debian and Ubuntu follow the same pattern. Its inspection CA
// (Netskope) is not public: a site file that extends this one names it, or
// [Site.WithCAs] adds it.
func ORNL() Site {
	const repoman = "https://repoman.ornl.gov/"
	return Site{
		Name: "ornl",
		Mirrors: map[string][]Mirror{
			"debian":          {{URL: repoman + "debian"}, {URL: "http://ftp.debian.org/debian"}},
			"debian-security": {{URL: repoman + "debian-security"}, {URL: "http://security.debian.org/debian-security"}},
			"ubuntu":          {{URL: repoman + "ubuntu"}, {URL: "http://archive.ubuntu.com/ubuntu"}},
			"ubuntu-ports":    {{URL: repoman + "ubuntu-ports"}, {URL: "http://ports.ubuntu.com/ubuntu-ports"}},
		},
		Registries: []Registry{
			{Prefix: "docker.io", Location: "docker.io", Mirrors: []RegistryMirror{{Location: "cfcc01.ornl.gov:4567"}}},
			{Prefix: "quay.io", Location: "quay.io", Mirrors: []RegistryMirror{{Location: "cfcc01.ornl.gov:4568"}}},
		},
	}
}

// knownRepositories are those that built-in recipes and sites use. A site may
// name others.
func knownRepositories() []string {
	return []string{"debian", "debian-security", "ubuntu", "ubuntu-ports"}
}
