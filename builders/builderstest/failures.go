package builderstest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cfbuild/cfbuild/builders"
	"github.com/cfbuild/cfbuild/pipelines"
)

func asStep(t *testing.T, err error) *builders.StepError {
	t.Helper()
	var step *builders.StepError
	if !errors.As(err, &step) {
		t.Fatalf("got %T %v, want a StepError", err, err)
	}
	return step
}

var failureCases = []testCase{
	{"a step fails", func(t *testing.T, s *suite) {
		err, rec := s.fail(t, s.image().Then(
			pipelines.Run{Shell: "echo fine > /fine"},
			pipelines.Run{Shell: "i=0; while [ $i -lt 40 ]; do i=$((i+1)); echo line $i; done; echo last words >&2; exit 7"},
			pipelines.Run{Shell: "echo never"}))
		step := asStep(t, err)
		if step.ExitCode != 7 || step.Emulator || step.TimedOut {
			t.Errorf("got %+v", step)
		}
		if n := len(step.Tail); n < 10 || n > 40 || step.Tail[n-1] != "last words" || step.Tail[n-2] != "line 40" {
			t.Errorf("tail %q", step.Tail)
		}
		if !strings.Contains(err.Error(), "failures.go:") || !strings.Contains(err.Error(), "exit status 7") {
			t.Errorf("error %q names no line or status", err)
		}
		if strings.Contains(rec.log(), "never") {
			t.Error("went on after a failure")
		}
		failed := 0
		for _, e := range rec.all() {
			if e.Kind == pipelines.EventFailed {
				failed++
			}
		}
		if failed != 1 {
			t.Errorf("%d events say failed, want 1", failed)
		}
		rec.balanced(t)
		// What was whole before the failure is kept.
		if got := s.build(t, s.image().Then(pipelines.Run{Shell: "echo fine > /fine"})); got.Ran != 0 {
			t.Error("the step before the failing one ran again")
		}
	}},
	{"a step is ended by a signal", func(t *testing.T, s *suite) {
		err, _ := s.fail(t, s.image().Then(pipelines.Run{Shell: "kill -KILL $$"}))
		if step := asStep(t, err); step.ExitCode != 137 || step.Emulator {
			t.Errorf("got %+v", step)
		}
	}},
	{"a step that does not start", func(t *testing.T, s *suite) {
		for _, run := range []pipelines.Run{{Args: []string{"no-such-program"}}, {Args: []string{"/etc/conf"}}, {Shell: "true", User: "nobody-here"}} {
			err, _ := s.fail(t, s.image().Then(run))
			if step := asStep(t, err); step.ExitCode != -1 && step.ExitCode < 126 {
				t.Errorf("%+v: got %+v", run, step)
			}
		}
	}},
	{"a step takes too long", func(t *testing.T, s *suite) {
		mark := fmt.Sprint(910000 + os.Getpid())
		err, rec := s.fail(t, s.image().Then(pipelines.Run{Shell: "echo begun; sleep " + mark, Timeout: time.Second}))
		if step := asStep(t, err); !step.TimedOut || len(step.Tail) != 1 || step.Tail[0] != "begun" {
			t.Errorf("got %+v\nlog %s", step, rec.log())
		}
		noProcess(t, mark)
	}},
	{"cancelling ends everything", func(t *testing.T, s *suite) {
		mark := fmt.Sprint(920000 + os.Getpid())
		r, rec := request(t, s.image().Then(pipelines.Run{Shell: "trap '' TERM INT HUP; (setsid sh -c 'trap \"\" TERM; sleep " + mark + "' &); echo begun; sleep " + mark}))
		ctx := rec.until(t, func(e pipelines.Event) bool { return e.Kind == pipelines.EventLog && e.Text == "begun" })
		_, err := s.b.Build(ctx, r)
		if !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want the context's error", err)
		}
		if _, err := os.Lstat(r.Output); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("a cancelled build left its output: %v", err)
		}
		noProcess(t, mark)
		s.build(t, s.image().Then(pipelines.Run{Shell: "echo still works"}))
	}},
	{"things that are not there", func(t *testing.T, s *suite) {
		dir := local(t)
		src := pipelines.From(s.p, pipelines.Local{Path: dir})
		gone := pipelines.From(s.p, pipelines.Local{Path: filepath.Join(dir, "nowhere")})
		for name, img := range map[string]pipelines.Image{
			"source file":   s.image().Then(pipelines.Copy{From: src, Src: []string{"nowhere"}, Dst: "/x"}),
			"source glob":   s.image().Then(pipelines.Copy{From: src, Src: []string{"*.nowhere"}, Dst: "/x/"}),
			"image path":    s.image().Then(pipelines.Copy{From: s.image(), Src: []string{"/nowhere"}, Dst: "/x"}),
			"directory":     s.image().Then(pipelines.Copy{From: gone, Src: []string{"."}, Dst: "/x"}),
			"layout":        pipelines.From(s.p, pipelines.Layout{Path: dir}).Then(pipelines.File{Path: "/x"}),
			"layout digest": pipelines.From(s.p, pipelines.Layout{Path: s.base.Path, Digest: "sha256:" + strings.Repeat("0", 64)}).Then(pipelines.File{Path: "/x"}),
			"secret":        s.image().Then(pipelines.Run{Shell: "true", Secrets: []pipelines.Secret{{ID: "none"}}}),
		} {
			err, _ := s.fail(t, img)
			if !strings.Contains(err.Error(), "failures.go:") {
				t.Errorf("%s: error names no line: %v", name, err)
			}
		}
	}},
	{"things in the way", func(t *testing.T, s *suite) {
		src := pipelines.From(s.p, pipelines.Local{Path: local(t)})
		for name, step := range map[string]pipelines.Step{
			"file over directory":  pipelines.File{Path: "/srv", Data: []byte("x")},
			"file below file":      pipelines.File{Path: "/etc/conf/x"},
			"directory over file":  pipelines.Copy{From: src, Src: []string{"app"}, Dst: "/etc/conf"},
			"directory below file": pipelines.Copy{From: src, Src: []string{"app"}, Dst: "/etc/conf/x/"},
		} {
			err, _ := s.fail(t, s.image().Then(step))
			if step := asStep(t, err); step.ExitCode != -1 {
				t.Errorf("%s: got %+v", name, step)
			}
		}
	}},
	{"output exists", func(t *testing.T, s *suite) {
		r, _ := request(t, s.image())
		check(t, os.Mkdir(r.Output, 0o755))
		check(t, os.WriteFile(filepath.Join(r.Output, "precious"), nil, 0o644))
		if _, err := s.b.Build(t.Context(), r); err == nil {
			t.Error("wrote over what was there")
		}
		if _, err := os.Stat(filepath.Join(r.Output, "precious")); err != nil {
			t.Error(err)
		}
	}},
	{"a layer that is not what its digest says", func(t *testing.T, s *suite) {
		bad := busyboxBase(t, s.p)
		blobs, err := filepath.Glob(filepath.Join(bad.Path, "blobs/sha256/*"))
		check(t, err)
		var largest string
		var size int64
		for _, p := range blobs {
			if fi, err := os.Stat(p); err == nil && fi.Size() > size {
				largest, size = p, fi.Size()
			}
		}
		f, err := os.OpenFile(largest, os.O_RDWR, 0)
		check(t, err)
		_, err = f.WriteAt([]byte{0x42}, size-20)
		check(t, err)
		check(t, f.Close())
		r, _ := request(t, pipelines.From(s.p, bad).Then(pipelines.Run{Shell: "true"}))
		if _, err := s.open(t).Build(t.Context(), r); err == nil {
			t.Error("built on a corrupt layer")
		}
	}},
	{"context ended before", func(t *testing.T, s *suite) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		r, _ := request(t, s.image())
		if _, err := s.b.Build(ctx, r); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	}},
}
