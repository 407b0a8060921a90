//go:build linux && cgo && containers_image_openpgp && exclude_graphdriver_btrfs

package rpm_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cfbuild/cfbuild/bootstrap"
	"github.com/cfbuild/cfbuild/bootstrap/rpm"
	"github.com/cfbuild/cfbuild/builders"
	"github.com/cfbuild/cfbuild/builders/buildah"
	"github.com/cfbuild/cfbuild/internal/listing"
	"github.com/cfbuild/cfbuild/internal/oci"
	"github.com/cfbuild/cfbuild/internal/testneed"
	"github.com/cfbuild/cfbuild/internal/testrepo/rpmrepo"
	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/cfbuild/cfbuild/pipelines/engine"
	"github.com/cfbuild/cfbuild/site"
)

func TestMain(m *testing.M) {
	if buildah.Child() {
		return
	}
	os.Exit(m.Run())
}

// newEngine gives an engine with the real builder and a state of its own.
func newEngine(t testing.TB, st site.Site, log func(pipelines.Event)) *engine.Engine {
	t.Helper()
	dir, err := os.MkdirTemp("", "cfbuild-rpm-")
	if err != nil {
		t.Fatal(err)
	}
	o := builders.Options{StateDir: filepath.Join(dir, "buildah")}
	t.Cleanup(func() {
		if _, err := buildah.Prune(context.Background(), o, 0, 0); err != nil {
			t.Errorf("prune: %v", err)
		}
		os.RemoveAll(dir)
	})
	b, err := buildah.Backend().Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return &engine.Engine{Builder: b, Bootstrappers: []bootstrap.Bootstrapper{rpm.New(rpm.Options{})}, Site: st, StateDir: dir,
		Now: rpmrepo.Made.Add(time.Hour), Events: log}
}

// build makes an image and gives what it holds.
func build(t testing.TB, e *engine.Engine, img func(pipelines.Platform) pipelines.Image, p pipelines.Platform) (pipelines.Artifact, []listing.Entry) {
	t.Helper()
	job, err := pipelines.NewJob(pipelines.Target{Name: "centos9", Build: img}, p)
	if err != nil {
		t.Fatal(err)
	}
	out, err := e.Run(t.Context(), pipelines.Plan{Version: 1, Jobs: []pipelines.Job{job}})
	if err != nil {
		t.Fatal(err)
	}
	l, err := oci.Open(out.Artifacts[0].Path)
	if err != nil {
		t.Fatal(err)
	}
	d, err := l.Manifest(p)
	if err != nil {
		t.Fatal(err)
	}
	entries, err := listing.Image(l, d)
	if err != nil {
		t.Fatal(err)
	}
	return out.Artifacts[0], entries
}

func centos(steps ...pipelines.Step) func(pipelines.Platform) pipelines.Image {
	return func(p pipelines.Platform) pipelines.Image {
		return pipelines.From(p, pipelines.Bootstrap{Method: "rpm", Include: base, Sources: []pipelines.PackageSource{{Repository: "centos-stream", Suite: suite}}}).Then(steps...)
	}
}

func logTo(t testing.TB) func(pipelines.Event) {
	start := time.Now()
	return func(e pipelines.Event) {
		if e.Kind != pipelines.EventProgress {
			t.Logf("%5.1f s %s %.20s %s %s", time.Since(start).Seconds(), e.Kind, e.Step, e.Name, strings.TrimSpace(e.Text))
		}
	}
}

