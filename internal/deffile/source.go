package deffile

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/cfbuild/cfbuild/pipelines"
)

func (l *lowering) Scratch(context.Context, pipelines.Node, pipelines.Scratch) (chain, error) {
	return chain{scratch: true, stage: Stage{Header: []Field{{"Bootstrap", "scratch"}}}}, nil
}

func (l *lowering) Pull(_ context.Context, n pipelines.Node, o pipelines.Pull) (chain, error) {
	ref := o.Ref
	// Apptainer refuses a name with both.
	if name, digest, ok := strings.Cut(ref, "@"); ok {
		if i := strings.LastIndexByte(name, ':'); i > strings.LastIndexByte(name, '/') {
			name = name[:i]
		}
		ref = name + "@" + digest
	}
	return chain{stage: Stage{Header: []Field{{"Bootstrap", "docker"}, {"From", ref}}, Comments: []string{forPlatform(n)}}}, nil
}

func (l *lowering) Layout(_ context.Context, n pipelines.Node, o pipelines.Layout) (chain, error) {
	from := "oci:" + o.Path
	if l.o.Layout != nil {
		var err error
		if from, err = l.o.Layout(n, o); err != nil {
			return chain{}, err
		}
	} else if o.Path == "" {
		return chain{}, l.lack(n, "the directory of the layout is not known, only its digest", "")
	} else if path.Ext(o.Path) == ".tar" {
		from = "oci-archive:" + o.Path
	}
	agent, where, _ := strings.Cut(from, ":")
	if strings.ContainsAny(where, " #\\\r\n") {
		return chain{}, l.lack(n, fmt.Sprintf("the path %q %s", where, ErrText), "move it to a directory with a plain name")
	}
	return chain{stage: Stage{Header: []Field{{"Bootstrap", agent}, {"From", where}}}}, nil
}

func forPlatform(n pipelines.Node) string {
	return fmt.Sprintf("For %s: build it on such a machine, or with apptainer build --arch.", n.Platform)
}

// Bootstrap is the agent that runs the distribution's own tool on the host.
func (l *lowering) Bootstrap(_ context.Context, n pipelines.Node, o pipelines.Bootstrap) (chain, error) {
	if len(o.Sources) == 0 {
		return chain{}, l.lack(n, "it has no package source", "")
	}
	switch {
	case o.Method == "deb":
		return l.debootstrap(n, o)
	case o.Method == "rpm" && suse(o.Sources[0].Repository):
		return l.zypper(n, o)
	case o.Method == "rpm":
		return l.yum(n, o)
	}
	return chain{}, l.lack(n, "Apptainer has no bootstrap agent for "+o.Method,
		"take the target that starts from the upstream image (TARGET-upstream); or cfbuild run --format sif, which needs no agent")
}

func suse(repository string) bool {
	for _, p := range []string{"opensuse", "suse", "sle", "bci"} {
		if strings.HasPrefix(repository, p) {
			return true
		}
	}
	return false
}

// mirror gives the first base URL of a source, without a slash at its end.
func (l *lowering) mirror(n pipelines.Node, s pipelines.PackageSource) (string, error) {
	urls := s.Mirrors
	if len(urls) == 0 {
		urls = l.o.Site.URLs(s.Repository)
	}
	if len(urls) == 0 {
		return "", &pipelines.InvalidError{Where: n.Where, What: "repository " + s.Repository, Cause: "the site has no mirror for it",
			Fix: "add one to the site file: [mirrors] " + s.Repository + " = [\"https://…\"]"}
	}
	return strings.TrimRight(urls[0], "/"), nil
}

// native is what every agent is told to ignore.
func native(n pipelines.Node) string {
	return fmt.Sprintf("For %s, on such a machine: bootstrap agents ignore --arch.", n.Platform)
}

// splitSuite takes "9-stream/BaseOS/$basearch/os" apart, so that the version stands in
// OSVersion, where dnf's --releasever gets it from.
func splitSuite(suite string) (version, url string) {
	parts := strings.Split(strings.Trim(suite, "/"), "/")
	for i, p := range parts {
		if strings.ContainsAny(p, "0123456789") {
			parts[i] = "%{OSVERSION}"
			return p, strings.Join(parts, "/")
		}
	}
	return "", strings.Join(parts, "/")
}

// rpmHeader is what yum and zypper have in common.
func (l *lowering) rpmHeader(n pipelines.Node, o pipelines.Bootstrap, agent string, most int) (Stage, error) {
	if len(o.Exclude) > 0 {
		return Stage{}, l.lack(n, "the agent "+agent+" cannot exclude packages", "drop Exclude, or remove them in a step")
	}
	if len(o.Sources) > most {
		return Stage{}, l.lack(n, fmt.Sprintf("the agent %s takes %d repositories, not %d", agent, most, len(o.Sources)), "")
	}
	version, _ := splitSuite(o.Sources[0].Suite)
	s := Stage{Header: []Field{{"Bootstrap", agent}}, Comments: []string{native(n)}}
	if version != "" {
		s.Header = append(s.Header, Field{"OSVersion", version})
	}
	first := ""
	for i, src := range o.Sources {
		base, err := l.mirror(n, src)
		if err != nil {
			return s, err
		}
		v, at := splitSuite(src.Suite)
		if v != version {
			at = strings.Trim(src.Suite, "/")
		}
		key := "MirrorURL"
		switch {
		case i == 0:
			s.Arguments, first = []Field{{"MIRROR", base}}, base
		case i == 1:
			key = "UpdateURL"
		default:
			key = fmt.Sprintf("OtherURL%d", i-2)
		}
		if base == first {
			base = "{{ MIRROR }}"
		}
		s.Header = append(s.Header, Field{key, base + "/" + at})
	}
	if len(o.Include) > 0 {
		s.Header = append(s.Header, Field{"Include", strings.Join(o.Include, " ")})
	}
	return s, nil
}

