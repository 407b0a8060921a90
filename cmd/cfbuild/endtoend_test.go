//go:build containers_image_openpgp && exclude_graphdriver_btrfs

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/cfbuild/cfbuild/bootstrap/deb/archivetest"
	"github.com/cfbuild/cfbuild/internal/registrytest"
	"github.com/cfbuild/cfbuild/internal/testneed"
)

const both = "linux/amd64,linux/arm64"

// The same definition and packages give the same digests: as root and as an
// ordinary user, with the machine's emulators and with the program's own, on an
// empty and on a full cache, and when every step is run again.
func TestSameDigests(t *testing.T) {
	first := newWorld(t, nil)
	want := first.run("debian12", "--platform", both)
	if len(want.Artifacts) != 2 {
		t.Fatalf("%+v", want)
	}
	warm := first.run("debian12", "--platform", both)
	for _, a := range warm.Artifacts {
		if !a.Cached {
			t.Errorf("%s was built again", a.Job)
		}
	}
	imageTests(t, first)
	lintImages(t, first)
	again := first.run("debian12", "--platform", both, "--no-cache")
	fresh := newWorld(t, nil).run("debian12", "--platform", both)
	all := map[string]map[string]string{"warm": warm.digests(), "--no-cache": again.digests(), "another empty cache": fresh.digests()}
	if os.Geteuid() == 0 {
		account := testneed.User(t)
		user := newWorld(t, &account)
		user.hideBinfmt = true
		all["ordinary user without the machine's emulators"] = user.run("debian12", "--platform", both).digests()
		if rep := user.run("debian12-tests", "--platform", "linux/arm64", "--test"); len(rep.Tests) != 1 || len(rep.Tests[0].Results) != 11 {
			t.Errorf("an ordinary user's tests: %+v", rep.Tests)
		}
	}
	for how, got := range all {
		if !maps.Equal(got, want.digests()) {
			t.Errorf("%s: %v, first %v", how, got, want.digests())
		}
	}
}

// Every architecture of the release that can be emulated is built by an ordinary
// user, without the machine's emulators, and published in one v2s2 list.
//
// Mirrors that keep two architectures of the security archive up to date are
// common, and an index that is not the signed one is refused; so here that archive
// is one of the test's own, signed by a key that the site adds, with nothing in it.
func TestAllPlatforms(t *testing.T) {
	var account *testneed.Account
	if os.Geteuid() == 0 {
		a := testneed.User(t)
		account = &a
	}
	w := newWorld(t, account)
	w.hideBinfmt = account != nil
	registry := registrytest.Start(t).Host()
	rep := w.run("debian12-native", "--test", "--platform", "all", "--site", allArchitectures(t, w, registry),
		"--push", registry+"/base/debian12", "--tag", "12")
	raw := tool(t, "skopeo", "inspect", "--raw", "--tls-verify=false", "docker://"+registry+"/base/debian12:12")
	list := decode[manifestList](t, raw)
	got := map[string]bool{}
	for _, m := range list.Manifests {
		got[strings.TrimSuffix(m.Platform.Architecture+"/"+m.Platform.Variant, "/")] = true
	}
	for _, p := range []string{"amd64", "arm64/v8", "arm/v7", "arm/v5", "386", "ppc64le", "s390x", "mips64le", "mipsle"} {
		if !got[p] {
			t.Errorf("%s is missing in the list: %s", p, raw)
		}
	}
	if len(rep.Tests) != len(rep.Artifacts) || len(rep.Tests[0].Results) < 7 {
		t.Errorf("%d images were tested: %+v", len(rep.Tests), rep.Tests)
	}
	if len(rep.Receipts) != 1 || len(rep.Artifacts) != len(list.Manifests) {
		t.Errorf("%d images were built, %d are in the list; receipts %+v", len(rep.Artifacts), len(list.Manifests), rep.Receipts)
	}
}

// allArchitectures is the frozen mirror with an empty security archive.
func allArchitectures(t *testing.T, w *world, registry string) string {
	t.Helper()
	key := archivetest.NewKey(t, time.Now().Add(-time.Hour))
	dir := t.TempDir()
	archivetest.Suite{Codename: "bookworm-security", Date: time.Now().Add(-time.Hour), Key: key}.Write(t, dir)
	security := archivetest.Serve(t, dir)
	if err := os.WriteFile(filepath.Join(w.dir, "key.asc"), key.Public(t), 0o644); err != nil {
		t.Fatal(err)
	}
	site := filepath.Join(w.dir, "all.toml")
	text := fmt.Sprintf("extends = \"none\"\n[mirrors]\ndebian = [{ url = %q, build-only = true }]\ndebian-security = [{ url = %q, build-only = true }]\n"+
		"[keyrings]\ndebian-security = { file = \"key.asc\", build-only = true }\n[[registry]]\nprefix = %q\ninsecure = true\n",
		frozenURL(t, "debian"), security.URL, registry)
	if err := os.WriteFile(site, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return site
}

// Interrupting ends every process of a step, soon, with the documented exit code.
func TestInterruptEndsEveryProcess(t *testing.T) {
	w := newWorld(t, nil)
	w.run("debian12") // so that the step is reached soon
	cmd := w.start("run", "hangs", "--site", frozenSite(t), "--progress", "plain")
	var log syncBuffer
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(time.Minute); !strings.Contains(log.String(), "  hanging here"); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			cmd.Process.Kill()
			t.Fatalf("the step did not start:\n%s", log.String())
		}
	}
	cmd.Process.Signal(os.Interrupt)
	cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != 130 {
		t.Errorf("exit code %d, want 130\n%s", code, log.String())
	}
	if out, _ := exec.Command("pgrep", "-f", "sleep 987654").Output(); len(out) > 0 {
		t.Errorf("processes are left: %s", out)
	}
}

