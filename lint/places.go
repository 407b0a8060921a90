package lint

import (
	"path"
	"slices"
	"strings"
)

// boundDirs are where clusters and users bind directories over an image's own
// (NCCS 2.4, 3.1, 4.2).
var boundDirs = []string{"/home", "/tmp", "/var/tmp", "/scratch", "/att", "/nobackup", "/lscratch", "/gpfs", "/lustre", "/discover"}

// boundDir is the directory that hides a path, "" for none.
func boundDir(p string) string {
	for _, d := range boundDirs {
		if p != d && below(p, d) && strings.HasPrefix(p, "/") {
			return d
		}
	}
	return ""
}

// boundTop is what lies directly in a directory that is bound over: /home/app for
// /home/app/bin/run.
func boundTop(p string) string {
	dir := boundDir(p)
	first, _, _ := strings.Cut(strings.TrimPrefix(path.Clean(p), dir+"/"), "/")
	return dir + "/" + first
}

// systemPath says whether a path is the system's and not a user's data.
func systemPath(p string) bool {
	return slices.ContainsFunc([]string{"/usr", "/etc", "/bin", "/sbin", "/lib", "/lib64", "/lib32", "/boot", "/root", "/opt", "/var/lib/dpkg", "/var/lib/rpm", "/var/lib/apt"},
		func(d string) bool { return below(p, d) })
}

// programDirs are those of PATH.
var programDirs = []string{"/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"}

// merged gives a path with /bin, /sbin and /lib moved below /usr.
func merged(p string) string {
	for _, d := range []string{"/bin/", "/sbin/", "/lib/", "/lib64/"} {
		if strings.HasPrefix(p, d) {
			return "/usr" + p
		}
	}
	return p
}

// needless are programs by what they are for; packages of the same names count too.
var needless = map[string]string{
	"sudo": "gives root to users", "doas": "gives root to users", "pkexec": "gives root to users",
	"ssh": "NCCS 2.8: no SSH in images", "sshd": "NCCS 2.8: no SSH in images",
	"netcat": "opens connections and reverse shells", "socat": "opens connections and reverse shells",
	"telnet": "a login without encryption", "rsh": "a login without encryption", "ftp": "logins without encryption",
	"tcpdump": "listens to the network", "tshark": "listens to the network", "nmap": "scans networks",
	"strace": "traces processes", "ltrace": "traces processes", "bpftrace": "traces processes", "perf": "traces processes",
	"gdb": "debugs processes", "gdbserver": "debugs processes",
}

// toolNames maps the names of programs to tools.
var toolNames = map[string]string{
	"nc": "netcat", "nc.openbsd": "netcat", "nc.traditional": "netcat", "ncat": "netcat", "netcat": "netcat", "scp": "ssh", "sftp": "ssh",
	"rlogin": "rsh", "telnet.netkit": "telnet", "inetutils-telnet": "telnet", "dumpcap": "tshark", "wireshark": "tshark", "visudo": "sudo",
}

// packageTools maps the names of packages to tools.
var packageTools = map[string]string{
	"openssh-server": "sshd", "openssh-client": "ssh", "openssh-clients": "ssh", "openssh": "ssh", "ssh": "ssh",
	"netcat-openbsd": "netcat", "netcat-traditional": "netcat", "nmap-ncat": "netcat", "ncat": "netcat", "nc": "netcat",
	"opendoas": "doas", "policykit-1": "pkexec", "polkit": "pkexec", "inetutils-telnet": "telnet", "wireshark": "tshark",
}

func toolOf(program string) string {
	name := path.Base(program)
	if t := toolNames[name]; t != "" {
		return t
	}
	if _, ok := needless[name]; ok {
		return name
	}
	return ""
}

func toolOfPackage(name string) string {
	if t := packageTools[name]; t != "" {
		return t
	}
	if _, ok := needless[name]; ok {
		return name
	}
	return ""
}

func whyNeedless(tool string) string { return needless[tool] }