func (l *lowering) yum(n pipelines.Node, o pipelines.Bootstrap) (chain, error) {
	s, err := l.rpmHeader(n, o, "yum", 2)
	if err != nil {
		return chain{}, err
	}
	s.Comments = append(s.Comments, "The agent checks signatures only when the variable GPG names the key: GPG=https://… apptainer build …",
		"It needs dnf and rpm on this machine, and root: on Debian also ~/.rpmmacros with %_dbpath /var/lib/rpm.")
	c := chain{stage: s}
	l.inImage(&c, n, false, `rm -rf /etc/bootstrap-yum.conf /var/cache/dnf/* /var/cache/yum/* /var/cache/libdnf5/* /var/log/dnf* /var/log/hawkey.log /var/log/yum.log
rm -rf /var/lib/dnf/history.sqlite* /var/lib/rpm/.rpm.lock`)
	return c, nil
}

func (l *lowering) zypper(n pipelines.Node, o pipelines.Bootstrap) (chain, error) {
	s, err := l.rpmHeader(n, o, "zypper", 22)
	if err != nil {
		return chain{}, err
	}
	s.Comments = append(s.Comments, "The agent trusts the keys that the repositories name themselves. It needs zypper and rpm on this machine, and root.")
	c := chain{stage: s}
	l.inImage(&c, n, false, `rm -f /etc/zypp/repos.d/repo.repo /etc/zypp/repos.d/update.repo /etc/zypp/repos.d/repo-*.repo
rm -rf /var/cache/zypp/* /val /var/log/zypper.log /var/log/zypp`)
	return c, nil
}

func (l *lowering) debootstrap(n pipelines.Node, o pipelines.Bootstrap) (chain, error) {
	if len(o.Exclude) > 0 {
		return chain{}, l.lack(n, "the agent debootstrap cannot exclude packages", "drop Exclude, or purge them in a step")
	}
	if o.Variant != "" && o.Variant != "minbase" {
		return chain{}, l.lack(n, "the agent debootstrap knows the variant minbase only, not "+o.Variant, "set Variant to minbase, and Include to what is missing")
	}
	suite := o.Sources[0].Suite
	base, err := l.mirror(n, o.Sources[0])
	if err != nil {
		return chain{}, err
	}
	c := chain{stage: Stage{Header: []Field{{"Bootstrap", "debootstrap"}, {"OSVersion", suite}, {"MirrorURL", "{{ MIRROR }}"}},
		Arguments: []Field{{"MIRROR", base}},
		Comments:  []string{native(n), "The agent checks signatures with the keys debootstrap has on this machine."}}}
	// It takes packages of main, of the first suite.
	simple := len(o.Sources) == 1 && len(o.Sources[0].Components) <= 1
	if simple && len(o.Include) > 0 {
		c.stage.Header = append(c.stage.Header, Field{"Include", strings.Join(o.Include, " ")})
	}
	var lists strings.Builder
	for _, s := range o.Sources {
		url, err := l.mirror(n, s)
		if err != nil {
			return chain{}, err
		}
		components := s.Components
		if len(components) == 0 {
			components = []string{"main"}
		}
		option := ""
		if s.AllowExpired {
			option = "[check-valid-until=no] "
		}
		fmt.Fprintf(&lists, "deb %s%s %s %s\n", option, url, s.Suite, strings.Join(components, " "))
	}
	if !simple {
		trust := l.lend(&c)
		install := ""
		if len(o.Include) > 0 {
			install = "\ncf_apt install " + quoteAll(o.Include)
		}
		l.inImage(&c, n, true, slices.Concat(file(pipelines.File{Path: "/.cfbuild-sources", Data: []byte(lists.String())}), trust.before, []string{
			"(\n" + trust.exports + `cf_apt() {
	apt-get -qq -o Dir::Etc::sourcelist=/.cfbuild-sources -o Dir::Etc::sourceparts=- -o Acquire::Languages=none -o APT::Install-Recommends=false -o Dpkg::Options::=--force-unsafe-io -y "$@"
}
cf_apt update
cf_apt dist-upgrade` + install + `
cf_apt clean
)
rm -f /.cfbuild-sources`}, trust.after)...)
	}
	l.inImage(&c, n, false, `find /var/cache/apt /var/lib/apt/lists -type f ! -name lock -delete
rm -rf /var/log/bootstrap.log /var/log/dpkg.log /var/log/alternatives.log /var/log/apt/* /var/cache/debconf/*-old /var/lib/dpkg/*-old
rm -f /etc/hostname /etc/apt/sources.list`)
	return c, nil
}