// TestBuild makes the synthetic distribution's root with the real builder, and uses
// it: rpm's database, dnf with signatures checked, scripts, owners, capabilities.
func TestBuild(t *testing.T) {
	m, st := distribution(t, "x86_64")
	e := newEngine(t, st, logTo(t))
	a, entries := build(t, e, centos(), amd64)
	t.Run("as dnf makes it", func(t *testing.T) { sameAsDnf(t, entries) })
	t.Run("the same twice", func(t *testing.T) { // another machine, as it were
		b, list := build(t, newEngine(t, st, nil), centos(), amd64)
		if a.Digest != b.Digest {
			t.Errorf("%s and %s:\n%s", a.Digest, b.Digest, strings.Join(listing.Diff(entries, list), "\n"))
		}
	})
	for _, want := range []string{
		"usr/share/fixture/owned file 0640 970:970", "usr/bin/fixture-suid file 4755 0:0", "usr/bin/fixture-sgid file 2755 0:970",
		"etc/fixture/made-by-post file 0644 0:0", "etc/fixture/made-by-lua file 0644 0:0", "bin symlink 0777 0:0 -> usr/bin",
		"proc dir 0555 0:0", "dev dir 0755 0:0", "tmp dir 1777 0:0",
	} {
		path, _, _ := strings.Cut(want, " ")
		got, ok := listing.Find(entries, path)
		if !ok || !strings.HasPrefix(got.String(), want) {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	if got, _ := listing.Find(entries, "usr/share/fixture/hard-2"); got.Same != "usr/share/fixture/hard-1" {
		t.Errorf("the hard link is %s", got)
	}
	if got, _ := listing.Find(entries, "usr/bin/fixture-caps"); got.Xattrs["security.capability"] == "" {
		t.Error("fixture-caps has lost its capabilities")
	}
	for _, e := range entries {
		for _, gone := range []string{"target", "cfbuild", "dev/null", "var/cache/ldconfig/aux-cache"} {
			if e.Path == gone {
				t.Errorf("/%s is left", gone)
			}
		}
	}
	repo := "[test]\nname=test\nbaseurl=" + m.URL + "/9-stream/BaseOS/x86_64/os\ngpgcheck=1\nrepo_gpgcheck=1\ngpgkey=file:///etc/pki/rpm-gpg/RPM-GPG-KEY-centosofficial\n"
	image := func(script string) func(pipelines.Platform) pipelines.Image {
		return centos(pipelines.Remove{Paths: []string{"/etc/yum.repos.d/centos.repo"}},
			pipelines.File{Path: "/etc/yum.repos.d/test.repo", Data: []byte(repo)}, pipelines.Run{Shell: script})
	}
	build(t, e, image(`
test "$(rpm -qa | wc -l)" -gt 100
rpm -q gpg-pubkey bash centos-stream-release
rpm -Va --noconfig --noghost
test "$(rpm -q --qf '%{INSTALLTIME}' bash)" = "$(rpm -q --qf '%{INSTALLTIME}' dnf)"
dnf -y makecache
dnf -y upgrade
dnf -y install leaf
cat /usr/share/leaf
dnf clean all
`), amd64)
}

// TestForeign makes an arm64 root: rpm runs natively, only scripts are emulated.
func TestForeign(t *testing.T) {
	if _, err := os.Stat("/proc/sys/fs/binfmt_misc/qemu-aarch64"); err != nil {
		testneed.Skip(t, "needs binfmt_misc for arm64 (make setup registers it)")
	}
	_, st := distribution(t, "x86_64", "aarch64")
	keys := st.Keyrings["centos-stream"]
	keys.BuildOnly = true // none of them stays
	st.Keyrings["centos-stream"] = keys
	e := newEngine(t, st, logTo(t))
	_, entries := build(t, e, centos(pipelines.Run{Shell: `
if rpm -q gpg-pubkey; then exit 1; fi
test "$(rpm -qa | wc -l)" -gt 100
test "$(rpm -q --qf '%{ARCH}' bash)" = aarch64
test "$(uname -m)" = aarch64
rpm -Va --noconfig --noghost
`}), arm64)
	for _, want := range []string{"usr/share/fixture/owned file 0640 970:970", "etc/fixture/made-by-post file 0644 0:0", "etc/fixture/made-by-lua file 0644 0:0"} {
		path, _, _ := strings.Cut(want, " ")
		if got, ok := listing.Find(entries, path); !ok || !strings.HasPrefix(got.String(), want) {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// unaided makes roots without a helper's platform: all of the stage is emulated.
type unaided struct{ bootstrap.Bootstrapper }

func (u unaided) Make(ctx context.Context, r bootstrap.Request) (bootstrap.Root, error) {
	r.Helper = pipelines.Platform{}
	return u.Bootstrapper.Make(ctx, r)
}

// rootless is a builder that does not know Run.Roots.
type rootless struct{ builders.Builder }

func (b rootless) Capabilities(ctx context.Context) (builders.Capabilities, error) {
	c, err := b.Builder.Capabilities(ctx)
	c.Roots = false
	return c, err
}

// TestStageDoesNotMatter: an emulated first stage gives the same image as a native
// one, and a builder without Run.Roots the same as one with it. It takes minutes:
// CFBUILD_TEST_MATRIX=all.
func TestStageDoesNotMatter(t *testing.T) {
	if os.Getenv("CFBUILD_TEST_MATRIX") != "all" {
		return
	}
	_, st := distribution(t, "x86_64", "aarch64")
	plain := newEngine(t, st, logTo(t))
	same := func(name string, p pipelines.Platform, change func(*engine.Engine)) {
		e := newEngine(t, st, logTo(t))
		change(e)
		a, x := build(t, plain, centos(), p)
		b, y := build(t, e, centos(), p)
		if a.Digest != b.Digest {
			t.Errorf("%s: %s and %s:\n%s", name, a.Digest, b.Digest, strings.Join(listing.Diff(x, y), "\n"))
		}
	}
	same("without roots", amd64, func(e *engine.Engine) { e.Builder = rootless{e.Builder} })
	same("emulated", arm64, func(e *engine.Engine) { e.Bootstrappers = []bootstrap.Bootstrapper{unaided{rpm.New(rpm.Options{})}} })
}
