package deffile

import (
	"maps"
	"slices"
	"strings"

	"github.com/cfbuild/cfbuild/pipelines"
)

func sorted(m map[string]string) []string { return slices.Sorted(maps.Keys(m)) }

// bootstrap writes the agent for a root filesystem made of packages, and what the agent
// leaves to do.
func (l *lowering) bootstrap(s *Stage, n pipelines.Node, o pipelines.Bootstrap) error {
	switch o.Method {
	case "deb":
		return l.debootstrap(s, n, o)
	case "rpm":
		return l.yum(s, n, o)
	}
	return unsupported(n, "start from an image of the distribution (its -upstream target), or use another builder",
		"has no bootstrap agent for method %s", o.Method)
}

// mirror gives the URL of a source as the definition has it, an argument where it comes
// from the site, and the URL itself.
func (l *lowering) mirror(s *Stage, n pipelines.Node, src pipelines.PackageSource) (string, string, error) {
	if len(src.Mirrors) > 0 {
		u := strings.TrimSuffix(src.Mirrors[0], "/")
		return u, u, nil
	}
	var urls []string
	if l.o.Mirrors != nil {
		urls = l.o.Mirrors(src.Repository)
	}
	if len(urls) == 0 {
		return "", "", unsupported(n, "add a mirror for "+src.Repository+" to the site", "needs the URL of repository %q", src.Repository)
	}
	a := Pair{strings.NewReplacer("-", "_", ".", "_").Replace(src.Repository), strings.TrimSuffix(urls[0], "/")}
	if !slices.Contains(s.Arguments, a) {
		s.Arguments = append(s.Arguments, a)
	}
	return "{{ " + a.Name + " }}", a.Value, nil
}

// debootstrap: the agent makes variant minbase of one suite; further suites and packages
// come by apt, which checks the archive's signatures with the keys of the image.
func (l *lowering) debootstrap(s *Stage, n pipelines.Node, o pipelines.Bootstrap) error {
	switch {
	case o.Variant != "" && o.Variant != "minbase":
		return unsupported(n, "use variant minbase, or another builder", "cannot make variant %s", o.Variant)
	case len(o.Exclude) > 0:
		return unsupported(n, "use another builder", "cannot leave out packages that others need")
	}
	var list []string
	tls := false
	for i, src := range o.Sources {
		url, plain, err := l.mirror(s, n, src)
		if err != nil {
			return err
		}
		tls = tls || strings.HasPrefix(plain, "https:")
		components := "main"
		if len(src.Components) > 0 {
			components = strings.Join(src.Components, " ")
		}
		option := ""
		if src.AllowExpired {
			option = "[check-valid-until=no] "
		}
		list = append(list, "deb "+option+url+" "+src.Suite+" "+components)
		if i == 0 {
			s.Header = []Pair{{"Bootstrap", "debootstrap"}, {"OSVersion", src.Suite}, {"MirrorURL", url}}
		}
	}
	apt := "apt-get -q -y -o APT::Sandbox::User=root -o Acquire::Languages=none --no-install-recommends"
	if tls {
		// The root has no certificate authorities yet: the host's are lent.
		s.Setup.line("for f in /etc/ssl/certs/ca-certificates.crt /etc/pki/tls/certs/ca-bundle.crt /etc/ssl/ca-bundle.pem; do")
		s.Setup.line(`	[ ! -s "$f" ] || [ -e "${APPTAINER_ROOTFS:?}"/.cfbuild-ca ] || cp -L "$f" "${APPTAINER_ROOTFS:?}"/.cfbuild-ca`)
		s.Setup.line("done")
		apt += " -o Acquire::https::CAInfo=/.cfbuild-ca"
	}
	s.Post.comment(n)
	s.Post.line("export DEBIAN_FRONTEND=noninteractive")
	s.Post.line("cat >/etc/apt/sources.list <<'EOF'\n%s\nEOF", strings.Join(list, "\n"))
	s.Post.line("%s update", apt)
	s.Post.line("%s dist-upgrade", apt)
	if len(o.Include) > 0 {
		s.Post.line("%s install %s", apt, words(o.Include))
	}
	s.Post.line("apt-get clean")
	s.Post.line("rm -rf /var/lib/apt/lists/* /var/log/apt /var/log/dpkg.log /var/log/alternatives.log /var/log/bootstrap.log /var/cache/apt/*.bin /etc/hostname /.cfbuild-ca")
	s.Post.line("mkdir -p /var/lib/apt/lists/partial /var/log/apt")
	s.Post.line("unset DEBIAN_FRONTEND")
	return nil
}

// yum: the agents yum and zypper take one repository and one more.
func (l *lowering) yum(s *Stage, n pipelines.Node, o pipelines.Bootstrap) error {
	agent, keys := "yum", []string{"MirrorURL", "UpdateURL"}
	if slices.Contains(o.Include, "zypper") {
		agent = "zypper"
	}
	switch {
	case len(o.Sources) > len(keys):
		return unsupported(n, "use another builder", "can bootstrap from %d repositories, not from %d", len(keys), len(o.Sources))
	case len(o.Exclude) > 0:
		return unsupported(n, "use another builder", "cannot leave out packages that others need")
	}
	// The release, which dnf is told, is the first directory that all suites share.
	release, _, _ := strings.Cut(o.Sources[0].Suite, "/")
	s.Header = []Pair{{"Bootstrap", agent}, {"OSVersion", release}}
	for i, src := range o.Sources {
		url, _, err := l.mirror(s, n, src)
		if err != nil {
			return err
		}
		suite := src.Suite
		if rest, ok := strings.CutPrefix(suite, release+"/"); ok {
			suite = "%{OSVERSION}/" + rest
		}
		s.Header = append(s.Header, Pair{keys[i], url + "/" + suite})
	}
	if len(o.Include) > 0 {
		s.Header = append(s.Header, Pair{"Include", strings.Join(o.Include, " ")})
	}
	if agent == "yum" {
		s.Header = append(s.Header, Pair{"Setopt", "install_weak_deps=0"})
	}
	s.Post.comment(n)
	s.Post.line("rm -rf /etc/bootstrap-yum.conf /var/cache/yum-bootstrap /var/cache/dnf /var/cache/yum /var/log/dnf* /var/log/yum.log /var/log/hawkey.log")
	return nil
}
