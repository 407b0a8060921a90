package deb

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/cfbuild/cfbuild/bootstrap/deb/unpack"
	"github.com/cfbuild/cfbuild/pipelines"
)

// configure makes the step that configures an unpacked root in the image itself:
// the preinst scripts, as "dpkg --unpack" would have run them, then dpkg
// --configure, phase by phase, then what mmdebstrap cleans up. It is one step, so
// that nothing that is removed again gets into a layer. The text depends on the
// packages and the epoch alone.
func configure(phases []unpack.Phase, epoch time.Time, dpkg string) pipelines.Run {
	var b strings.Builder
	b.WriteString(prologue)
	for i, p := range phases {
		if i > 0 {
			fmt.Fprintf(&b, "cat %s >>/var/lib/dpkg/status; rm %s\n", p.Status, p.Status)
		}
		if len(p.Preinst) > 0 {
			b.WriteString("preinst <<END\n")
			for _, s := range p.Preinst {
				b.WriteString(s.ID + " " + s.Name + " " + s.Arch + "\n")
			}
			b.WriteString("END\n")
		}
		b.WriteString("configure\n")
	}
	b.WriteString(epilogue)
	return pipelines.Run{
		Name:    "configure packages",
		Shell:   b.String(),
		Network: pipelines.NetworkNone,
		Env: map[string]string{
			"PATH":                        "/tmp/.cfbuild:" + toolDir + ":/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
			"HOME":                        "/root",
			"LC_ALL":                      "C.UTF-8",
			"DEBIAN_FRONTEND":             "noninteractive",
			"DEBCONF_NONINTERACTIVE_SEEN": "true",
			"DPKG_RUNNING_VERSION":        upstream(dpkg),
			"PYTHONHASHSEED":              "0",
			"SOURCE_DATE_EPOCH":           strconv.FormatInt(epoch.Unix(), 10),
		},
		User: "0:0",
		Dir:  "/",
	}
}

// upstream is a version without epoch and Debian revision.
func upstream(version string) string {
	if _, rest, ok := strings.Cut(version, ":"); ok {
		version = rest
	}
	if i := strings.LastIndexByte(version, '-'); i > 0 {
		version = version[:i]
	}
	return version
}

// prologue puts stand-ins before the real programs in PATH while packages are
// configured; none of them stays:
//   - start-stop-daemon does nothing, and policy-rc.d, which invoke-rc.d asks, says
//     no: services are not started, as with every installer.
//   - ischroot says yes, which containers make it doubt: otherwise libc6 looks for
//     an init to restart, and sleeps.
//   - dpkg-maintscript-helper moves what an older version left: on a fresh root there
//     is nothing, which the real one takes three processes each time to find out.
//   - deb-systemd-helper knows without perl that nothing is masked yet, and that a
//     unit without state counts as enabled.
//
// The last two save a third of the processor time, most of it emulated. Conffiles
// that a script made itself are kept.
const prologue = `t=/tmp/.cfbuild
mkdir -m 755 $t
printf '#!/bin/sh\nexit 0\n' | tee $t/start-stop-daemon $t/dpkg-maintscript-helper >$t/ischroot
cat >$t/deb-systemd-helper <<'END'
#!/bin/sh
s=/var/lib/systemd/deb-systemd-helper
case "$*" in
"unmask "*) [ -d $s-masked ] || exit 0 ;;
"--quiet was-enabled "*) [ $# != 3 ] || [ -e "$s-enabled/${3##*/}.dsh-also" ] || exit 0 ;;
esac
exec /usr/bin/deb-systemd-helper "$@"
END
chmod 755 $t/*
[ -e /usr/sbin/policy-rc.d ] || {
	printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
	chmod 755 /usr/sbin/policy-rc.d
	: >$t/policy
}
preinst() {
	while read -r id name arch; do
		DPKG_ADMINDIR=/var/lib/dpkg DPKG_ROOT= DPKG_MAINTSCRIPT_NAME=preinst DPKG_MAINTSCRIPT_DEBUG=0 \
		DPKG_MAINTSCRIPT_PACKAGE=$name DPKG_MAINTSCRIPT_ARCH=$arch DPKG_MAINTSCRIPT_PACKAGE_REFCOUNT=1 DEBCONF_PACKAGE=$name \
		/var/lib/dpkg/info/$id.preinst install </dev/null || {
			echo "preinst of $id failed with exit status $?" >&2
			exit 1
		}
	done
}
configure() {
	dpkg --force-unsafe-io --force-confdef --force-confold --configure -a </dev/null
}
`

// epilogue removes what the work itself left and what would differ from run to
// run: the list is mmdebstrap's, and backups of the databases. What builders mount
// below /run and /tmp stays.
const epilogue = `[ ! -e $t/policy ] || rm /usr/sbin/policy-rc.d
rm -rf $t
rm -f /var/log/dpkg.log /var/log/alternatives.log /var/log/apt/*.log /var/log/apt/eipp.log.xz \
	/var/cache/ldconfig/aux-cache /var/lib/dbus/machine-id \
	/var/lib/dpkg/*-old /var/cache/debconf/*-old
[ ! -e /etc/machine-id ] || { rm /etc/machine-id; : >/etc/machine-id; }
for f in /run/* /tmp/* /tmp/.[!.]*; do
	case $f in
	/run/lock | /run/secrets) ;;
	*) rm -rf --one-file-system "$f" 2>/dev/null || : ;;
	esac
done
`
