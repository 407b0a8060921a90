package dind

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	bkclient "github.com/moby/buildkit/client"
	"github.com/moby/buildkit/client/llb"
	"github.com/tonistiigi/fsutil"

	"github.com/cfbuild/cfbuild/internal/buildkitdtest"
	"github.com/cfbuild/cfbuild/internal/dockerdtest"
	"github.com/cfbuild/cfbuild/internal/golden"
	"github.com/cfbuild/cfbuild/internal/registrytest"
	"github.com/cfbuild/cfbuild/internal/testneed"
	"github.com/cfbuild/cfbuild/site"
)

// daemons are the two kinds: one whose BuildKit is of no use, and one whose own is.
var daemons = map[string]dockerdtest.Options{"debian's": {}, "newer": {Newer: true}}

// options are what a job has that uses the daemon.
func options(t testing.TB, d *dockerdtest.Daemon) Options {
	t.Helper()
	o, err := FromQuery(url.Values{"binaries": {buildkitdtest.Programs(t)}}, Environment{Host: d.Host, CertPath: filepath.Join(d.Certs, "client"), TLSVerify: "1"})
	if err != nil {
		t.Fatal(err)
	}
	o.Log, o.Warn = &logger{t: t}, func(s string) { t.Error("warned: " + s) }
	return o
}

type logger struct {
	t   testing.TB
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logger) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.t.Log(strings.TrimSpace(string(p)))
	return l.buf.Write(p)
}

func open(t testing.TB, o Options) *Daemon {
	t.Helper()
	d, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return d
}

