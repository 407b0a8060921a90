package rpmrepo

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cfbuild/cfbuild/internal/rpmfile"
	"github.com/cfbuild/cfbuild/internal/testneed"
)

// packages are the Debian packages that every distribution has.
var packages = []string{
	"bash", "dash", "coreutils", "grep", "sed", "mawk", "findutils", "diffutils", "gzip", "xz-utils", "tar", "util-linux",
	"login", "passwd", "base-passwd", "libc-bin", "hostname", "procps", "tzdata", "rpm", "dnf", "gpg", "ca-certificates", "p11-kit", "p11-kit-modules",
	"python3-minimal", "libpython3.11", "libfsverity0",
}

// left out of the distribution: what only Debian needs, and perl, which nothing here
// runs.
var leftOut = []string{"debconf", "dpkg", "perl-base", "perl", "perl-modules-5.36", "libperl5.36", "liberror-perl", "install-info", "base-files",
	"init-system-helpers", "debianutils", "sensible-utils", "media-types", "mailcap", "usrmerge", "usr-is-merged", "apt", "adduser", "gcc-12-base",
	"debugedit", "elfutils", "rpm2cpio", "distro-info-data", "libc-l10n", "locales"}

// renamed: Debian's names to CentOS's.
var renamed = map[string]string{"libc6": "glibc", "libc-bin": "glibc-common", "base-passwd": "setup", "passwd": "shadow-utils", "xz-utils": "xz",
	"libpam-runtime": "pam", "procps": "procps-ng", "libssl3": "openssl-libs", "zlib1g": "zlib", "p11-kit-modules": "p11-kit-trust", "gpg": "gnupg2"}

func rename(name string) string {
	if to, ok := renamed[name]; ok {
		return to
	}
	return name
}

// debArch of an RPM architecture.
func debArch(arch string) string {
	return map[string]string{"x86_64": "amd64", "aarch64": "arm64"}[arch]
}

