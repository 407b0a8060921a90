//go:build !no_buildkit && linux && containers_image_openpgp

package buildkit_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/cfbuild/cfbuild/builders"
	"github.com/cfbuild/cfbuild/builders/buildkit"
	"github.com/cfbuild/cfbuild/internal/buildkitdtest"
	"github.com/cfbuild/cfbuild/internal/oci"
	"github.com/cfbuild/cfbuild/internal/testneed"
	"github.com/cfbuild/cfbuild/pipelines"
)

// networks makes two network namespaces that reach this one's address here, of the range
// for measurements (RFC 2544), and gives their names and addresses.
func networks(t *testing.T) (here string, names, addrs [2]string) {
	t.Helper()
	testneed.Root(t)
	ip := testneed.Program(t, "ip")
	run := func(args ...string) {
		t.Helper()
		if out, err := exec.Command(ip, args...).CombinedOutput(); err != nil {
			t.Fatalf("ip %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
	id := os.Getpid() % 60000
	net := fmt.Sprintf("198.18.%d.", id%250)
	here = net + "1"
	for i, letter := range []string{"a", "b"} {
		ns, veth := fmt.Sprintf("cfbt%d%s", id, letter), fmt.Sprintf("cf%d%s", id, letter)
		gate := net + fmt.Sprint(1+i*4)
		names[i], addrs[i] = ns, net+fmt.Sprint(2+i*4)
		run("netns", "add", ns)
		t.Cleanup(func() { // a namespace goes some time after its last process: the pair at once
			exec.Command(ip, "link", "del", veth).Run()
			exec.Command(ip, "netns", "del", ns).Run()
		})
		run("link", "add", veth, "type", "veth", "peer", "name", "eth0", "netns", ns)
		run("addr", "add", gate+"/30", "dev", veth)
		run("link", "set", veth, "up")
		run("-n", ns, "addr", "add", addrs[i]+"/30", "dev", "eth0")
		run("-n", ns, "link", "set", "eth0", "up")
		run("-n", ns, "link", "set", "lo", "up")
		run("-n", ns, "route", "add", "default", "via", gate)
	}
	return here, names, addrs
}

// oracle answers the steps of a test, when it wants.
type oracle struct {
	url   string
	asked chan string // ADDRESS/ARCH, while holding

	mu   sync.Mutex
	hold chan struct{} // nil: answers at once
	seen []string
}

func newOracle(t *testing.T, host string) *oracle {
	t.Helper()
	l, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		t.Fatal(err)
	}
	o := &oracle{url: "http://" + l.Addr().String(), asked: make(chan string, 10)}
	s := &http.Server{Handler: o}
	go s.Serve(l)
	t.Cleanup(func() { s.Close() })
	return o
}

func (o *oracle) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	host, _, _ := net.SplitHostPort(r.RemoteAddr)
	o.mu.Lock()
	hold := o.hold
	o.seen = append(o.seen, host+r.URL.Path)
	o.mu.Unlock()
	if hold != nil {
		o.asked <- host + r.URL.Path
		select {
		case <-hold:
		case <-r.Context().Done():
			return
		}
	}
	fmt.Fprintln(w, "answer for", r.URL.Path)
}

// pause has the next questions wait until the result is called; those that come after
// that are answered at once.
func (o *oracle) pause() (resume func()) {
	hold := make(chan struct{})
	o.mu.Lock()
	o.hold, o.seen = hold, nil
	o.mu.Unlock()
	return func() {
		o.mu.Lock()
		o.hold = nil
		o.mu.Unlock()
		close(hold)
	}
}

func asker(t *testing.T, p pipelines.Platform) []byte {
	t.Helper()
	bin := filepath.Join(t.TempDir(), "ask")
	cmd := exec.Command(testneed.Program(t, "go"), "build", "-trimpath", "-ldflags=-s -w", "-o", bin, "./testdata/ask")
	cmd.Env = append(os.Environ(), "GOOS=linux", "GOARCH="+p.Architecture, "CGO_ENABLED=0", "GOFLAGS=-buildvcs=false")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	b, err := os.ReadFile(bin)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Two workers on networks of their own, over mutual TLS, one for each architecture. One is
// killed while both build: the other goes on with what it was building.
func TestAWorkerIsKilled(t *testing.T) {
	here, names, addrs := networks(t)
	o := newOracle(t, here)
	host := pipelines.HostPlatform()
	foreign := pipelines.Platform{OS: "linux", Architecture: "arm64"}
	if host == foreign {
		foreign.Architecture = "amd64"
	}
	var daemons [2]*buildkitdtest.Daemon
	for i := range daemons {
		daemons[i] = buildkitdtest.Start(t, buildkitdtest.Options{TLS: true, Host: addrs[i], Wrap: []string{"nsenter", "--net=/run/netns/" + names[i]}})
	}
	list := fmt.Sprintf("%s=%s?certs=%s,%s=%s?certs=%s", host, daemons[0].TCP, daemons[0].Certs, foreign, daemons[1].TCP, daemons[1].Certs)
	b, err := buildkit.Backend().Open(t.Context(), builders.Options{Address: list, StateDir: t.TempDir(), Log: testLog{t}})
	if err != nil {
		t.Fatal(err)
	}
	caps, err := b.Capabilities(t.Context())
	if err != nil || !caps.Available || len(caps.Platforms) != 2 {
		t.Fatalf("%+v %v", caps, err)
	}

	platforms := []pipelines.Platform{host, foreign}
	graphs := map[pipelines.Platform]pipelines.Graph{}
	for _, p := range platforms {
		img := pipelines.From(p, pipelines.Scratch{}).Then(pipelines.File{Path: "/ask", Data: asker(t, p), Mode: 0o755},
			pipelines.Run{Args: []string{"/ask", o.url, "/before"}}, pipelines.Run{Args: []string{"/ask", o.url, "/answer"}}, pipelines.File{Path: "/after"})
		if graphs[p], err = img.Graph(); err != nil {
			t.Fatal(err)
		}
	}
	type outcome struct {
		digests [2]string
		events  []pipelines.Event
	}
	// build gives the digests of both images; meanwhile runs while they are built.
	build := func(meanwhile func()) outcome {
		t.Helper()
		var out outcome
		var mu sync.Mutex
		var wg sync.WaitGroup
		dir := t.TempDir()
		for i, p := range platforms {
			wg.Go(func() {
				res, err := b.Build(t.Context(), builders.Request{Job: p.Short(), Graph: graphs[p], Output: filepath.Join(dir, p.Short()), NoCache: true,
					Events: func(e pipelines.Event) {
						mu.Lock()
						defer mu.Unlock()
						out.events = append(out.events, e)
					}})
				if err != nil {
					t.Errorf("%s: %v", p, err)
					return
				}
				out.digests[i] = res.Digest
				l, err := oci.Open(filepath.Join(dir, p.Short()))
				if err != nil {
					t.Error(err)
					return
				}
				if d, err := l.Manifest(p); err != nil || d.Digest.String() != res.Digest {
					t.Errorf("%s: %v %v", p, d, err)
				}
			})
		}
		if meanwhile != nil {
			meanwhile()
		}
		wg.Wait()
		return out
	}
	asked := func() string {
		o.mu.Lock()
		defer o.mu.Unlock()
		return strings.Join(o.seen, " ")
	}
	at := func(i int, p pipelines.Platform) string { return addrs[i] + "/" + p.Architecture }

	whole := build(nil)
	if got := asked(); strings.Count(got, at(0, host)) != 2 || strings.Count(got, at(1, foreign)) != 2 || len(strings.Fields(got)) != 4 {
		t.Fatalf("each architecture at its worker: %s", got)
	}

	resume := o.pause()
	killed := build(func() {
		for range platforms { // both are in the middle
			select {
			case <-o.asked:
			case <-t.Context().Done():
			}
		}
		daemons[1].Process.Kill()
		resume()
	})
	if whole.digests != killed.digests || killed.digests[0] == "" || killed.digests[1] == "" {
		t.Errorf("digests %v, and after a worker was killed %v", whole.digests, killed.digests)
	}
	if got := asked(); strings.Count(got, at(0, foreign)) != 2 || strings.Count(got, at(1, foreign)) != 1 || strings.Count(got, at(0, host)) != 2 {
		t.Errorf("asked: %s", got)
	}
	state := map[string]string{}
	var warnings []string
	for _, e := range killed.events {
		key := e.Job + " " + e.Step
		switch e.Kind {
		case pipelines.EventStart:
			if state[key] != "" {
				t.Errorf("%s starts again", key)
			}
			state[key] = "open"
		case pipelines.EventDone, pipelines.EventCached:
			if state[key] != "open" {
				t.Errorf("%s ends and is %q", key, state[key])
			}
			state[key] = "done"
		case pipelines.EventFailed:
			t.Errorf("%s failed: %s", key, e.Text)
		case pipelines.EventWarning:
			warnings = append(warnings, e.Text)
		}
	}
	for key, s := range state {
		if s != "done" {
			t.Errorf("%s is left %s", key, s)
		}
	}
	if got := strings.Join(warnings, "\n"); !strings.Contains(got, "worker "+daemons[1].TCP) || !strings.Contains(got, "is lost") || !strings.Contains(got, foreign.String()+" (emulated) is built at worker "+daemons[0].TCP) {
		t.Errorf("warnings:\n%s", got)
	}
	t.Logf("warnings:\n%s", strings.Join(warnings, "\n"))

	// The other one as well: nobody is left, and that is said.
	resume = o.pause()
	defer resume()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		select {
		case <-o.asked:
			daemons[0].Process.Kill()
		case <-ctx.Done():
		}
	}()
	_, err = b.Build(ctx, builders.Request{Job: "x", Graph: graphs[host], Output: filepath.Join(t.TempDir(), "x"), NoCache: true})
	if !errors.Is(err, builders.ErrUnavailable) || !strings.Contains(err.Error(), "no other can build") && !strings.Contains(err.Error(), "no other worker can build") {
		t.Errorf("%v", err)
	}
	t.Log(err)
}