// step solves a build of one step in an image of busybox, and gives its OCI archive and how
// many vertices were cached. Data is appended to busybox.
func step(ctx context.Context, t testing.TB, d *Daemon, script string, data ...[]byte) (archive []byte, cached int, err error) {
	t.Helper()
	testneed.Program(t, "busybox")
	busybox, err := os.ReadFile("/bin/busybox")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, b := range map[string][]byte{"busybox": busybox,
		"Dockerfile": []byte("FROM scratch\nCOPY busybox /bin/busybox\nSHELL [\"/bin/busybox\", \"sh\", \"-c\"]\nRUN --network=host " + script + "\n")} {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, b := range data {
		if err := os.WriteFile(filepath.Join(dir, "busybox"), append(busybox, b...), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	mount, err := fsutil.NewFS(dir)
	if err != nil {
		t.Fatal(err)
	}
	c, err := bkclient.New(ctx, Authority, d.ClientOpts()...)
	if err != nil {
		return nil, 0, err
	}
	defer c.Close()
	var out bytes.Buffer
	status := make(chan *bkclient.SolveStatus)
	var wg sync.WaitGroup
	wg.Go(func() {
		done := map[string]bool{}
		for s := range status {
			for _, v := range s.Vertexes {
				if v.Cached && !done[v.Digest.String()] {
					done[v.Digest.String()] = true
					cached++
				}
			}
		}
	})
	_, err = c.Solve(ctx, nil, bkclient.SolveOpt{Frontend: "dockerfile.v0", AllowedEntitlements: []string{"network.host"}, LocalMounts: map[string]fsutil.FS{"context": mount, "dockerfile": mount},
		Exports: []bkclient.ExportEntry{{Type: bkclient.ExporterOCI, Output: func(map[string]string) (io.WriteCloser, error) { return closer{&out}, nil }}}}, status)
	wg.Wait()
	return out.Bytes(), cached, err
}

type closer struct{ io.Writer }

func (closer) Close() error { return nil }

func docker(t testing.TB, d *dockerdtest.Daemon, args ...string) string {
	t.Helper()
	out, err := d.Command(args...).CombinedOutput()
	if err != nil {
		t.Fatalf("docker %s: %v: %s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

func TestOpen(t *testing.T) {
	for name, kind := range daemons {
		t.Run(name, func(t *testing.T) {
			dockerd := dockerdtest.Start(t, kind)
			o := options(t, dockerd)
			var log bytes.Buffer
			o.Log = &log
			d := open(t, o)
			t.Logf("Docker %s, BuildKit %s, embedded: %v", d.Engine, d.Version, d.Embedded)
			if d.Embedded != kind.Newer {
				t.Errorf("embedded: %v", d.Embedded)
			}
			if d.Engine != dockerd.Version {
				t.Errorf("engine %q, and its client says %q", d.Engine, dockerd.Version)
			}
			archive, cached, err := step(t.Context(), t, d, "echo 1 >/made")
			if err != nil || cached != 0 || !bytes.Contains(archive, []byte("index.json")) {
				t.Errorf("%v; %d cached, %d bytes", err, cached, len(archive))
			}
			// The next client finds it warm.
			second := open(t, o)
			if _, cached, err := step(t.Context(), t, second, "echo 1 >/made"); err != nil || cached != 2 {
				t.Errorf("%v; %d cached", err, cached)
			}
			if n := strings.Count(log.String(), "\n"); !kind.Newer && n != 2 { // loading, creating; nothing more for the second
				t.Errorf("log: %s", &log)
			}
			// Ours, where asked for, beside the daemon's own.
			o.Route = Container
			own := open(t, o)
			if own.Embedded || own.Version != Version {
				t.Errorf("embedded: %v, BuildKit %s", own.Embedded, own.Version)
			}
			if _, _, err := step(t.Context(), t, own, "echo 2 >/made"); err != nil {
				t.Error(err)
			}
			if got := docker(t, dockerd, "ps", "--format", "{{.Names}}"); got != own.Container {
				t.Errorf("containers: %q", got)
			}

			removed, err := Remove(t.Context(), o)
			slices.Sort(removed)
			if want := []string{"container " + own.Container, "image " + own.Image, "volume " + own.Volume}; err != nil || !slices.Equal(removed, want) {
				t.Errorf("%v: %q; want %q", err, removed, want)
			}
			for _, what := range [][]string{{"ps", "-aq"}, {"images", "-q"}, {"volume", "ls", "-q"}} {
				if got := docker(t, dockerd, what...); got != "" {
					t.Errorf("docker %v: %s", what, got)
				}
			}
			if removed, err := Remove(t.Context(), o); err != nil || len(removed) != 0 {
				t.Errorf("%v: %v", err, removed)
			}
		})
	}
}

// Clients that come at the same time share one container.
func TestTwoClientsAtOnce(t *testing.T) {
	for name, kind := range daemons {
		t.Run(name, func(t *testing.T) {
			dockerd := dockerdtest.Start(t, kind)
			o := options(t, dockerd)
			o.Route, o.Keep = Container, KeepState
			var wg sync.WaitGroup
			names := make([]string, 4)
			for i := range names {
				wg.Go(func() {
					d, err := Open(t.Context(), o)
					if err != nil {
						t.Error(err)
						return
					}
					names[i] = d.Container
					if _, _, err := step(t.Context(), t, d, fmt.Sprintf("echo %d >/made", i)); err != nil {
						t.Error(err)
					}
					if i != 0 {
						// The container of the others stays.
						if err := d.Close(t.Context()); err != nil {
							t.Error(err)
						}
					}
				})
			}
			wg.Wait()
			slices.Sort(names)
			if len(slices.Compact(names)) != 1 {
				t.Errorf("containers: %v", names)
			}
		})
	}
}

func TestEmbeddedRefused(t *testing.T) {
	o := options(t, dockerdtest.Start(t, dockerdtest.Options{}))
	o.Route = Embedded
	if _, err := Open(t.Context(), o); !is(err, NoRoute) || !strings.Contains(err.Error(), "20.10") {
		t.Errorf("got %v", err)
	}
}

// A container that is killed under a solve fails it with the reason. The next client starts
// it again and finds its state.
func TestKilledMidSolve(t *testing.T) {
	for name, kind := range daemons {
		t.Run(name, func(t *testing.T) {
			dockerd := dockerdtest.Start(t, kind)
			o := options(t, dockerd)
			o.Route = Container
			d := open(t, o)
			if _, _, err := step(t.Context(), t, d, "echo kept >/made"); err != nil {
				t.Fatal(err)
			}
			forever := fmt.Sprint(900000000 + os.Getpid())
			failed := make(chan error, 1)
			go func() {
				_, _, err := step(t.Context(), t, d, "/bin/busybox sleep "+forever)
				failed <- err
			}()
			// As soon as the step runs, seen from outside.
			waitFor(t, func() bool {
				all, _ := filepath.Glob("/proc/[0-9]*/cmdline")
				return slices.ContainsFunc(all, func(f string) bool {
					b, _ := os.ReadFile(f)
					return bytes.Contains(b, []byte("sleep\x00"+forever))
				})
			})
			docker(t, dockerd, "kill", d.Container)
			err := d.Explain(t.Context(), <-failed)
			if !is(err, Failed) || !strings.Contains(err.Error(), "it was killed") {
				t.Errorf("got %v", err)
			}
			again := open(t, o)
			if again.Container != d.Container {
				t.Errorf("another container: %s, %s", d.Container, again.Container)
			}
			if _, cached, err := step(t.Context(), t, again, "echo kept >/made"); err != nil || cached != 2 {
				t.Errorf("%v; %d cached", err, cached)
			}
		})
	}
}

func waitFor(t testing.TB, done func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for !done() {
		select {
		case <-ctx.Done():
			t.Fatal("waited for a minute")
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// What is kept, and what makes another container.
func TestKeepAndSettings(t *testing.T) {
	dockerd := dockerdtest.Start(t, dockerdtest.Options{})
	o := options(t, dockerd)
	first := open(t, o)

	// Other settings while the first is used, and when it is not.
	other := o
	other.Site.Proxy.No = "example.org"
	if _, err := Open(t.Context(), other); !is(err, Busy) {
		t.Errorf("the volume is used by two: %v", err)
	}
	elsewhere := other
	elsewhere.StateVolume, elsewhere.Keep = "elsewhere", KeepNothing
	second, err := Open(t.Context(), elsewhere)
	if err != nil {
		t.Fatal(err)
	}
	if first.Container == second.Container || first.Image != second.Image {
		t.Errorf("%+v, %+v", first, second)
	}
	if got := docker(t, dockerd, "exec", second.Container, "/usr/bin/buildctl", "--version"); !strings.Contains(got, Version) {
		t.Errorf("buildctl: %s", got)
	}
	if err := second.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if got := docker(t, dockerd, "volume", "ls", "-q"); got != first.Volume {
		t.Errorf("volumes: %q", got)
	}
	if err := first.Close(t.Context()); err != nil {
		t.Error(err)
	}
	other.Keep = KeepState
	third, err := Open(t.Context(), other)
	if err != nil {
		t.Fatal(err)
	}
	if got := docker(t, dockerd, "ps", "-a", "--format", "{{.Names}}"); got != third.Container {
		t.Errorf("containers: %q", got)
	}
	if err := third.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if got := docker(t, dockerd, "ps", "-aq"); got != "" {
		t.Errorf("containers: %q", got)
	}
	if got := docker(t, dockerd, "volume", "ls", "-q"); got != first.Volume {
		t.Errorf("volumes: %q", got)
	}
}

// Where there are no programs, the daemon pulls an image of BuildKit.
func TestPulledImage(t *testing.T) {
	reg := registrytest.Start(t)
	dockerd := dockerdtest.Start(t, dockerdtest.Options{})
	o := options(t, dockerd)
	o.Keep = KeepState
	d := open(t, o)
	ref := reg.Host() + "/moby/buildkit:" + Version
	docker(t, dockerd, "tag", d.Image, ref)
	docker(t, dockerd, "push", ref)
	if err := d.Close(t.Context()); err != nil {
		t.Error(err)
	}
	docker(t, dockerd, "rmi", "-f", d.Image, ref)

	o.Programs, o.Named = nil, false
	// The default image comes from the site's cache.
	o.Site = site.Site{Registries: []site.Registry{{Prefix: "docker.io", Mirrors: []site.RegistryMirror{{Location: "127.0.0.1:1"}, {Location: reg.Host()}}}}}
	pulled := open(t, o)
	if pulled.Image != ref || pulled.Volume != d.Volume {
		t.Errorf("%+v", pulled)
	}
	if _, _, err := step(t.Context(), t, pulled, "/bin/busybox true"); err != nil {
		t.Error(err)
	}
	if err := pulled.Close(t.Context()); err != nil {
		t.Error(err)
	}

	o.Image = reg.Host() + "/not/there:1"
	_, err := Open(t.Context(), o)
	refused(t, err, NoPrograms, "not/there:1", "binaries=DIR")
}

// The site's authorities and registries count in our BuildKit.
func TestSite(t *testing.T) {
	reg := registrytest.Start(t, registrytest.TLS())
	dockerd := dockerdtest.Start(t, dockerdtest.Options{})
	o := options(t, dockerd)
	o.Keep = KeepState
	push := func(o Options) error {
		d := open(t, o)
		c, err := bkclient.New(t.Context(), Authority, d.ClientOpts()...)
		if err != nil {
			t.Fatal(err)
		}
		def, err := llb.Scratch().File(llb.Mkfile("/f", 0o644, []byte("f"))).Marshal(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		_, err = c.Solve(t.Context(), def, bkclient.SolveOpt{Exports: []bkclient.ExportEntry{{Type: bkclient.ExporterImage,
			Attrs: map[string]string{"name": reg.Host() + "/made:1", "push": "true"}}}}, nil)
		c.Close()
		if err := d.Close(t.Context()); err != nil {
			t.Error(err)
		}
		return err
	}
	// Named, it is asked with TLS although it is on the loopback; and TLS is verified.
	o.Site.Registries = []site.Registry{{Prefix: reg.Host()}}
	if err := push(o); err == nil || !strings.Contains(err.Error(), "unknown authority") {
		t.Errorf("without the CA: %v", err)
	}
	o.Site.CAs = []site.Certificate{{Name: "test", PEM: reg.CA()}}
	if err := push(o); err != nil {
		t.Errorf("with the CA: %v", err)
	}
	o.Site.CAs = nil
	o.Site.Registries[0].Insecure = true
	if err := push(o); err != nil {
		t.Errorf("insecure: %v", err)
	}
}

func TestTOML(t *testing.T) {
	s := site.Site{Registries: []site.Registry{
		{Prefix: "docker.io", Mirrors: []site.RegistryMirror{{Location: "cache.example:5000/hub", Insecure: true}, {Location: "other.example"}}},
		{Prefix: "quay.io", Location: "quay.cache.example/q"},
		{Prefix: "quay.io/centos", Location: "centos.example"},
		{Prefix: "plain.example:80", Insecure: true},
	}}
	want := `insecure-entitlements = ["network.host"]
[registry."cache.example:5000"]
  http = true
  insecure = true
[registry."docker.io"]
  mirrors = ["cache.example:5000/hub", "other.example"]
  http = false
  insecure = false
[registry."plain.example:80"]
  http = true
  insecure = true
[registry."quay.io"]
  mirrors = ["quay.cache.example/q"]
  http = false
  insecure = false
`
	if d := golden.Diff(want, string(toml(s))); d != "" {
		t.Error(d)
	}
}
