//go:build containers_image_openpgp && exclude_graphdriver_btrfs

package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cfbuild/cfbuild/bootstrap"
	"github.com/cfbuild/cfbuild/bootstrap/apk"
	"github.com/cfbuild/cfbuild/bootstrap/deb"
	"github.com/cfbuild/cfbuild/bootstrap/rpm"
	"github.com/cfbuild/cfbuild/builders"
	"github.com/cfbuild/cfbuild/builders/apptainer"
	"github.com/cfbuild/cfbuild/builders/buildah"
	"github.com/cfbuild/cfbuild/builders/buildkit"
	"github.com/cfbuild/cfbuild/cmd/cli"
	"github.com/cfbuild/cfbuild/internal/testneed"
	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/cfbuild/cfbuild/publishers/oci"
	"github.com/cfbuild/cfbuild/recipes"
	"github.com/cfbuild/cfbuild/recipes/debian"
	"github.com/cfbuild/cfbuild/site"
)

// asProgram in the environment makes the test binary the program under test: the
// built-in targets and those of the tests.
const asProgram = "CFBUILD_TEST_AS_PROGRAM"

// endToEnd is the composition root of the tests.
func endToEnd() cli.App {
	return cli.App{
		Pipeline: func(s site.Site) pipelines.Pipeline {
			p := recipes.Pipeline(s)
			withTests(&p, s)
			add := func(name string, build func(pipelines.Platform) pipelines.Image) {
				p.Targets = append(p.Targets, pipelines.Target{Name: name, Build: build})
			}
			p.Targets = append(p.Targets, alpineTargets(s)...)
			add("fails", func(p pipelines.Platform) pipelines.Image {
				return debian.Debian12(s, p).Then(pipelines.Run{Shell: "echo about to fail\nexit 42"})
			})
			add("files", func(p pipelines.Platform) pipelines.Image {
				return pipelines.From(p, pipelines.Scratch{}).Then(pipelines.File{Path: "/etc/motd", Data: []byte("hello\n")}, pipelines.Configure{User: "1"})
			})
			add("hangs", func(p pipelines.Platform) pipelines.Image {
				return debian.Debian12(s, p).Then(pipelines.Run{Shell: "echo hanging here; sleep 987654 & sleep 987654"})
			})
			add("late", func(p pipelines.Platform) pipelines.Image {
				return debian.Debian12(s, p).Then(pipelines.Run{Shell: "sleep 987654", Timeout: 500 * time.Millisecond})
			})
			add("debian12-unpatched", func(p pipelines.Platform) pipelines.Image {
				return pipelines.From(p, pipelines.Bootstrap{Method: "deb", Sources: []pipelines.PackageSource{{Repository: "debian", Suite: "bookworm"}}}).
					Then(pipelines.Configure{Cmd: []string{"bash"}})
			})
			add("ubuntu24.04-account", func(p pipelines.Platform) pipelines.Image {
				return debian.New(debian.Options{Suite: "noble"})(s, p).Then(pipelines.Run{Shell: "useradd --create-home --uid 1000 ubuntu"})
			})
			add("missing", func(p pipelines.Platform) pipelines.Image {
				return debian.New(debian.Options{Suite: "bookworm", Include: []string{"coreutilz"}})(s, p)
			})
			p.Targets = append(p.Targets, smallTarget())
			p.Targets = append(p.Targets, caTargets(s)...)
			p.Targets = append(p.Targets, lintTargets(s)...)
			return p
		},
		Backends:      []builders.Backend{buildah.Backend(), buildkit.Backend(), apptainer.Backend()},
		Bootstrappers: []bootstrap.Bootstrapper{deb.New(deb.Options{}), rpm.New(rpm.Options{}), apk.New(apk.Options{})},
		Publisher: func(o cli.PublisherOptions) cli.Publisher {
			return oci.New(oci.Options{Site: o.Site, Credentials: o.Credentials, AuthFile: o.AuthFile, Project: o.Project, TempDir: o.TempDir})
		},
	}
}

// withTests adds debian12 under other names, with image tests of its own: such as run
// nothing, with commands too, and such as it does not pass.
func withTests(p *pipelines.Pipeline, s site.Site) {
	native := pipelines.Tests(
		pipelines.TestPlatform{},
		pipelines.TestPackage{Name: "libc6", Version: "2.36-*"},
		pipelines.TestPackage{Name: "curl", Absent: true},
		pipelines.TestUser{Name: "www-data", UID: "33", Shell: "/usr/sbin/nologin"},
		pipelines.TestFile{Path: "/bin", Link: "usr/bin"},
		pipelines.TestFile{Path: "/bin/su", Mode: 0o4755, Owner: "0:0"},
		pipelines.TestFile{Path: "/etc/os-release", Contains: []string{"VERSION_CODENAME=bookworm"}},
	)
	build := func(pf pipelines.Platform) pipelines.Image { return debian.Debian12(s, pf) }
	p.Targets = append(p.Targets, pipelines.Target{Name: "debian12-native", Build: build, Tests: native},
		pipelines.Target{Name: "debian12-tests", Build: build, Tests: append(native, pipelines.Tests(
			pipelines.TestCommand{Name: "architecture", Shell: "uname -m; dpkg --print-architecture; touch /written", Output: []string{"64\na"}},
			pipelines.TestCommand{Args: []string{"test", "!", "-e", "/written"}},
			pipelines.TestCommand{Name: "packages are whole", Shell: "dpkg --audit; dpkg --verify"},
			pipelines.TestCommand{Shell: "exit 3", ExitCode: 3})...)},
		pipelines.Target{Name: "debian12-wanting", Build: build, Tests: pipelines.Tests(
			pipelines.TestCommand{Name: "finds nothing", Args: []string{"grep", "bookworm", "/etc/passwd"}})})
}