// setuids are the programs that distributions ship setuid or setgid, by their
// merged path: shadow, util-linux, PAM, fuse, cron, at, mail locks, D-Bus, OpenSSH,
// Alpine's bbsuid, Red Hat's grub2.
var setuids = []string{
	"/usr/bin/su", "/usr/bin/mount", "/usr/bin/umount", "/usr/bin/passwd", "/usr/bin/chsh", "/usr/bin/chfn", "/usr/bin/gpasswd",
	"/usr/bin/newgrp", "/usr/bin/sg", "/usr/bin/chage", "/usr/bin/expiry", "/usr/bin/wall", "/usr/bin/write", "/usr/bin/write.ul", "/usr/bin/bsd-write",
	"/usr/bin/fusermount", "/usr/bin/fusermount3", "/usr/bin/newuidmap", "/usr/bin/newgidmap", "/usr/bin/ping", "/usr/bin/ping6",
	"/usr/bin/at", "/usr/bin/crontab", "/usr/bin/ssh-agent", "/usr/bin/dotlockfile", "/usr/bin/mlocate", "/usr/bin/plocate", "/usr/bin/locate",
	"/usr/bin/ksu", "/usr/bin/bbsuid", "/usr/bin/mail-lock", "/usr/bin/mail-unlock", "/usr/bin/mail-touchlock",
	"/usr/sbin/unix_chkpwd", "/usr/sbin/unix2_chkpwd", "/usr/sbin/pam_timestamp_check", "/usr/sbin/pam_extrausers_chkpwd", "/usr/sbin/mount.nfs", "/usr/sbin/mount.cifs",
	"/usr/sbin/grub2-set-bootflag", "/usr/sbin/usernetctl", "/usr/sbin/userhelper", "/usr/sbin/lockdev", "/usr/sbin/sendmail.sendmail", "/usr/sbin/postdrop", "/usr/sbin/postqueue",
	"/usr/lib/dbus-1.0/dbus-daemon-launch-helper", "/usr/libexec/dbus-1/dbus-daemon-launch-helper", "/usr/lib/dbus-1/dbus-daemon-launch-helper",
	"/usr/lib/openssh/ssh-keysign", "/usr/libexec/openssh/ssh-keysign", "/usr/lib/ssh/ssh-keysign", "/usr/libexec/utempter/utempter", "/usr/lib/utempter/utempter",
	"/usr/lib/polkit-1/polkit-agent-helper-1", "/usr/libexec/camel-lock-helper-1.2",
}

// capables are the programs that distributions ship with file capabilities.
var capables = []string{
	"/usr/bin/ping", "/usr/bin/ping4", "/usr/bin/ping6", "/usr/bin/arping", "/usr/bin/clockdiff", "/usr/bin/newuidmap", "/usr/bin/newgidmap", "/usr/bin/mtr-packet",
	"/usr/sbin/arping", "/usr/sbin/clockdiff", "/usr/bin/systemd-detect-virt", "/usr/libexec/gstreamer-1.0/gst-ptp-helper", "/usr/sbin/suexec", "/usr/bin/fping",
}

// shipped says whether a path is in a list; libraries' directories of an
// architecture (/usr/lib/x86_64-linux-gnu) do not count.
func shipped(p string, list []string) bool {
	p = merged(p)
	if slices.Contains(list, p) {
		return true
	}
	if rest, ok := strings.CutPrefix(p, "/usr/lib/"); ok {
		if triplet, rest, ok := strings.Cut(rest, "/"); ok && strings.Contains(triplet, "-linux-") {
			return slices.Contains(list, "/usr/lib/"+rest)
		}
	}
	return false
}

// cacheOf names the cache of a package manager that a file belongs to: the
// directory that is to be cleaned, "" for none.
func cacheOf(p string) string {
	for _, d := range []string{"/var/cache/dnf", "/var/cache/yum", "/var/cache/libdnf5", "/var/cache/zypp", "/var/cache/apk", "/etc/apk/cache", "/var/cache/pacman/pkg", "/var/cache/microdnf", "/var/cache/PackageKit"} {
		if p != d && below(p, d) {
			return d
		}
	}
	dir, base := path.Split(p)
	switch {
	case below(p, "/var/lib/apt/lists"):
		if base != "lock" {
			return "/var/lib/apt/lists"
		}
		return ""
	case below(p, "/var/cache/apt"):
		if strings.HasSuffix(base, ".deb") || strings.HasSuffix(base, ".bin") {
			return "/var/cache/apt"
		}
		return ""
	}
	for _, mark := range []string{"/.cache/pip/", "/.cache/uv/", "/.cache/yarn/", "/.npm/_cacache/", "/.cache/go-build/", "/.cpan/build/", "/.cpan/sources/", "/.cargo/registry/cache/", "/.m2/repository/", "/.cache/conda/"} {
		if i := strings.Index(p, mark); i >= 0 {
			return p[:i+len(mark)-1]
		}
	}
	if i := strings.Index(dir, "/pkgs/"); i >= 0 {
		root := p[:i+len("/pkgs")]
		if strings.Contains(p[:i], "conda") || strings.Contains(p[:i], "mamba") || strings.HasSuffix(base, ".conda") {
			return root
		}
	}
	return ""
}

// startUpFile says whether shells read a file when they start.
func startUpFile(p string) bool {
	dir, base := path.Split(p)
	return p == "/etc/environment" || p == "/etc/profile" || p == "/etc/bash.bashrc" || p == "/etc/bashrc" || dir == "/etc/profile.d/" ||
		slices.Contains([]string{".bashrc", ".bash_profile", ".profile", ".zshrc", ".cshrc", ".bash_login"}, base) && !below(p, "/etc/skel")
}
