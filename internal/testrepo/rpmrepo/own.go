package rpmrepo

import (
	"strings"

	"github.com/cfbuild/cfbuild/internal/rpmfile"
)

// adapt gives a package what Debian's maintainer scripts would do.
func adapt(r *RPM) {
	add := func(f ...File) { r.Files = append(r.Files, f...) }
	has := func(p string) bool {
		for _, f := range r.Files {
			if f.Path == p {
				return true
			}
		}
		return false
	}
	switch r.Name {
	case "glibc":
		r.Post = "exec /usr/sbin/ldconfig\n"
		r.Provides = append(r.Provides, "rtld(GNU_HASH)")
		r.Requires = append(r.Requires, "post: /usr/sbin/ldconfig", "post: /bin/sh")
	case "glibc-common":
		r.Provides = append(r.Provides, "/sbin/ldconfig")
	case "dash":
		if !has("/usr/bin/sh") {
			add(Symlink("/usr/bin/sh", "dash"))
		}
		r.Provides = append(r.Provides, "/bin/sh")
	case "mawk":
		add(Symlink("/usr/bin/awk", "mawk"))
	case "coreutils":
		r.Provides = append(r.Provides, "coreutils-single = 8.32")
	case "setup":
		var keep []File
		for _, f := range r.Files {
			for _, name := range []string{"passwd", "group"} {
				if f.Path == "/usr/share/base-passwd/"+name+".master" {
					g := Regular("/etc/"+name, strings.ReplaceAll(string(f.Data), ":*:", ":x:"))
					g.Flags = rpmfile.FlagConfig | rpmfile.FlagNoReplace
					keep = append(keep, g)
				}
			}
		}
		shadow := Regular("/etc/shadow", "root:*:19000:0:99999:7:::\n")
		gshadow := Regular("/etc/gshadow", "root:*::\n")
		shadow.Mode, gshadow.Mode = rpmfile.ModeRegular, rpmfile.ModeRegular
		shadow.Flags, gshadow.Flags = rpmfile.FlagConfig|rpmfile.FlagNoReplace, rpmfile.FlagConfig|rpmfile.FlagNoReplace
		r.Files = append(keep, shadow, gshadow, Regular("/etc/host.conf", "multi on\n"), Regular("/etc/shells", "/bin/sh\n/bin/bash\n"),
			Regular("/etc/profile", "export PATH\n"), Regular("/etc/nsswitch.conf", "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\n"))
		r.Requires = nil
	case "rpm":
		add(Regular("/etc/rpm/macros.dist", "%dist .el9\n%rhel 9\n%centos 9\n%_dbpath /var/lib/rpm\n%_db_backend sqlite\n"), Dir("/var/lib/rpm"))
	case "dnf":
		for i, f := range r.Files {
			if f.Path == "/etc/dnf/dnf.conf" {
				r.Files[i].Data = []byte("[main]\ngpgcheck=1\ninstallonly_limit=3\nclean_requirements_on_remove=True\nbest=True\nskip_if_unavailable=False\n")
			}
		}
		r.Requires = append(r.Requires, "system-release", "rpm")
	case "shadow-utils":
		r.Provides = append(r.Provides, "useradd")
	case "ca-certificates":
		certs(r)
	case "p11-kit-trust":
		r.Requires = append(r.Requires, "p11-kit")
	}
	for i, f := range r.Files {
		if strings.HasSuffix(f.Path, "/p11-kit-trust.module") {
			r.Files[i].Data = []byte("module: p11-kit-trust.so\npriority: 1\ntrust-policy: yes\n" +
				"x-trust-lookup: pkcs11:library-description=PKCS%2311%20Kit%20Trust%20Module\ndisable-in: p11-kit-proxy\n" +
				"x-init-reserved: paths='/etc/pki/ca-trust/source:/usr/share/pki/ca-trust-source'\n")
		}
	}
}

