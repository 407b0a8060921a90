package resolve_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cfbuild/cfbuild/bootstrap/deb/archive"
	"github.com/cfbuild/cfbuild/bootstrap/deb/archivetest"
	"github.com/cfbuild/cfbuild/bootstrap/deb/resolve"
	"github.com/cfbuild/cfbuild/internal/testneed"
	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/cfbuild/cfbuild/site"
)

// TestSameAsApt compares with apt on the same mirror, asked in the two steps that
// mmdebstrap takes. There are no known differences in these sets. What apt does
// and this package does not, should one show up:
//
//   - apt scores and repairs a set that turned out broken; here that is an error;
//   - of providers that are equal in everything, apt takes the one its cache
//     numbered last, which depends on the order of all packages and dependencies;
//     here it is the one that its index lists last.
func TestSameAsApt(t *testing.T) {
	testneed.Program(t, "apt-get")
	st := archivetest.Machine(t)
	h, err := archive.HTTPFor(st)
	if err != nil {
		t.Fatal(err)
	}
	c := &archive.Client{HTTP: h, CacheDir: t.TempDir()}
	include := []string{"ca-certificates", "python3-minimal", "openssh-client"}
	for _, suite := range []string{"bullseye", "bookworm", "trixie"} {
		for _, arch := range []string{"amd64", "arm64"} {
			t.Run(suite+"/"+arch, func(t *testing.T) {
				t.Parallel()
				srcs := archivetest.Debian(suite)
				_, pkgs, err := c.Load(t.Context(), srcs, st, arch, time.Now(), nil)
				if err != nil {
					t.Fatal(err)
				}
				a := newApt(t, srcs, st, arch)
				essential := a.narrow(suite, "?essential")
				modes := []bool{false}
				if suite == "bookworm" {
					modes = []bool{true}
					if arch == "amd64" {
						modes = []bool{false, true}
					}
				}
				for _, merged := range modes {
					var more []string
					if merged {
						more = []string{"usr-is-merged"}
					}
					first := a.install("", append(more, essential)...)
					installed := a.status(first)
					both := func(args ...string) []string {
						return union(first, a.install(installed, append(args, more...)...))
					}
					want := map[string][]string{
						"essential": first,
						"apt":       both("apt"),
						"minbase":   both(a.narrow(suite, "?and(?priority(required),?not(?essential))"), "apt"),
						"standard":  both(a.narrow(suite, "?and(?or(~prequired,~pimportant,~pstandard),?not(?essential))"), "apt"),
					}
					for variant, w := range want {
						compare(t, fmt.Sprintf("%s, merged %v", variant, merged), pkgs, resolve.Options{Arch: arch, Variant: variant, MergedUsr: merged}, w)
					}
					if arch != "amd64" {
						continue
					}
					compare(t, fmt.Sprintf("include, merged %v", merged), pkgs,
						resolve.Options{Arch: arch, Variant: "minbase", Include: include, MergedUsr: merged},
						both(append(slices.Clone(include), a.narrow(suite, "?and(?priority(required),?not(?essential))"), "apt")...))
				}
				if suite != "bookworm" || arch != "amd64" {
					return
				}
				// apt's own idea of essential and apt, in one step.
				compare(t, "dist-upgrade", pkgs, resolve.Options{Arch: arch, Variant: "apt"}, a.run("", "dist-upgrade",
					"-opkgCacheGen::ForceEssential=apt", "-oDir::Cache::pkgcache=", "-oDir::Cache::srcpkgcache="))
			})
		}
	}
}

func compare(t *testing.T, what string, pkgs []*archive.Package, o resolve.Options, want []string) {
	t.Helper()
	chosen, err := resolve.Resolve(pkgs, o)
	if err != nil {
		t.Errorf("%s: %v", what, err)
		return
	}
	var got []string
	for _, c := range chosen {
		got = append(got, c.String())
	}
	var diff []string
	for _, p := range got {
		if !slices.Contains(want, p) {
			diff = append(diff, "+"+p)
		}
	}
	for _, p := range want {
		if !slices.Contains(got, p) {
			diff = append(diff, "-"+p)
		}
	}
	if len(diff) > 0 || len(want) < 10 {
		t.Errorf("%s: %d packages, apt has %d: %s", what, len(got), len(want), strings.Join(diff, " "))
		return
	}
	t.Logf("%s: %d packages, the same as apt's", what, len(got))
}

func union(a, b []string) []string {
	out := append(slices.Clone(a), b...)
	slices.Sort(out)
	return slices.Compact(out)
}

// apt is apt-get with a directory of its own.
type apt struct {
	t    *testing.T
	dir  string
	arch string
}