// world is a place to run the program in: a state and an output directory, as root
// or as an ordinary user.
type world struct {
	t    *testing.T
	dir  string // work directory, owned by the user
	bin  string
	user *testneed.Account // nil: whoever runs the test
	// hideBinfmt runs without the machine's emulator registrations in sight.
	hideBinfmt bool
	env        []string // more of the environment
	wrap       []string // a command in front of the program
}

func newWorld(t *testing.T, user *testneed.Account) *world {
	t.Helper()
	if _, err := os.Stat("/etc/apt"); err != nil {
		testneed.Skip(t, "this machine has no package mirror of Debian's")
	}
	// Not t.TempDir: another user has to get in, and layers of other owners are
	// taken away by the program's own means.
	dir, err := os.MkdirTemp("", "cfbuild-e2e-")
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, dir: dir, user: user, bin: filepath.Join(dir, "program")}
	t.Cleanup(func() {
		w.start("cache", "prune", "--all").Run()
		os.RemoveAll(dir)
	})
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := copyFile(self, w.bin); err != nil {
		t.Fatal(err)
	}
	if user != nil && os.Geteuid() == 0 {
		if err := os.Chown(dir, user.UID, user.GID); err != nil {
			t.Fatal(err)
		}
	}
	return w
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o755)
	if err != nil {
		return err
	}
	if _, err := io.Copy(out, in); err != nil {
		return err
	}
	return out.Close()
}

// start gives the command; it is not running yet.
func (w *world) start(args ...string) *exec.Cmd {
	argv := append([]string{w.bin}, args...)
	if w.user != nil && os.Geteuid() == 0 {
		argv = append([]string{"setpriv", "--reuid", strconv.Itoa(w.user.UID), "--regid", strconv.Itoa(w.user.GID), "--init-groups"}, argv...)
	}
	if w.hideBinfmt {
		argv = append([]string{"unshare", "-m", "sh", "-c", `umount /proc/sys/fs/binfmt_misc; exec "$@"`, "sh"}, argv...)
	}
	argv = append(w.wrap[:len(w.wrap):len(w.wrap)], argv...)
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Dir = w.dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + w.dir, asProgram + "=1", "CFBUILD_STATE_DIR=" + filepath.Join(w.dir, "state"), "TMPDIR=" + w.dir}
	cmd.Env = append(cmd.Env, w.env...)
	return cmd
}

// report is the --json form of a run.
type report struct {
	Artifacts []struct {
		Job, Digest string
		Platform    string
		Cached      bool
	}
	Tests []struct {
		Platform string
		Cached   bool
		Results  []struct{ Name, Outcome string }
	}
	Receipts []struct {
		Ref, Digest, MediaType string
		Tags                   []string
		Pushed                 int64 `json:"pushed_bytes"`
		Skipped                bool
	}
}

func (r report) digests() map[string]string {
	out := map[string]string{}
	for _, a := range r.Artifacts {
		out[a.Job] = a.Digest
	}
	return out
}

// try runs the program and gives what it printed and its exit code.
func (w *world) try(args ...string) (rep report, stderr string, code int) {
	w.t.Helper()
	cmd := w.start(args...)
	var o, e bytes.Buffer
	cmd.Stdout, cmd.Stderr = &o, &e
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		w.t.Fatal(err)
	}
	_ = json.Unmarshal(o.Bytes(), &rep) // a failed run may have none
	return rep, e.String(), cmd.ProcessState.ExitCode()
}

// run is "cfbuild run" with what all tests want; it has to succeed.
func (w *world) run(target string, args ...string) report {
	w.t.Helper()
	if !slices.Contains(args, "--site") {
		args = append(args, "--site", frozenSite(w.t))
	}
	rep, stderr, code := w.try(append([]string{"run", target, "--json", "--progress", "plain"}, args...)...)
	if code != 0 || len(rep.Artifacts) == 0 {
		w.t.Fatalf("run %s %s: exit code %d, %d artifacts\n%s", target, strings.Join(args, " "), code, len(rep.Artifacts), stderr[max(0, len(stderr)-4000):])
	}
	return rep
}
