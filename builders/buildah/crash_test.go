//go:build linux && cgo && containers_image_openpgp && exclude_graphdriver_btrfs

package buildah_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cfbuild/cfbuild/builders"
	"github.com/cfbuild/cfbuild/builders/buildah"
	"github.com/cfbuild/cfbuild/builders/builderstest"
	"github.com/cfbuild/cfbuild/internal/testneed"
	"github.com/cfbuild/cfbuild/pipelines"
)

// helperEnv turns this binary into a program that does one build and ends.
const helperEnv = "CFBUILD_TEST_HELPER"

// helperJob is what it is told.
type helperJob struct {
	State, Out string
	Graph      pipelines.Graph
	CacheTo    []builders.CacheRef
}

func helper(job string) {
	var j helperJob
	err := json.Unmarshal([]byte(job), &j)
	if err == nil {
		var b builders.Builder
		if b, err = buildah.Backend().Open(context.Background(), builders.Options{StateDir: j.State, Log: os.Stderr}); err == nil {
			var res builders.Result
			if res, err = b.Build(context.Background(), builders.Request{Graph: j.Graph, Output: j.Out, CacheTo: j.CacheTo}); err == nil {
				fmt.Printf("%s %d\n", res.Digest, res.Ran)
			}
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

func helperCommand(t *testing.T, j helperJob) *exec.Cmd {
	t.Helper()
	job, err := json.Marshal(j)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), helperEnv+"="+string(job))
	return cmd
}

// crashImage has a base to unpack, steps that take a moment, and layers to write.
func crashImage(t *testing.T) pipelines.Graph {
	t.Helper()
	img := pipelines.From(pipelines.HostPlatform(), builderstest.Busybox(t)).Then(
		pipelines.Run{Shell: "for i in 1 2 3 4 5 6 7 8; do cp /bin/busybox /one-$i; done; sleep 0.1"},
		pipelines.File{Path: "/file", Data: []byte("x")},
		pipelines.Remove{Paths: []string{"/srv"}},
		pipelines.Run{Shell: "rm /one-*; sleep 0.1; mkdir -p /srv/deep; echo two > /srv/deep/two"})
	g, err := img.Graph()
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// TestKilled kills a building program, its child, or both, ever later; the next
// build succeeds, with the same result, and in the end nothing is left behind.
func TestKilled(t *testing.T) {
	g := crashImage(t)
	clean := helperCommand(t, helperJob{State: stateDir(t, builders.Options{}), Out: filepath.Join(t.TempDir(), "out"), Graph: g})
	begun := time.Now()
	want, err := clean.Output()
	if err != nil {
		t.Fatal(err)
	}
	whole := time.Since(begun)
	digest := strings.Fields(string(want))[0]

	state := stateDir(t, builders.Options{})
	const rounds = 12
	for i := range rounds {
		out := filepath.Join(t.TempDir(), "out")
		cmd := helperCommand(t, helperJob{State: state, Out: out, Graph: g})
		var log bytes.Buffer
		cmd.Stderr = &log
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(whole * time.Duration(i+1) / (rounds + 1))
		children := childrenOf(cmd.Process.Pid)
		if i%3 != 1 {
			for _, pid := range children {
				_ = syscall.Kill(pid, syscall.SIGKILL) // it may have ended
			}
		}
		if i%3 != 0 {
			_ = cmd.Process.Kill() // it may have ended
		}
		_ = cmd.Wait() // it was killed
		if i%4 == 3 {
			// The next does not wait for what is left to end.
			continue
		}
		for _, pid := range children {
			gone(t, pid)
		}
	}
	out := filepath.Join(t.TempDir(), "out")
	cmd := helperCommand(t, helperJob{State: state, Out: out, Graph: g})
	cmd.Stderr = os.Stderr
	got, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	if f := strings.Fields(string(got)); f[0] != digest {
		t.Errorf("after being killed %d times: %s, want %s", rounds, f[0], digest)
	}
	for _, pattern := range []string{"wip/*/*", "run/*", "index/*/*.tmp-*", "locks/*"} {
		left, err := filepath.Glob(filepath.Join(state, pattern))
		if err != nil || len(left) > 0 {
			t.Errorf("left behind: %v %v", left, err)
		}
	}
	layers, err := filepath.Glob(filepath.Join(state, "storage/overlay/overlay/*/diff"))
	if err != nil || len(layers) > 4 {
		t.Errorf("%d layers in the storage, the image has 4: %v", len(layers), err)
	}
	again, err := helperCommand(t, helperJob{State: state, Out: out + "2", Graph: g}).Output()
	if err != nil || string(again) != digest+" 0\n" {
		t.Errorf("again: %q, %v", again, err)
	}
}

func childrenOf(pid int) []int {
	var out []int
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, p := range stats {
		b, err := os.ReadFile(p)
		if err != nil {
			continue
		}
		f := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
		if len(f) > 1 && f[1] == strconv.Itoa(pid) {
			child, _ := strconv.Atoi(filepath.Base(filepath.Dir(p)))
			out = append(append(out, child), childrenOf(child)...)
		}
	}
	return out
}

// gone waits for a process to end.
func gone(t *testing.T, pid int) {
	t.Helper()
	for range 500 {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil || bytes.Contains(b, []byte(") Z ")) {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Errorf("process %d did not end", pid)
}

func TestKilledAsUser(t *testing.T) { asUser(t, "^TestKilled$") }

// TestTwoProgramsAtOnce builds one image from several programs on one state
// directory: each step is made once.
func TestTwoProgramsAtOnce(t *testing.T) {
	g := crashImage(t)
	state := stateDir(t, builders.Options{})
	var cmds []*exec.Cmd
	var outs [3]bytes.Buffer
	for i := range outs {
		cmd := helperCommand(t, helperJob{State: state, Out: filepath.Join(t.TempDir(), "out"), Graph: g})
		cmd.Stdout, cmd.Stderr = &outs[i], os.Stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		cmds = append(cmds, cmd)
	}
	ran := 0
	var digests []string
	for i, cmd := range cmds {
		if err := cmd.Wait(); err != nil {
			t.Fatal(err)
		}
		var d string
		var n int
		if _, err := fmt.Sscan(outs[i].String(), &d, &n); err != nil {
			t.Fatal(err)
		}
		ran += n
		digests = append(digests, d)
	}
	if ran != 4 || digests[0] != digests[1] || digests[1] != digests[2] {
		t.Errorf("%d steps ran, want 4; digests %v", ran, digests)
	}
}

// onSmallDisk gives a directory on a file system of that many MiB.
func onSmallDisk(t *testing.T, mib int) string {
	t.Helper()
	testneed.Root(t)
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%dm", mib)); err != nil {
		testneed.Skip(t, "cannot mount a small file system: "+err.Error())
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func TestFullDisk(t *testing.T) {
	dir := onSmallDisk(t, 40)
	b, err := buildah.Backend().Open(t.Context(), builders.Options{StateDir: filepath.Join(dir, "state"), Driver: "overlay"})
	if err != nil {
		t.Fatal(err)
	}
	base := pipelines.From(pipelines.HostPlatform(), builderstest.Busybox(t))
	build := func(img pipelines.Image, out string) (builders.Result, error) {
		g, err := img.Graph()
		if err != nil {
			t.Fatal(err)
		}
		return b.Build(t.Context(), builders.Request{Graph: g, Output: out})
	}
	out := filepath.Join(t.TempDir(), "out")
	_, err = build(base.Then(pipelines.Run{Shell: "head -c 80000000 /dev/zero > /big"}), out)
	var step *builders.StepError
	if !errors.As(err, &step) || step.ExitCode <= 0 || !strings.Contains(err.Error(), "is full") {
		t.Errorf("a step that fills the disk: %v", err)
	}
	_, err = build(base.Then(pipelines.File{Path: "/big", Data: make([]byte, 60<<20)}), out)
	wantHint(t, err, "free some space")
	if _, err := build(base.Then(pipelines.Run{Shell: "echo fits > /small"}), out); err != nil {
		t.Errorf("there is space again: %v", err)
	}
	small := onSmallDisk(t, 1)
	_, err = build(base.Then(pipelines.Run{Shell: "head -c 3000000 /dev/urandom > /noise"}), filepath.Join(small, "out"))
	wantHint(t, err, "free some space")
	if left, err := os.ReadDir(small); err != nil || len(left) > 0 {
		t.Errorf("left on the full disk: %v, %v", left, err)
	}
}

func TestSizeAndPrune(t *testing.T) {
	o := builders.Options{StateDir: stateDir(t, builders.Options{})}
	b, err := buildah.Backend().Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	g := crashImage(t)
	build := func() builders.Result {
		res, err := b.Build(t.Context(), builders.Request{Graph: g, Output: filepath.Join(t.TempDir(), "out")})
		if err != nil {
			t.Fatal(err)
		}
		return res
	}
	first := build()
	before, err := buildah.Size(t.Context(), o)
	if err != nil || before.Bytes < 10<<20 || before.Layers < 3 {
		t.Fatalf("size %+v, %v", before, err)
	}
	kept, err := buildah.Prune(t.Context(), o, time.Hour, -1)
	if err != nil || kept.Layers != before.Layers {
		t.Errorf("pruned what was just used: %+v, %v", kept, err)
	}
	if res := build(); res.Ran != 0 || res.Digest != first.Digest {
		t.Errorf("after pruning nothing: %+v", res)
	}
	all, err := buildah.Prune(t.Context(), o, 0, 0)
	if err != nil || all.Layers != 0 || all.Bytes > 1<<20 || all.Removed < before.Bytes-1<<20 {
		t.Errorf("pruned everything: %+v of %+v, %v", all, before, err)
	}
	if res := build(); res.Cached != 0 || res.Digest != first.Digest {
		t.Errorf("after pruning everything: %+v", res)
	}
	half, err := buildah.Prune(t.Context(), o, 1000*time.Hour, before.Bytes/2)
	if err != nil || half.Bytes > before.Bytes/2 {
		t.Errorf("pruned to half: %+v, %v", half, err)
	}
	if res := build(); res.Digest != first.Digest {
		t.Errorf("after pruning to half: %+v", res)
	}
}

func TestSizeAndPruneAsUser(t *testing.T) { asUser(t, "^TestSizeAndPrune$") }

func TestKeepAndSecretsOnDisk(t *testing.T) {
	o := builders.Options{StateDir: stateDir(t, builders.Options{})}
	b, err := buildah.Backend().Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	const value = "very-s3cret-value-on-no-disk"
	img := pipelines.From(pipelines.HostPlatform(), builderstest.Busybox(t)).Then(pipelines.Run{
		Shell:   `test "$TOKEN" = "$(cat /run/secrets/file)"; echo evidence > /evidence; exit 4`,
		Secrets: []pipelines.Secret{{ID: "file"}, {ID: "var", Env: "TOKEN"}}})
	g, err := img.Graph()
	if err != nil {
		t.Fatal(err)
	}
	var notes []string
	_, err = b.Build(t.Context(), builders.Request{Graph: g, Keep: true, Output: filepath.Join(t.TempDir(), "out"),
		Secrets: map[string][]byte{"file": []byte(value), "var": []byte(value)},
		Events: func(e pipelines.Event) {
			if e.Kind == pipelines.EventNote {
				notes = append(notes, e.Text)
			}
		}})
	var step *builders.StepError
	if !errors.As(err, &step) || step.ExitCode != 4 {
		t.Fatalf("got %v", err)
	}
	found, err := filepath.Glob(filepath.Join(o.StateDir, "storage/*/*/*/diff/evidence"))
	if err != nil || len(found) != 1 || !strings.Contains(strings.Join(notes, "\n"), filepath.Dir(found[0])) {
		t.Errorf("kept %v, %v; notes %q", found, err, notes)
	}
	if out, err := exec.Command("grep", "-rl", value, o.StateDir).Output(); err == nil || len(out) > 0 {
		t.Errorf("a secret is on disk: %s", out)
	}
}
