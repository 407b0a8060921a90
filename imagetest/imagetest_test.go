//go:build containers_image_openpgp && exclude_graphdriver_btrfs

package imagetest

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cfbuild/cfbuild/builders"
	"github.com/cfbuild/cfbuild/builders/buildah"
	"github.com/cfbuild/cfbuild/builders/builderstest"
	"github.com/cfbuild/cfbuild/internal/junit"
	"github.com/cfbuild/cfbuild/internal/testneed"
	"github.com/cfbuild/cfbuild/pipelines"
)

func TestMain(m *testing.M) {
	if buildah.Child() {
		return
	}
	os.Exit(m.Run())
}

var host = pipelines.HostPlatform()

// world builds artifacts with the real builder and counts what it builds.
type world struct {
	t      *testing.T
	dir    string
	b      counting
	builds *atomic.Int32
}

type counting struct {
	builders.Builder
	n *atomic.Int32
}

func (c counting) Build(ctx context.Context, r builders.Request) (builders.Result, error) {
	c.n.Add(1)
	return c.Builder.Build(ctx, r)
}

func newWorld(t *testing.T) *world {
	t.Helper()
	dir, err := os.MkdirTemp("", "cfbuild-imagetest-")
	if err != nil {
		t.Fatal(err)
	}
	o := builders.Options{StateDir: filepath.Join(dir, "buildah")}
	t.Cleanup(func() {
		buildah.Prune(context.Background(), o, 0, 0)
		os.RemoveAll(dir)
	})
	b, err := buildah.Backend().Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	caps, err := b.Capabilities(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if !caps.Available {
		testneed.Skip(t, caps.Reason)
	}
	var n atomic.Int32
	return &world{t, dir, counting{b, &n}, &n}
}

func (w *world) artifact(img pipelines.Image) pipelines.Artifact {
	w.t.Helper()
	g, err := img.Graph()
	if err != nil {
		w.t.Fatal(err)
	}
	out := filepath.Join(w.dir, fmt.Sprintf("artifact-%d", time.Now().UnixNano()))
	res, err := w.b.Builder.Build(w.t.Context(), builders.Request{Job: "j", Graph: g, Output: out})
	if err != nil {
		w.t.Fatal(err)
	}
	return pipelines.Artifact{Job: "j-" + g.Platform.Short(), Target: "j", Platform: g.Platform, Path: out, Digest: res.Digest, Size: res.Size}
}

func (w *world) request(a pipelines.Artifact, tests ...pipelines.Test) Request {
	return Request{Artifact: a, Tests: pipelines.Tests(tests...), Builder: w.b, TempDir: w.dir, Now: time.Now}
}

func (w *world) run(a pipelines.Artifact, tests ...pipelines.Test) Report {
	w.t.Helper()
	if err := pipelines.CheckTests(pipelines.Target{Name: "t", Tests: tests}); err != nil {
		w.t.Fatal(err)
	}
	rep, err := Run(w.t.Context(), w.request(a, tests...))
	if err != nil {
		w.t.Fatal(err)
	}
	if len(rep.Results) != len(tests) {
		w.t.Fatalf("%d results of %d tests", len(rep.Results), len(tests))
	}
	return rep
}

// want is a test and what must come of it: "" passes, "!…" is an error.
type want struct {
	test pipelines.Test
	says string
}

func (w *world) expect(a pipelines.Artifact, cases []want) {
	w.t.Helper()
	var tests []pipelines.Test
	for _, c := range cases {
		tests = append(tests, c.test)
	}
	for i, res := range w.run(a, tests...).Results {
		outcome, says := Failed, cases[i].says
		switch {
		case says == "":
			outcome = Passed
		case says[0] == '!':
			outcome, says = Error, says[1:]
		}
		if res.Outcome != outcome || !strings.Contains(res.Message(), says) {
			w.t.Errorf("%+v: %s, %q, want %s, %q\n%s", cases[i].test, res.Outcome, res.Message(), outcome, says, res.Output)
		}
	}
}

func TestNative(t *testing.T) {
	w := newWorld(t)
	a := w.artifact(pipelines.From(host, builderstest.Busybox(t)).Then(
		pipelines.File{Path: "/etc/motd", Data: []byte("hello\nworld\n"), Mode: 0o4755, Owner: "7:8"},
		pipelines.File{Path: "/usr/lib/a/b", Data: []byte("b")},
		pipelines.File{Path: "/lib", Link: "usr/lib"},
		pipelines.File{Path: "/dangling", Link: "/nowhere"},
		pipelines.File{Path: "/var/lib/dpkg/status", Data: []byte("Package: curl\nStatus: install ok installed\nArchitecture: amd64\nVersion: 7.88.1-10+deb12u5\n")},
		pipelines.Configure{Env: map[string]string{"LC_ALL": "C.UTF-8", "EMPTY": ""}, Labels: map[string]string{"a": "b", "none": ""}}))
	w.expect(a, []want{
		{pipelines.TestFile{Path: "/etc/motd", Mode: 0o4755, Owner: "7:8", Contains: []string{"hello\nworld"}, Lacks: []string{"bye"}}, ""},
		{pipelines.TestFile{Path: "/etc/motd", Mode: 0o755}, "want mode 0755, got 4755"},
		{pipelines.TestFile{Path: "/etc/motd", Owner: "0:0"}, "want owner 0:0, got 7:8"},
		{pipelines.TestFile{Path: "/etc/motd", Contains: []string{"bye"}}, `want "bye" in its content, got "hello\nworld\n"`},
		{pipelines.TestFile{Path: "/etc/motd", Lacks: []string{"world"}}, `want no "world" in its content, it is in line 2`},
		{pipelines.TestFile{Path: "/etc/motd", Absent: true}, "want nothing at /etc/motd, got a regular file"},
		{pipelines.TestFile{Path: "/etc/motd/x"}, "cannot be reached: not a directory"},
		{pipelines.TestFile{Path: "/etc/motd/x", Absent: true}, ""},
		{pipelines.TestFile{Path: "/etc/motd", Dir: true}, "want a directory, got a regular file"},
		{pipelines.TestFile{Path: "/etc", Dir: true, Mode: 0o755}, ""},
		{pipelines.TestFile{Path: "/etc"}, "want a regular file, got a directory"},
		{pipelines.TestFile{Path: "/lib/a/b", Contains: []string{"b"}}, ""},
		{pipelines.TestFile{Path: "/lib", Link: "usr/lib"}, ""},
		{pipelines.TestFile{Path: "/lib", Link: "/usr/lib"}, "want a link to /usr/lib, got one to usr/lib"},
		{pipelines.TestFile{Path: "/dangling"}, "it is not there"},
		{pipelines.TestFile{Path: "/dangling", Absent: true}, "got a symbolic link to /nowhere"},
		{pipelines.TestFile{Path: "/nope", Absent: true}, ""},
		{pipelines.TestPackage{Name: "curl"}, ""},
		{pipelines.TestPackage{Name: "curl:amd64", Version: "7.88.*"}, ""},
		{pipelines.TestPackage{Name: "curl", Version: "8.*"}, "want version 8.*, got 7.88.1-10+deb12u5"},
		{pipelines.TestPackage{Name: "curl", Absent: true}, "want no package curl"},
		{pipelines.TestPackage{Name: "crul"}, "it is not among the 1 that are installed; near it: curl"},
		{pipelines.TestPackage{Name: "wget", Absent: true}, ""},
		{pipelines.TestUser{Name: "user", UID: "1000", Home: "/home/user", Shell: "/bin/sh"}, ""},
		{pipelines.TestUser{Name: "user", UID: "1", Shell: "/bin/zsh"}, "want uid 1, got 1000; want shell /bin/zsh, got /bin/sh"},
		{pipelines.TestUser{Name: "use"}, "it is not in /etc/passwd"},
		{pipelines.TestUser{Name: "root", Absent: true}, "want no user root"},
		{pipelines.TestUser{Name: "nobody", Absent: true}, ""},
		{pipelines.TestEnv{Name: "LC_ALL", Value: "C.UTF-8"}, ""},
		{pipelines.TestEnv{Name: "EMPTY"}, ""},
		{pipelines.TestEnv{Name: "LC_ALL", Value: "C"}, `want LC_ALL="C", got "C.UTF-8"`},
		{pipelines.TestEnv{Name: "NOPE", Value: "x"}, "it is not set"},
		{pipelines.TestEnv{Name: "LC_ALL", Absent: true}, "want LC_ALL not set"},
		{pipelines.TestEnv{Name: "NOPE", Absent: true}, ""},
		{pipelines.TestLabel{Name: "a"}, ""},
		{pipelines.TestLabel{Name: "a", Value: "c"}, `want label a="c", got "b"`},
		{pipelines.TestLabel{Name: "x"}, "it is not there"},
		{pipelines.TestPlatform{}, ""},
	})
	if n := w.builds.Load(); n != 0 {
		t.Errorf("%d builds for tests that run nothing", n)
	}
}

func TestCommands(t *testing.T) {
	w := newWorld(t)
	a := w.artifact(pipelines.From(host, builderstest.Busybox(t)).Then(pipelines.Configure{User: "user", WorkingDir: "/home/user", Env: map[string]string{"GREETING": "hi there"}}))
	w.expect(a, []want{
		{pipelines.TestCommand{Shell: "echo one; echo two >&2; printf three", Output: []string{"one\ntwo\nthree"}}, ""},
		{pipelines.TestCommand{Shell: "echo $(id -un) $PWD $GREETING", Output: []string{"user /home/user hi there"}}, ""},
		{pipelines.TestCommand{Shell: "echo a; exit 7", ExitCode: 7, Output: []string{"a"}}, ""},
		{pipelines.TestCommand{Shell: "false; true"}, "want exit code 0, got 1"}, // sh -e
		{pipelines.TestCommand{Shell: "true", ExitCode: 3}, "want exit code 3, got 0"},
		{pipelines.TestCommand{Shell: "echo a", Output: []string{"b"}}, `want "b" in its output, got "a\n"`},
		{pipelines.TestCommand{Args: []string{"/bin/echo", "$HOME *"}, Output: []string{"$HOME *"}}, ""},
		{pipelines.TestCommand{Args: []string{"/bin/nope"}}, "!it could not be run"},
		{pipelines.TestCommand{Shell: "sleep 1000", Timeout: 300 * time.Millisecond}, "want exit code 0, it still ran after 300ms"},
		// Without a network there is no route anywhere.
		{pipelines.TestCommand{Shell: "test $(wc -l < /proc/net/route) -le 1"}, ""},
		// No test sees what another wrote, whatever it did to the image.
		{pipelines.TestCommand{Shell: "echo x > /home/user/left; rm -rf /tmp/* /home/user/.[a-z]*; echo done", Output: []string{"done"}}, ""},
		{pipelines.TestCommand{Shell: "test ! -e /home/user/left"}, ""},
	})
}

// An image with one program and nothing else, no shell, no /etc/passwd.
func TestImageWithoutShell(t *testing.T) {
	w := newWorld(t)
	a := w.artifact(pipelines.From(host, pipelines.Scratch{}).Then(
		pipelines.Copy{From: pipelines.From(host, builderstest.Busybox(t)), Src: []string{"/bin/busybox"}, Dst: "/echo"}))
	w.expect(a, []want{
		{pipelines.TestCommand{Args: []string{"/echo", "out"}, Output: []string{"out"}}, ""},
		{pipelines.TestCommand{Shell: "echo out"}, "!it could not be run"},
		{pipelines.TestUser{Name: "root"}, "want /etc/passwd, it is not there"},
		{pipelines.TestUser{Name: "root", Absent: true}, ""},
		{pipelines.TestPackage{Name: "curl"}, "has no package database"},
		{pipelines.TestPackage{Name: "curl", Absent: true}, ""},
		{pipelines.TestPlatform{}, ""},
	})
}

func TestReportsAreWritten(t *testing.T) {
	w := newWorld(t)
	a := w.artifact(pipelines.From(host, builderstest.Busybox(t)))
	var log []string
	r := w.request(a, pipelines.TestEnv{Name: "PATH", Value: "/bin"}, pipelines.TestCommand{Name: "fails", Shell: "echo why; exit 2"}, pipelines.TestCommand{Args: []string{"/nope"}})
	r.Events = func(e pipelines.Event) { log = append(log, string(e.Kind)+" "+e.Job+" "+e.Step+" "+e.Text) }
	rep, err := Run(t.Context(), r)
	if err != nil || rep.OK() || rep.Summary() != "1 failed, 1 error, 1 passed" {
		t.Fatalf("%v %s", err, rep.Summary())
	}
	all := strings.Join(log, "\n")
	for _, s := range []string{"start j-" + host.Short() + " test", "log j-" + host.Short() + " test failed: command fails (imagetest/imagetest_test.go:", "want exit code 0, got 2", "| why", "failed j-" + host.Short() + " test 1 failed"} {
		if !strings.Contains(all, s) {
			t.Errorf("the events lack %q:\n%s", s, all)
		}
	}
	var text strings.Builder
	WriteText(&text, rep)
	if s := text.String(); !strings.Contains(s, "tests  "+host.String()+": 1 failed, 1 error, 1 passed") || !strings.Contains(s, "    failed: command fails (imagetest/imagetest_test.go:") || !strings.Contains(s, "      want exit code 0, got 2") {
		t.Errorf("%s", s)
	}
	b, err := junit.Marshal("x", Suites([]Report{rep}))
	if err != nil {
		t.Fatal(err)
	}
	var x struct {
		Suites []struct {
			Name  string `xml:"name,attr"`
			Cases []struct {
				Name    string  `xml:"name,attr"`
				File    string  `xml:"file,attr"`
				Failure *string `xml:"failure"`
				Error   *string `xml:"error"`
				Out     string  `xml:"system-out"`
			} `xml:"testcase"`
		} `xml:"testsuite"`
	}
	if err := xml.Unmarshal(b, &x); err != nil {
		t.Fatal(err)
	}
	c := x.Suites[0].Cases
	if x.Suites[0].Name != "j "+host.String() || c[0].Failure != nil || c[1].Failure == nil || !strings.Contains(*c[1].Failure, "got 2") || c[1].Out != "why\n" ||
		!strings.HasPrefix(c[1].File, "imagetest/imagetest_test.go:") || c[2].Error == nil || c[2].Failure != nil {
		t.Errorf("%s", b)
	}
}

func TestPassedTestsDoNotRunAgain(t *testing.T) {
	w := newWorld(t)
	a := w.artifact(pipelines.From(host, builderstest.Busybox(t)))
	one := pipelines.TestCommand{Shell: "true"}
	do := func(change func(*Request), tests ...pipelines.Test) (Report, int32) {
		t.Helper()
		r := w.request(a, tests...)
		r.Cache = filepath.Join(w.dir, "results")
		if change != nil {
			change(&r)
		}
		before := w.builds.Load()
		rep, err := Run(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		return rep, w.builds.Load() - before
	}
	if rep, n := do(nil, one); rep.Cached || n != 1 {
		t.Errorf("first: %+v, %d builds", rep, n)
	}
	if rep, n := do(nil, one); !rep.Cached || n != 0 || !rep.OK() || rep.Results[0].Where.Line == 0 {
		t.Errorf("again: %+v, %d builds", rep, n)
	}
	if rep, n := do(func(r *Request) { r.NoCache = true }, one); rep.Cached || n != 1 {
		t.Errorf("without a cache: %+v, %d builds", rep, n)
	}
	if rep, n := do(nil, one, pipelines.TestEnv{Name: "PATH", Value: "/bin"}); rep.Cached || n != 1 {
		t.Errorf("one more test: %+v, %d builds", rep, n)
	}
	for _, test := range []pipelines.Test{pipelines.TestCommand{Shell: "exit 1"}, pipelines.TestCommand{Shell: "true", Network: pipelines.NetworkHost}} {
		for range 2 { // a failure, and what depends on a network, is looked at again
			if rep, n := do(nil, test); rep.Cached || n != 1 {
				t.Errorf("%+v: %+v, %d builds", test, rep, n)
			}
		}
	}
	files, _ := filepath.Glob(filepath.Join(w.dir, "results", "*"))
	if len(files) != 2 {
		t.Errorf("kept: %v", files)
	}
	for _, f := range files {
		os.WriteFile(f, []byte(`{"results":[`), 0o644) // half a file
	}
	if rep, n := do(nil, one); rep.Cached || n != 1 || !rep.OK() {
		t.Errorf("after the results were spoiled: %+v, %d builds", rep, n)
	}
}

func TestWhatCannotRun(t *testing.T) {
	w := newWorld(t)
	a := w.artifact(pipelines.From(host, builderstest.Busybox(t)))
	r := w.request(a, pipelines.TestCommand{Shell: "true"})
	r.Builder = noNetwork{w.b}
	var un *builders.UnsupportedError
	if _, err := Run(t.Context(), r); !errors.As(err, &un) || !strings.Contains(err.Error(), "command true") {
		t.Errorf("a builder without network none: %v", err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	stop := errors.New("stopped")
	cancel(stop)
	if _, err := Run(ctx, w.request(a, pipelines.TestCommand{Shell: "true"})); !errors.Is(err, stop) && !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	a.Digest = "sha256:" + strings.Repeat("0", 64)
	if _, err := Run(t.Context(), w.request(a, pipelines.TestEnv{Name: "A"})); err == nil || !strings.Contains(err.Error(), "holds sha256:") {
		t.Errorf("another artifact: %v", err)
	}
	if left, _ := filepath.Glob(filepath.Join(w.dir, "test-*")); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

type noNetwork struct{ builders.Builder }

func (n noNetwork) Capabilities(ctx context.Context) (builders.Capabilities, error) {
	c, err := n.Builder.Capabilities(ctx)
	c.NetworkNone = false
	c.Platforms = slices.Clone(c.Platforms)
	return c, err
}
