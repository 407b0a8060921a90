package rpm

import "strings"

// timeout and minRate bound what a mirror that says nothing, or next to nothing,
// costs: librepo gives up after four times timeout seconds without minRate bytes per
// second, and goes on to the next one.
const (
	timeout = "10"
	minRate = "1000"
)

// dnfConf keeps the defaults of Enterprise Linux (best, clean requirements,
// gpgcheck) for all, and makes dnf fit for containers. dnf.conf(5), dnf5-conf(5).
func (o Options) dnfConf() string {
	var b strings.Builder
	b.WriteString("[main]\n")
	line := func(comment string, settings ...string) {
		b.WriteString("# " + comment + "\n" + strings.Join(settings, "\n") + "\n")
	}
	line("Signatures of packages are checked, in files given on the command line too.", "gpgcheck=True", "localpkg_gpgcheck=True")
	line("Take the newest version or say why not; remove what only removed packages needed.", "best=True", "clean_requirements_on_remove=True", "installonly_limit=3")
	line("A repository that cannot be reached is an error.", "skip_if_unavailable=False")
	if o.WeakDeps {
		line("Install recommended packages too.", "install_weak_deps=True")
	} else {
		line("Install what is asked for and what it needs. To change it: dnf --setopt=install_weak_deps=True", "install_weak_deps=False")
	}
	if !o.Docs {
		line("Leave documentation out. To change it: dnf --setopt=tsflags=", "tsflags=nodocs")
	}
	line("Keep no downloaded packages.", "keepcache=False")
	line("Seconds before a silent mirror is given up, and the bytes per second that count as silent.", "timeout="+timeout, "minrate="+minRate)
	return b.String()
}

// yumConf is the same for yum 3. yum.conf(5) of release 7.
func (o Options) yumConf() string {
	var b strings.Builder
	b.WriteString(`[main]
cachedir=/var/cache/yum/$basearch/$releasever
logfile=/var/log/yum.log
distroverpkg=centos-release
exactarch=1
obsoletes=1
plugins=1
installonly_limit=5
# Signatures of packages are checked, in files given on the command line too.
gpgcheck=1
localpkg_gpgcheck=1
# Keep no downloaded packages.
keepcache=0
`)
	if !o.Docs {
		b.WriteString("# Leave documentation out. To change it: yum --setopt=tsflags=\ntsflags=nodocs\n")
	}
	b.WriteString("# Seconds before a silent mirror is given up, and the bytes per second that count as silent.\ntimeout=" + timeout + "\nminrate=" + minRate + "\nretries=2\n")
	return b.String()
}