func TestFailingSteps(t *testing.T) {
	w := newWorld(t, nil)
	for target, want := range map[string]struct {
		code int
		says []string
	}{
		"fails":   {5, []string{"app_test.go:", "exit status 42", "about to fail"}},
		"late":    {5, []string{"timed out", "hint: raise the step's Timeout"}},
		"missing": {3, []string{"coreutilz", "hint: near it: coreutils"}},
	} {
		_, stderr, code := w.try("run", target, "--site", frozenSite(t), "--progress", "plain")
		if code != want.code {
			t.Errorf("%s: exit code %d, want %d", target, code, want.code)
		}
		for _, s := range want.says {
			if !strings.Contains(stderr, s) {
				t.Errorf("%s does not say %q:\n%s", target, s, stderr[max(0, len(stderr)-2000):])
			}
		}
		if _, err := os.Stat(filepath.Join(w.dir, "out", target)); err == nil {
			t.Errorf("%s left an output", target)
		}
	}
}

// A run that is killed at any moment leaves a state that the next run accepts, and
// the same image comes of it.
func TestKilledAtAnyMoment(t *testing.T) {
	want := newWorld(t, nil).run("debian12").digests()
	w := newWorld(t, nil)
	moments := rand.New(rand.NewPCG(1, uint64(time.Now().UnixNano())))
	for i := range 6 {
		cmd := w.start("run", "debian12", "--site", frozenSite(t), "--progress", "plain")
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		after := time.Duration(moments.IntN(1500*(i+1))) * time.Millisecond
		time.Sleep(after)
		cmd.Process.Kill()
		cmd.Wait()
		t.Logf("killed after %v", after)
	}
	if got := w.run("debian12").digests(); !maps.Equal(got, want) {
		t.Errorf("after kills %v, want %v", got, want)
	}
	if rep := w.run("debian12"); !rep.Artifacts[0].Cached {
		t.Error("the run after it built something")
	}
}

// Two runs share a cache and an output at once.
func TestTwoRunsAtOnce(t *testing.T) {
	w := newWorld(t, nil)
	results := make(chan error, 2)
	for range 2 {
		go func() {
			cmd := w.start("run", "debian12", "--site", frozenSite(t), "--progress", "plain")
			out, err := cmd.CombinedOutput()
			if err != nil {
				err = fmt.Errorf("%w\n%s", err, out[max(0, len(out)-2000):])
			}
			results <- err
		}()
	}
	for range 2 {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
	if rep := w.run("debian12"); !rep.Artifacts[0].Cached {
		t.Error("neither left a whole image")
	}
}

// A full disk is an error that says so, and nothing half-written is taken for
// whole when there is room again.
func TestFullDisk(t *testing.T) {
	testneed.Root(t)
	w := newWorld(t, nil)
	small := filepath.Join(w.dir, "small")
	if err := os.Mkdir(small, 0o755); err != nil {
		t.Fatal(err)
	}
	mount := func(flags uintptr, size string) {
		t.Helper()
		if err := syscall.Mount("tmpfs", small, "tmpfs", flags, "size="+size); err != nil {
			t.Fatal(err)
		}
	}
	for _, size := range []string{"20m", "90m", "180m"} {
		mount(0, size)
		_, stderr, code := w.try("run", "debian12", "--site", frozenSite(t), "--state-dir", small, "--progress", "plain")
		if code == 0 || !strings.Contains(stderr, "no space left on device") || !strings.Contains(stderr, "hint: ") {
			t.Errorf("with %s: exit code %d\n%s", size, code, stderr[max(0, len(stderr)-1500):])
		}
		mount(syscall.MS_REMOUNT, "600m")
		if rep := w.run("debian12", "--state-dir", small); rep.Artifacts[0].Digest == "" {
			t.Error("no image with room")
		}
		w.try("cache", "prune", "--all", "--state-dir", small)
		if err := syscall.Unmount(small, syscall.MNT_DETACH); err != nil {
			t.Fatal(err)
		}
	}
}

// syncBuffer is written by a command while it is read.
type syncBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// tool runs one of the machine's programs.
func tool(t *testing.T, name string, args ...string) string {
	t.Helper()
	testneed.Program(t, name)
	out, err := exec.Command(name, args...).Output()
	if err != nil {
		detail := ""
		if e, ok := err.(*exec.ExitError); ok {
			detail = string(e.Stderr)
		}
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, detail)
	}
	return string(out)
}

func decode[T any](t *testing.T, s string) (v T) {
	t.Helper()
	if err := json.Unmarshal([]byte(s), &v); err != nil {
		t.Fatalf("%v in %s", err, s)
	}
	return v
}