// newApt fetches the lists. apt does not count itself as essential, as mmdebstrap
// sets it for all variants but "apt".
func newApt(t *testing.T, srcs []pipelines.PackageSource, st site.Site, arch string) *apt {
	t.Helper()
	a := &apt{t: t, dir: t.TempDir(), arch: arch}
	for _, d := range []string{"etc/apt/preferences.d", "etc/apt/apt.conf.d", "var/lib/apt/lists/partial", "var/cache/apt/archives/partial", "var/lib/dpkg"} {
		if err := os.MkdirAll(filepath.Join(a.dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	var list strings.Builder
	for _, s := range srcs {
		// The lists are read without a check of signatures: package archive
		// checked those of the same mirror.
		fmt.Fprintf(&list, "deb [trusted=yes] %s %s main\n", st.URLs(s.Repository)[0], s.Suite)
	}
	a.write("etc/apt/sources.list", list.String())
	a.write("var/lib/dpkg/status", "")
	a.write("apt.conf", strings.NewReplacer("DIR", a.dir, "ARCH", arch).Replace(`
Dir "DIR";
Dir::Etc "DIR/etc/apt";
Dir::Etc::Parts "DIR/etc/apt/apt.conf.d";
Dir::State::status "DIR/var/lib/dpkg/status";
APT::Architecture "ARCH";
APT::Architectures { "ARCH"; };
APT::Install-Recommends "false";
APT::Sandbox::User "";
Acquire::Languages "none";
Acquire::GzipIndexes "false";
Acquire::Check-Valid-Until "false";
Acquire::AllowInsecureRepositories "true";
Debug::NoLocking "true";
pkgCacheGen::ForceEssential ",";
`))
	a.cmd("update")
	return a
}

func (a *apt) write(name, text string) {
	a.t.Helper()
	if err := os.WriteFile(filepath.Join(a.dir, name), []byte(text), 0o644); err != nil {
		a.t.Fatal(err)
	}
}

func (a *apt) cmd(args ...string) string {
	a.t.Helper()
	cmd := exec.CommandContext(a.t.Context(), "apt-get", args...)
	cmd.Env = append(os.Environ(), "APT_CONFIG="+filepath.Join(a.dir, "apt.conf"), "LC_ALL=C")
	out, err := cmd.CombinedOutput()
	if err != nil {
		a.t.Fatalf("apt-get %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

func (a *apt) narrow(suite, pattern string) string {
	return fmt.Sprintf("?narrow(?or(?archive(^%s$),?codename(^%s$)),?architecture(%s),%s)", suite, suite, a.arch, pattern)
}

// install gives what apt would install on top of a dpkg status.
func (a *apt) install(status string, what ...string) []string {
	a.t.Helper()
	return a.run(status, append([]string{"install"}, what...)...)
}

func (a *apt) run(status string, args ...string) []string {
	a.t.Helper()
	a.write("var/lib/dpkg/status", status)
	var out []string
	for line := range strings.Lines(a.cmd(append([]string{"-s", "-y"}, args...)...)) {
		// Inst NAME (VERSION SOURCE [ARCH])
		if w := strings.Fields(line); len(w) > 2 && w[0] == "Inst" {
			out = append(out, w[1]+"="+strings.TrimPrefix(w[2], "("))
		}
	}
	slices.Sort(out)
	return out
}

// status is a dpkg status in which packages are installed.
func (a *apt) status(pkgs []string) string {
	a.t.Helper()
	var out strings.Builder
	wanted := map[string]bool{}
	for _, p := range pkgs {
		name, _, _ := strings.Cut(p, "=")
		wanted[name] = true
	}
	lists, _ := filepath.Glob(filepath.Join(a.dir, "var/lib/apt/lists/*_Packages"))
	for _, l := range lists {
		data, err := os.ReadFile(l)
		if err != nil {
			a.t.Fatal(err)
		}
		for stanza := range strings.SplitSeq(string(data), "\n\n") {
			first, _, _ := strings.Cut(stanza, "\n")
			if !wanted[strings.TrimPrefix(first, "Package: ")] {
				continue
			}
			var name, version string
			for line := range strings.Lines(stanza) {
				if v, ok := strings.CutPrefix(line, "Package: "); ok {
					name = strings.TrimSpace(v)
				} else if v, ok := strings.CutPrefix(line, "Version: "); ok {
					version = strings.TrimSpace(v)
				}
			}
			if i := slices.Index(pkgs, name+"="+version); i >= 0 {
				out.WriteString(strings.TrimSpace(stanza) + "\nStatus: install ok installed\n\n")
			}
		}
	}
	return out.String()
}