// certs lays Mozilla's certificates out as Fedora's ca-certificates does (its
// README in /etc/pki/ca-trust), with a stand-in for update-ca-trust.
func certs(r *RPM) {
	var bundle strings.Builder
	for _, f := range r.Files {
		if strings.HasPrefix(f.Path, "/usr/share/ca-certificates/mozilla/") {
			bundle.Write(f.Data)
		}
	}
	r.Requires = []string{"filesystem", "bash", "coreutils", "p11-kit", "p11-kit-trust", "post: coreutils"}
	ghost := func(p string) File {
		f := Regular(p, "")
		f.Flags = rpmfile.FlagGhost
		f.Mode = rpmfile.ModeRegular | 0o444
		return f
	}
	r.Files = []File{
		Regular("/usr/share/pki/ca-trust-source/anchors/mozilla.pem", bundle.String()),
		Dir("/usr/share/pki/ca-trust-source/anchors"), Dir("/usr/share/pki/ca-trust-source/blacklist"), Dir("/usr/share/pki/ca-trust-source/blocklist"),
		Dir("/etc/pki"), Dir("/etc/pki/ca-trust"), Dir("/etc/pki/ca-trust/source"), Dir("/etc/pki/ca-trust/source/anchors"), Dir("/etc/pki/ca-trust/source/blocklist"),
		Dir("/etc/pki/ca-trust/source/blacklist"), Dir("/etc/pki/ca-trust/extracted"), Dir("/etc/pki/ca-trust/extracted/pem"),
		Dir("/etc/pki/ca-trust/extracted/openssl"), Dir("/etc/pki/ca-trust/extracted/java"), Dir("/etc/pki/ca-trust/extracted/edk2"),
		Dir("/etc/pki/tls"), Dir("/etc/pki/tls/certs"), Dir("/etc/pki/java"), Dir("/etc/ssl"),
		ghost("/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem"), ghost("/etc/pki/ca-trust/extracted/pem/email-ca-bundle.pem"),
		ghost("/etc/pki/ca-trust/extracted/pem/objsign-ca-bundle.pem"), ghost("/etc/pki/ca-trust/extracted/openssl/ca-bundle.trust.crt"),
		ghost("/etc/pki/ca-trust/extracted/java/cacerts"),
		Symlink("/etc/pki/tls/cert.pem", "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem"),
		Symlink("/etc/pki/tls/certs/ca-bundle.crt", "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem"),
		Symlink("/etc/pki/tls/certs/ca-bundle.trust.crt", "/etc/pki/ca-trust/extracted/openssl/ca-bundle.trust.crt"),
		// Where Debian's programs look.
		Symlink("/etc/pki/tls/certs/ca-certificates.crt", "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem"),
		Symlink("/etc/pki/java/cacerts", "/etc/pki/ca-trust/extracted/java/cacerts"),
		Symlink("/etc/ssl/certs", "/etc/pki/tls/certs"), Symlink("/etc/ssl/cert.pem", "/etc/pki/tls/cert.pem"),
		Exec("/usr/bin/update-ca-trust", updateCATrust),
	}
	r.Post = "exec /usr/bin/update-ca-trust\n"
}

const updateCATrust = `#!/bin/sh
# A stand-in for Fedora's script of this name, for tests.
set -e
case "${1:-extract}" in
extract | "") ;;
*) exit 0 ;;
esac
d=/etc/pki/ca-trust/extracted
x() { trust extract --overwrite "$@"; }
x --format=openssl-bundle --filter=certificates --comment $d/openssl/ca-bundle.trust.crt
x --format=pem-bundle --filter=ca-anchors --comment --purpose server-auth $d/pem/tls-ca-bundle.pem
x --format=pem-bundle --filter=ca-anchors --comment --purpose email $d/pem/email-ca-bundle.pem
x --format=pem-bundle --filter=ca-anchors --comment --purpose code-signing $d/pem/objsign-ca-bundle.pem
x --format=java-cacerts --filter=ca-anchors --purpose server-auth $d/java/cacerts
`

