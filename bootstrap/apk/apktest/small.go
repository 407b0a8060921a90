// Package apktest has a small Alpine of our own: packages by the names of Alpine's, for
// several architectures, with Debian's static busybox for a program. Of Alpine's own
// there are the public keys, which come with cfbuild; there is no apk, nothing that
// stands in for it, and no musl.
package apktest

import (
	"strings"
	"testing"

	"github.com/cfbuild/cfbuild/internal/distkeys"
	"github.com/cfbuild/cfbuild/internal/steptrust"
	"github.com/cfbuild/cfbuild/internal/testrepo/apkrepo"
)

// debian are Debian's names for the architectures of [Small].
var debian = map[string]string{"x86_64": "amd64", "aarch64": "arm64"}

// Small gives packages that make a root in which a shell and scripts work, for x86_64 or
// aarch64, of a release such as "3.24".
func Small(t testing.TB, arch, release string) []apkrepo.Pkg {
	t.Helper()
	keys := apkrepo.Pkg{Name: "alpine-keys", Version: "2.6-r0"}
	for _, k := range distkeys.Alpine() {
		keys.Files = append(keys.Files, apkrepo.File("etc/apk/keys/"+k.Name, string(k.Data)))
	}
	out := append([]apkrepo.Pkg{baselayout(), shell(busybox(t, debian[arch])), keys}, apkrepo.Standins(release, steptrust.Mozilla())...)
	for i := range out {
		out[i].Arch = arch
	}
	return out
}

// baselayout has the directories and accounts, those among them that apk makes itself
// where no package has them.
func baselayout() apkrepo.Pkg {
	dir, file := apkrepo.Dir, apkrepo.File
	shadow := apkrepo.Owned(file("etc/shadow", "root:*::0:::::\nnobody:!::0:::::\n"), "root", 0, "shadow", 42)
	shadow.Mode = 0o640
	p := apkrepo.Pkg{Name: "alpine-baselayout", Version: "3.7.0-r0", Depends: []string{"/bin/sh"},
		Scripts: map[string]string{"post-install": "#!/bin/sh\nset -e\nln -s ../proc/mounts /etc/mtab\nid -u nobody >/etc/baselayout.nobody\n"},
		Files: []apkrepo.Entry{
			file("etc/passwd", "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/sbin/nologin\n"),
			file("etc/group", "root:x:0:root\nshadow:x:42:\nnobody:x:65534:\n"),
			file("etc/shells", "/bin/sh\n"), file("etc/hosts", "127.0.0.1 localhost\n"), shadow,
			dir("proc", 0o555), dir("root", 0o700), dir("tmp", 0o1777), dir("var/tmp", 0o1777),
			apkrepo.Link("var/run", "../run"),
		}}
	for _, d := range strings.Fields("bin dev home media mnt opt run sbin srv sys usr/bin usr/lib usr/local/bin usr/sbin var/cache/misc var/empty var/lib var/log") {
		p.Files = append(p.Files, dir(d, 0o755))
	}
	return p
}

// shell is busybox, whose links to itself its script makes.
func shell(program []byte) apkrepo.Pkg {
	const install = "#!/bin/busybox sh\nexec /bin/busybox --install -s\n"
	return apkrepo.Pkg{Name: "busybox", Version: "1.35.0-r0", Provides: []string{"/bin/sh", "cmd:busybox=1.35.0-r0", "cmd:sh=1.35.0-r0"},
		Triggers: []string{"/bin", "/usr/bin", "/sbin", "/usr/sbin"},
		Scripts:  map[string]string{"post-install": install, "trigger": install},
		Files:    []apkrepo.Entry{apkrepo.Program("bin/busybox", string(program)), apkrepo.Link("bin/sh", "/bin/busybox")}}
}
