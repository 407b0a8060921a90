package apptainer_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cfbuild/cfbuild/builders"
	"github.com/cfbuild/cfbuild/builders/apptainer"
	"github.com/cfbuild/cfbuild/internal/oci"
	"github.com/cfbuild/cfbuild/internal/registrytest"
	"github.com/cfbuild/cfbuild/internal/rootfs"
	"github.com/cfbuild/cfbuild/internal/sif"
	"github.com/cfbuild/cfbuild/internal/testneed"
	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/cfbuild/cfbuild/site"
)

// box is an image of busybox and nothing else.
func box(t *testing.T) pipelines.Image {
	t.Helper()
	data, err := os.ReadFile(testneed.Program(t, "busybox"))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "busybox"), data, 0o755); err != nil {
		t.Fatal(err)
	}
	p := pipelines.HostPlatform()
	i := pipelines.From(p, pipelines.Scratch{}).Then(pipelines.Copy{From: pipelines.From(p, pipelines.Local{Path: dir}), Src: []string{"busybox"}, Dst: "/bin/"}).
		Then(pipelines.File{Path: "/tmp", Dir: true, Mode: 0o1777}).Then(pipelines.File{Path: "/var/tmp", Dir: true, Mode: 0o1777})
	for _, name := range strings.Fields("sh cat chmod chown dirname echo head id ls mkdir mv printf readlink rm rmdir sleep tail test touch wc wget ip") {
		i = i.Then(pipelines.File{Path: "/bin/" + name, Link: "busybox"})
	}
	return i
}

func build(t *testing.T, b builders.Builder, i pipelines.Image, change func(*builders.Request)) (string, []pipelines.Event, error) {
	t.Helper()
	g, err := i.Graph()
	if err != nil {
		t.Fatal(err)
	}
	var events []pipelines.Event
	r := builders.Request{Job: "x", Graph: g, Output: filepath.Join(t.TempDir(), "out"), Epoch: time.Unix(1e9, 0),
		Events: func(e pipelines.Event) { events = append(events, e) }}
	if change != nil {
		change(&r)
	}
	_, err = b.Build(t.Context(), r)
	return r.Output, events, err
}

// paths are what is in the image that a layout has.
func paths(t *testing.T, dir string) map[string]*rootfs.Entry {
	t.Helper()
	l, err := oci.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	all, err := l.Images()
	if err != nil || len(all) != 1 {
		t.Fatal(all, err)
	}
	f, err := rootfs.Open(t.Context(), l, all[0], rootfs.Options{})
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]*rootfs.Entry{}
	for _, e := range f.List() {
		out[e.Path] = e
	}
	return out
}