// ownPackages are those that no Debian package is made into.
func ownPackages(arch string, key []byte) []RPM {
	fs := RPM{Name: "filesystem", Version: "3.16", Release: "5.el9", Arch: arch, Requires: []string{"setup"},
		Provides: []string{"filesystem(unmerged-sbin-symlinks)"}}
	for _, d := range []string{"bin", "sbin", "lib", "lib64"} {
		fs.Files = append(fs.Files, Symlink("/"+d, "usr/"+d), Dir("/usr/"+d))
	}
	for _, d := range []string{"/boot", "/dev", "/etc", "/etc/opt", "/home", "/media", "/mnt", "/opt", "/run", "/srv", "/usr", "/usr/include", "/usr/libexec",
		"/usr/local", "/usr/local/bin", "/usr/local/sbin", "/usr/share", "/usr/src", "/var", "/var/cache", "/var/lib", "/var/log", "/var/opt", "/var/spool"} {
		fs.Files = append(fs.Files, Dir(d))
	}
	mode := func(p string, mode uint32) File {
		f := Dir(p)
		f.Mode = rpmfile.ModeDir | mode
		return f
	}
	fs.Files = append(fs.Files, mode("/root", 0o550), mode("/tmp", 0o1777), mode("/var/tmp", 0o1777), mode("/proc", 0o555), mode("/sys", 0o555),
		Symlink("/var/run", "../run"), Symlink("/var/lock", "../run/lock"))

	release := RPM{Name: "centos-stream-release", Version: "9.0", Release: "26.el9", Provides: []string{"centos-release = 9.0-26.el9", "system-release = 9.0-26.el9", "system-release(releasever) = 9", "redhat-release = 9.0-26.el9"},
		Requires: []string{"filesystem", "centos-stream-repos = 9.0-26.el9"}, Files: []File{
			Regular("/usr/lib/os-release", "NAME=\"CentOS Stream\"\nVERSION=\"9\"\nID=\"centos\"\nID_LIKE=\"rhel fedora\"\nVERSION_ID=\"9\"\nPLATFORM_ID=\"platform:el9\"\nPRETTY_NAME=\"CentOS Stream 9\"\nCPE_NAME=\"cpe:/o:centos:centos:9\"\n"),
			Symlink("/etc/os-release", "../usr/lib/os-release"), Regular("/etc/centos-release", "CentOS Stream release 9\n"),
			Symlink("/etc/redhat-release", "centos-release"), Symlink("/etc/system-release", "centos-release"),
		}}
	conf := Regular("/etc/yum.repos.d/centos.repo", "[baseos]\nname=CentOS Stream 9 - BaseOS\nmetalink=https://mirrors.example.test/metalink?repo=centos-baseos-$stream&arch=$basearch\ngpgcheck=1\ngpgkey=file:///etc/pki/rpm-gpg/RPM-GPG-KEY-centosofficial\nenabled=1\n")
	conf.Flags = rpmfile.FlagConfig | rpmfile.FlagNoReplace
	repos := RPM{Name: "centos-stream-repos", Version: "9.0", Release: "26.el9", Requires: []string{"filesystem", "centos-gpg-keys"},
		Files: []File{conf, Dir("/etc/yum.repos.d"), Regular("/etc/dnf/vars/stream", "9-stream\n")}}
	keys := RPM{Name: "centos-gpg-keys", Version: "9.0", Release: "26.el9", Requires: []string{"filesystem"},
		Files: []File{Dir("/etc/pki/rpm-gpg"), Regular("/etc/pki/rpm-gpg/RPM-GPG-KEY-centosofficial", string(key)),
			Regular("/etc/pki/rpm-gpg/RPM-GPG-KEY-CentOS-SIG-Extras-SHA512", string(key))}}
	return []RPM{fs, release, repos, keys, fixture(arch),
		{Name: "yum", Version: "4.14.0", Release: "1.el9", Requires: []string{"dnf"}, Files: []File{Symlink("/usr/bin/yum", "dnf-3")}},
		{Name: "glibc-minimal-langpack", Version: "2.34", Release: "1.el9", Arch: arch, Requires: []string{"glibc-common"}},
		{Name: "rootfiles", Version: "8.1", Release: "34.el9", Requires: []string{"filesystem"}, Files: []File{Regular("/root/.bashrc", "alias ll='ls -l'\n")}},
		{Name: "basesystem", Version: "11", Release: "13.el9", Requires: []string{"setup", "filesystem"}},
		{Name: "leaf", Version: "1.0", Release: "1.el9", Requires: []string{"bash"}, Files: []File{Regular("/usr/share/leaf", "1.0\n")}}}
}

// fixture has one of everything that a file, an owner or a script can be.
func fixture(arch string) RPM {
	file := func(p string, mode uint32, f func(*File)) File {
		g := Regular(p, p+"\n")
		g.Mode = mode
		if f != nil {
			f(&g)
		}
		return g
	}
	return RPM{Name: "fixture", Version: "1.0", Release: "1.el9", Arch: arch, Requires: []string{"bash", "coreutils", "(leaf if curl)", "shadow-utils", "post: coreutils"},
		Pre: "getent group fixture >/dev/null || groupadd -r -g 970 fixture\n" +
			"getent passwd fixture >/dev/null || useradd -r -u 970 -g fixture -d / -s /sbin/nologin fixture\n",
		Post:      "cp /usr/share/fixture/data /etc/fixture/made-by-post\n",
		PostTrans: "<lua>\nlocal f = io.open('/etc/fixture/made-by-lua', 'w'); f:write(_VERSION .. '\\n'); f:close()\n",
		Files: []File{
			Dir("/etc/fixture"), Dir("/usr/share/fixture"), Dir("/usr/share/fixture/empty"),
			file("/usr/share/fixture/data", rpmfile.ModeRegular|0o644, nil),
			file("/etc/fixture/conf", rpmfile.ModeRegular|0o600, func(f *File) { f.Flags = rpmfile.FlagConfig | rpmfile.FlagNoReplace }),
			file("/usr/bin/fixture-suid", rpmfile.ModeRegular|0o4755, nil),
			file("/usr/bin/fixture-sgid", rpmfile.ModeRegular|0o2755, func(f *File) { f.Group = "fixture" }),
			file("/usr/bin/fixture-caps", rpmfile.ModeRegular|0o755, func(f *File) { f.Caps = "cap_net_admin,cap_net_raw=ep" }),
			file("/usr/share/fixture/owned", rpmfile.ModeRegular|0o640, func(f *File) { f.User, f.Group = "fixture", "fixture" }),
			file("/var/log/fixture.log", rpmfile.ModeRegular|0o644, func(f *File) { f.Flags, f.Data = rpmfile.FlagGhost, nil }),
			file("/usr/share/fixture/hard-1", rpmfile.ModeRegular|0o644, func(f *File) { f.Inode, f.Data = 1, []byte("hard\n") }),
			file("/usr/share/fixture/hard-2", rpmfile.ModeRegular|0o644, func(f *File) { f.Inode, f.Data = 1, []byte("hard\n") }),
			Symlink("/usr/share/fixture/link", "data"), Symlink("/usr/share/fixture/absolute", "/etc/fixture/conf"),
		}}
}