// download fetches the packages and what they depend on with apt, into a state of
// its own, and gives the files.
func download(t testing.TB, tmp, arch string, names []string) []string {
	t.Helper()
	apt := filepath.Join(tmp, "apt")
	for _, d := range []string{"state/lists/partial", "cache/archives/partial"} {
		if err := os.MkdirAll(filepath.Join(apt, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	status := filepath.Join(apt, "status")
	deb := debArch(arch)
	put(t, status, nil)
	put(t, filepath.Join(apt, "apt.conf"), []byte(`
Dir::State "`+apt+`/state";
Dir::State::status "`+status+`";
Dir::Cache "`+apt+`/cache";
APT::Architecture "`+deb+`";
APT::Architectures "`+deb+`";
APT::Install-Recommends "false";
APT::Sandbox::User "";
Acquire::Languages "none";
Acquire::Retries "3";
`))
	for _, args := range [][]string{{"-q", "update"}, append([]string{"-qy", "--download-only", "install"}, names...)} {
		cmd := exec.Command(testneed.Program(t, "apt-get"), args...)
		cmd.Env = append(os.Environ(), "APT_CONFIG="+filepath.Join(apt, "apt.conf"), "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C.UTF-8")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("apt-get %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
	debs, err := filepath.Glob(filepath.Join(apt, "cache/archives/*.deb"))
	if err != nil || len(debs) == 0 {
		t.Fatalf("apt-get downloaded nothing: %v", err)
	}
	return debs
}

// deb is what of a Debian package goes into one of ours.
type deb struct {
	name, version, arch string
	depends, provides   []string
	files               []File
	dirs                map[string]uint32
}

// convert gives the packages of the distribution, one by one.
func convert(t testing.TB, tmp, arch string, extra []string, give func(RPM), key *Key) {
	t.Helper()
	var debs []deb
	provider := map[string]string{}
	for _, file := range download(t, tmp, arch, append(slices.Clone(packages), extra...)) {
		d := readDeb(t, file)
		if slices.Contains(leftOut, d.name) {
			continue
		}
		for _, p := range d.provides {
			provider[p] = d.name
		}
		debs = append(debs, d)
	}
	if err := os.RemoveAll(filepath.Join(tmp, "apt")); err != nil {
		t.Fatal(err)
	}
	for _, d := range debs {
		provider[d.name] = d.name
	}
	owner, dirs := map[string]bool{}, map[string]uint32{}
	put(t, filepath.Join(tmp, "repo/RPM-GPG-KEY"), key.Public(t))
	own := ownPackages(arch, key.Public(t))
	for _, r := range own {
		for _, f := range r.Files {
			owner[f.Path] = true
		}
	}
	for _, d := range debs {
		r := RPM{Name: rename(d.name), Arch: arch}
		if d.arch == "all" {
			r.Arch = "noarch"
		}
		r.Epoch, r.Version, r.Release = evr(d.version)
		r.Requires = []string{"filesystem"}
		for _, dep := range d.depends {
			for _, alternative := range strings.Split(dep, "|") {
				name := strings.Fields(strings.NewReplacer("(", " (", ":any", "").Replace(alternative))[0]
				if p, ok := provider[name]; ok && p != d.name {
					if p = rename(p); !slices.Contains(r.Requires, p) {
						r.Requires = append(r.Requires, p)
					}
					break
				}
			}
		}
		for p, mode := range d.dirs {
			dirs[p] = mode
		}
		for _, f := range d.files {
			if !owner[f.Path] {
				owner[f.Path] = true
				r.Files = append(r.Files, f)
			}
		}
		adapt(&r)
		for _, f := range r.Files {
			owner[f.Path] = true
		}
		give(r)
	}
	for _, r := range own {
		if r.Name == "filesystem" {
			for p, mode := range dirs {
				if !owner[p] {
					f := Dir(p)
					f.Mode = rpmfile.ModeDir | mode
					r.Files = append(r.Files, f)
				}
			}
		}
		give(r)
	}
}

// evr makes a version of Debian's into one of RPM's.
func evr(v string) (epoch uint32, version, release string) {
	if e, rest, ok := strings.Cut(v, ":"); ok {
		for _, c := range e {
			epoch = epoch*10 + uint32(c-'0')
		}
		v = rest
	}
	version, release = v, "1"
	if i := strings.LastIndexByte(v, '-'); i > 0 {
		version, release = v[:i], v[i+1:]
	}
	return epoch, strings.ReplaceAll(version, "-", "."), release + ".el9"
}

// readDeb takes a package apart, with /usr merged and without documents.
func readDeb(t testing.TB, file string) deb {
	t.Helper()
	out := func(args ...string) []byte {
		cmd := exec.Command(testneed.Program(t, "dpkg-deb"), append(args, file)...)
		b, err := cmd.Output()
		if err != nil {
			t.Fatalf("dpkg-deb %s: %v", file, err)
		}
		return b
	}
	d := deb{dirs: map[string]uint32{}}
	for line := range strings.Lines(string(out("-f"))) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
		switch key {
		case "Package":
			d.name = value
		case "Version":
			d.version = value
		case "Architecture":
			d.arch = value
		case "Depends", "Pre-Depends":
			d.depends = append(d.depends, strings.Split(value, ", ")...)
		case "Provides":
			for _, p := range strings.Split(value, ", ") {
				d.provides = append(d.provides, strings.Fields(p)[0])
			}
		}
	}
	tr := tar.NewReader(bytes.NewReader(out("--fsys-tarfile")))
	byPath := map[string]int{}
	for {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return d
		}
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		p := merged(h.Name)
		if p == "/" || unwanted(p) {
			continue
		}
		f := File{File: rpmfile.File{Path: p, Mode: uint32(h.Mode & 0o7777), User: h.Uname, Group: h.Gname, MTime: h.ModTime.Unix()}}
		switch h.Typeflag {
		case tar.TypeDir:
			d.dirs[p] = f.Mode
			continue
		case tar.TypeSymlink:
			f.Mode, f.Link = rpmfile.ModeLink|0o777, mergedLink(p, h.Linkname)
		case tar.TypeLink:
			// A hard link: a copy here; the fixture package has real ones.
			i := byPath[merged(h.Linkname)]
			f.Mode, f.Data = d.files[i].Mode, d.files[i].Data
		default:
			f.Mode |= rpmfile.ModeRegular
			if f.Data, err = io.ReadAll(tr); err != nil {
				t.Fatalf("%s: %v", file, err)
			}
		}
		if strings.HasPrefix(p, "/etc/") && f.Link == "" {
			f.Flags = rpmfile.FlagConfig | rpmfile.FlagNoReplace
		}
		byPath[p] = len(d.files)
		d.files = append(d.files, f)
	}
}

// merged is where a path is once /usr is merged.
func merged(name string) string {
	p := filepath.Clean("/" + name)
	for _, top := range []string{"/bin", "/sbin", "/lib", "/lib64"} {
		if p == top || strings.HasPrefix(p, top+"/") {
			return "/usr" + p
		}
	}
	return p
}

// mergedLink keeps links right in files that moved a level down.
func mergedLink(at, to string) string {
	if filepath.IsAbs(to) {
		return merged(to)
	}
	return to
}

func unwanted(p string) bool {
	for _, dir := range []string{"/usr/share/doc", "/usr/share/man", "/usr/share/info", "/usr/share/locale", "/usr/share/lintian", "/usr/share/bug",
		"/usr/share/doc-base", "/usr/share/gdb", "/usr/lib/systemd", "/etc/init.d", "/etc/default", "/etc/cron.daily", "/usr/share/bash-completion"} {
		if p == dir || strings.HasPrefix(p, dir+"/") {
			return true
		}
	}
	return false
}