// What Apptainer shows steps of the host is not the host's: neither a Remove nor a
// script gets there, and the image's own /tmp is what they see.
func TestHostSurvives(t *testing.T) {
	testneed.Root(t)
	if os.Getenv(guarded) == "" {
		t.Fatal("not where a builder that spoils directories spoils stand-ins")
	}
	b := opener(t)
	var marks []string
	for _, dir := range []string{"/tmp", "/var/tmp", "/dev/shm"} {
		mark := filepath.Join(dir, "mark")
		if err := os.WriteFile(mark, nil, 0o644); err != nil {
			t.Fatal(err)
		}
		marks = append(marks, mark)
	}
	i := box(t).Then(pipelines.File{Path: "/tmp/from-file", Data: []byte("x")}).
		Then(pipelines.Run{Shell: "test -e /tmp/from-file; rm -rf /tmp/* /var/tmp/* /dev/shm/* /dev/null 2>/dev/null || :; touch /tmp/junk /var/tmp/junk", Network: pipelines.NetworkNone}).
		Then(pipelines.Run{Shell: "test -e /tmp/junk; ! echo 1 2>/dev/null >/proc/sys/kernel/printk", Network: pipelines.NetworkNone}).
		Then(pipelines.Remove{Paths: []string{"/tmp/*", "/var/t*"}}).
		Then(pipelines.Run{Shell: "touch /tmp/kept"})
	out, _, err := build(t, b, i, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range append(marks, "/dev/null", "/dev/zero") {
		if _, err := os.Stat(m); err != nil {
			t.Errorf("the host lost something: %v", err)
		}
	}
	got := paths(t, out)
	for path, want := range map[string]bool{"/tmp/kept": true, "/tmp/junk": false, "/tmp/from-file": false, "/var/tmp/junk": false, "/bin/sh": true, "/.singularity.d": false, "/.cfbuild-root": false, "/.cfbuild-copy": false} {
		if _, ok := got[path]; ok != want {
			t.Errorf("%s: %v, want %v", path, ok, want)
		}
	}
	if e := got["/tmp"]; e == nil || e.Mode != 0o1777 {
		t.Errorf("/tmp: %+v", e)
	}
	f, err := sif.Open(filepath.Join(out, sif.Beside))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.Verify(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat("/.cfbuild-root"); err == nil {
		t.Error("something was written to the host's root")
	}
}

// Steps without and with a network are built one after the other.
func TestNetworks(t *testing.T) {
	b := opener(t)
	look := "ls /proc/sys/net/ipv4/conf > "
	out, events, err := build(t, b, box(t).Then(pipelines.Run{Shell: look + "/one", Network: pipelines.NetworkNone}).Then(pipelines.Run{Shell: look + "/two; test \"$http_proxy\" = http://127.0.0.9:9"}).
		Then(pipelines.Run{Shell: look + "/three; cat /one /two > /dev/null", Network: pipelines.NetworkNone}).Then(pipelines.Configure{Env: map[string]string{"A": "b"}}), func(r *builders.Request) {
		r.Site.Proxy.HTTP = "http://127.0.0.9:9"
	})
	if err != nil {
		t.Fatal(err)
	}
	l, err := oci.Open(out)
	if err != nil {
		t.Fatal(err)
	}
	all, _ := l.Images()
	f, err := rootfs.Open(t.Context(), l, all[0], rootfs.Options{Keep: func(e *rootfs.Entry) bool { return e.Size < 1000 }})
	if err != nil {
		t.Fatal(err)
	}
	host, err := os.ReadDir("/proc/sys/net/ipv4/conf")
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]int{"/one": 3, "/two": len(host), "/three": 3} { // all, default, lo
		text, err := f.ReadFile(name, 1000)
		if err != nil || len(strings.Fields(string(text))) != want {
			t.Errorf("%s: %v %q, want %d", name, err, text, want)
		}
	}
	balanced(t, events)
	if _, c, err := l.Image(all[0]); err != nil || strings.Join(c.Config.Env, " ") != "A=b" {
		t.Errorf("%v %+v", err, c.Config)
	}
}

// balanced: what starts ends, once.
func balanced(t *testing.T, events []pipelines.Event) {
	t.Helper()
	open := map[string]int{}
	for _, e := range events {
		switch e.Kind {
		case pipelines.EventStart:
			open[e.Step]++
		case pipelines.EventDone, pipelines.EventFailed:
			open[e.Step]--
		}
	}
	for step, n := range open {
		if n != 0 {
			t.Errorf("step %s: %d more starts than ends", step, n)
		}
	}
}

// A step that fails is named with its line, status and output; nothing is left.
func TestStepFails(t *testing.T) {
	b := opener(t)
	out, events, err := build(t, b, box(t).Then(pipelines.Run{Shell: "echo fine"}).Then(pipelines.Run{Shell: "echo about to fail; exit 42"}).Then(pipelines.Run{Shell: "echo never"}), nil)
	var step *builders.StepError
	if !errors.As(err, &step) || step.ExitCode != 42 || !strings.Contains(err.Error(), "builder_test.go:") || !strings.Contains(err.Error(), "about to fail") || strings.Contains(err.Error(), "FATAL") {
		t.Errorf("%v", err)
	}
	if _, err := os.Stat(out); err == nil {
		t.Error("there is an output")
	}
	balanced(t, events)
	for _, e := range events {
		if strings.Contains(e.Text, "never") && e.Kind == pipelines.EventLog {
			t.Errorf("went on: %+v", e)
		}
	}
}

// A command alone runs in the SIF file that was made, and what it writes is gone.
func TestDiscarded(t *testing.T) {
	b := opener(t)
	out, _, err := build(t, b, box(t).Then(pipelines.Configure{Env: map[string]string{"A": "it's"}}), nil)
	if err != nil {
		t.Fatal(err)
	}
	from := pipelines.From(pipelines.HostPlatform(), pipelines.Layout{Path: out})
	discard := func(r *builders.Request) { r.Discard = true }
	for range 2 {
		made, events, err := build(t, b, from.Then(pipelines.Run{Shell: `test ! -e /written; touch /written /tmp/x; echo "says $A"`, Network: pipelines.NetworkNone}), discard)
		said := false
		for _, e := range events {
			said = said || e.Kind == pipelines.EventLog && e.Text == "says it's" && strings.HasPrefix(e.Step, "sha256:")
		}
		if _, statErr := os.Stat(made); err != nil || !said || statErr == nil {
			t.Errorf("%v %+v", err, events)
		}
	}
	_, _, err = build(t, b, from.Then(pipelines.Run{Shell: "exit 3"}), discard)
	var step *builders.StepError
	if !errors.As(err, &step) || step.ExitCode != 3 {
		t.Errorf("%v", err)
	}
}

// When whoever builds is killed, all that was started ends, and the next build clears
// up and works.
func TestKilled(t *testing.T) {
	program := testneed.Apptainer(t, "../../scripts/apptainer")
	dir := t.TempDir()
	cmd := exec.Command("/proc/self/exe", "-test.run=TestHelperHangs", "-test.v")
	cmd.Env = append(os.Environ(), "CFBUILD_TEST_HANGS="+dir)
	var said bytes.Buffer
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 4096)
	for !strings.Contains(said.String(), "hanging 987651") {
		n, err := stdout.Read(buf)
		if err != nil {
			t.Fatalf("the step did not start: %s", said.String())
		}
		said.Write(buf[:n])
	}
	if err := cmd.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	b, err := apptainer.Backend().Open(t.Context(), builders.Options{Address: program, StateDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := build(t, b, box(t).Then(pipelines.Run{Shell: "echo works"}), nil); err != nil {
		t.Error(err)
	}
	left, err := os.ReadDir(filepath.Join(dir, "builds"))
	if err != nil || len(left) > 0 {
		t.Errorf("left: %v %v", left, err)
	}
	if out, _ := exec.Command("pgrep", "-f", "sleep 987651").Output(); len(out) > 0 {
		t.Errorf("processes are left: %s", out)
	}
}

func TestHelperHangs(t *testing.T) {
	dir := os.Getenv("CFBUILD_TEST_HANGS")
	if dir == "" {
		return
	}
	b, err := apptainer.Backend().Open(t.Context(), builders.Options{Address: testneed.Apptainer(t, "../../scripts/apptainer"), StateDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = build(t, b, box(t).Then(pipelines.Run{Shell: "echo hanging 987651; sleep 987651 & sleep 987651"}), func(r *builders.Request) {
		r.Events = func(e pipelines.Event) { os.Stdout.WriteString(e.Text + "\n") }
	})
	t.Fatal(err)
}

// Cancelling ends the step and all it started.
func TestCancel(t *testing.T) {
	b := opener(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	mine := errors.New("mine")
	g, err := box(t).Then(pipelines.Run{Shell: "echo hanging; sleep 987652 & sleep 987652"}).Graph()
	if err != nil {
		t.Fatal(err)
	}
	_, err = b.Build(ctx, builders.Request{Job: "x", Graph: g, Output: filepath.Join(t.TempDir(), "out"), Events: func(e pipelines.Event) {
		if e.Text == "hanging" {
			cancel(mine)
		}
	}})
	if !errors.Is(err, mine) {
		t.Errorf("%v", err)
	}
	if out, _ := exec.Command("pgrep", "-f", "sleep 987652").Output(); len(out) > 0 {
		t.Errorf("processes are left: %s", out)
	}
}

// An image of a registry keeps its configuration, and other images can be shown to steps.
func TestPull(t *testing.T) {
	b := opener(t)
	out, _, err := build(t, b, box(t).Then(pipelines.Configure{Env: map[string]string{"FROM": "base image"}, Entrypoint: []string{"/bin/echo"}, WorkingDir: "/tmp"}), nil)
	if err != nil {
		t.Fatal(err)
	}
	registry := registrytest.Start(t).Host()
	if said, err := exec.Command(testneed.Program(t, "skopeo"), "copy", "--dest-tls-verify=false", "oci:"+out, "docker://"+registry+"/box:1").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
	shown := pipelines.From(pipelines.HostPlatform(), pipelines.Scratch{}).Then(pipelines.File{Path: "/a/file", Data: []byte("shown\n")})
	pulled := pipelines.From(pipelines.HostPlatform(), pipelines.Pull{Ref: registry + "/box:1"}).
		Then(pipelines.Run{Shell: `test "$FROM" = "base image"; cat /there/file`, Mounts: []pipelines.Mount{{From: shown, Src: "/a", Target: "/there"}, {From: shown, Src: "/a/file", Target: "/var/new/er/file"}, {From: shown, Src: "/a/file", Target: "/bin/wc"}}}).
		Then(pipelines.Configure{Env: map[string]string{"MORE": "x"}})
	made, events, err := build(t, b, pulled, func(r *builders.Request) {
		r.Site.Registries = []site.Registry{{Prefix: registry, Insecure: true}}
	})
	if err != nil {
		t.Fatal(err)
	}
	said := false
	for _, e := range events {
		said = said || e.Text == "shown"
	}
	l, err := oci.Open(made)
	if err != nil {
		t.Fatal(err)
	}
	all, _ := l.Images()
	_, c, err := l.Image(all[0])
	if err != nil || !slices.Contains(c.Config.Env, "FROM=base image") || !slices.Contains(c.Config.Env, "MORE=x") || !slices.Equal(c.Config.Entrypoint, []string{"/bin/echo"}) || c.Config.WorkingDir != "/tmp" || !said {
		t.Errorf("%v %+v said %v", err, c.Config, said)
	}
	got := paths(t, made)
	for _, p := range []string{"/there", "/var/new", "/bin/wc.cfbuild-hidden", "/.cfbuild-mount1", "/.cfbuild-mount1.made", "/.cfbuild-from-stage1"} {
		if _, ok := got[p]; ok {
			t.Errorf("%s is in the image", p)
		}
	}
	if e := got["/bin/wc"]; e == nil || e.Link != "busybox" {
		t.Errorf("/bin/wc was not put back: %+v", e)
	}
}

// Where it cannot work it says so, and what does.
func TestUnavailable(t *testing.T) {
	for address, want := range map[string]string{filepath.Join(t.TempDir(), "none"): "is not installed", "/bin/true": "no"} {
		b, err := apptainer.Backend().Open(t.Context(), builders.Options{Address: address, StateDir: t.TempDir()})
		if err != nil {
			t.Fatal(err)
		}
		c, err := b.Capabilities(t.Context())
		if err != nil || c.Available || !strings.Contains(c.Reason, want) || !strings.Contains(c.Fix, "--format sif makes SIF files without Apptainer") {
			t.Errorf("%s: %v %+v", address, err, c)
		}
	}
}
