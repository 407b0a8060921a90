package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/cfbuild/cfbuild/builders"
	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/cfbuild/cfbuild/pipelines/engine"
	"github.com/cfbuild/cfbuild/publishers"
	"github.com/cfbuild/cfbuild/site"
)

func TestExitCode(t *testing.T) {
	step := &builders.StepError{ExitCode: 1}
	invalid := &pipelines.InvalidError{What: "x", Cause: "y"}
	publish := &publishers.PublishError{Err: context.Canceled}
	for _, c := range []struct {
		err  error
		want int
	}{
		{nil, 0},
		{errors.New("x"), 1},
		{usagef("", "x"), 2},
		{&usageError{err: invalid}, 2},
		{invalid, 3},
		{&site.InvalidError{Cause: "x"}, 3},
		{fmt.Errorf("x: %w", invalid), 3},
		{&builders.UnavailableError{}, 4},
		{&builders.UnsupportedError{}, 4},
		{&hintError{&builders.UnavailableError{}, "x"}, 4},
		{&engine.JobError{Job: "a", Err: step}, 5},
		{errors.Join(errors.New("x"), &engine.JobError{Job: "a", Err: step}), 5},
		{publish, 6},
		{errors.Join(step, publish), 5},
		{checkFailedf("", "x"), 8},
		{fmt.Errorf("x: %w", checkFailedf("", "x")), 8},
		{errors.Join(checkFailedf("", "x"), step), 5},
		{errors.Join(checkFailedf("", "x"), errInterrupted), 130},
		{errors.Join(step, errInterrupted), 130},
		{context.Canceled, 1},
	} {
		if got := ExitCode(c.err); got != c.want {
			t.Errorf("ExitCode(%v) = %d, want %d", c.err, got, c.want)
		}
	}
	for code := range map[int]bool{0: true, 1: true, 2: true, 3: true, 4: true, 5: true, 6: true, 7: true, 8: true, 130: true} {
		if !strings.Contains("\n"+ExitCodes, fmt.Sprintf("\n  %-5d", code)) {
			t.Errorf("the table lacks %d", code)
		}
	}
}

func TestPrintError(t *testing.T) {
	advice := &hintError{errors.New("no room"), "make room"}
	for _, c := range []struct {
		name string
		err  error
		want string
	}{
		{"one", fmt.Errorf("build: %w", advice), "p: build: no room\np: hint: make room\n"},
		{"joined", errors.Join(&engine.JobError{Job: "a", Err: advice}, errors.Join(&engine.JobError{Job: "b", Err: advice}, nil)),
			"p: a: no room\np: b: no room\np: hint: make room\n"},
		{"several in one message", fmt.Errorf("both: %w and %w", advice, errors.New("x")), "p: both: no room and x\np: hint: make room\n"},
		{"a hint about all", &hintError{errors.Join(errors.New("x"), advice), "try y"}, "p: x\np: no room\np: hint: make room\np: hint: try y\n"},
		{"interrupted", errors.Join(&engine.JobError{Job: "a", Err: context.Canceled}, errInterrupted), "p: interrupted\n"},
		{"interrupted by cause", errors.Join(&engine.JobError{Job: "a", Err: errInterrupted}, errors.New("x")), "p: x\np: interrupted\n"},
	} {
		var b bytes.Buffer
		printError(&b, "p", c.err)
		if b.String() != c.want {
			t.Errorf("%s:\n%swant\n%s", c.name, b.String(), c.want)
		}
	}
}

// locked is a buffer that several goroutines may use.
type locked struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *locked) Write(p []byte) (int, error) { l.mu.Lock(); defer l.mu.Unlock(); return l.b.Write(p) }
func (l *locked) String() string              { l.mu.Lock(); defer l.mu.Unlock(); return l.b.String() }

// testEnv is a world of its own, with variables from a map.
func testEnv(t *testing.T, vars map[string]string) (Env, *locked, *locked) {
	dir := t.TempDir()
	var out, errs locked
	return Env{Getenv: func(k string) string { return vars[k] }, Stdout: &out, Stderr: &errs, Now: time.Now, Dir: dir, UID: 1000}, &out, &errs
}

// A signal cancels the run, which ends with 130; a second one kills.
func TestSignals(t *testing.T) {
	for _, sig := range []os.Signal{os.Interrupt, syscall.SIGTERM} {
		started := filepath.Join(t.TempDir(), "started")
		t.Setenv("FAKE_STARTED", started)
		env, _, errs := testEnv(t, map[string]string{"HOME": t.TempDir()})
		signals := make(chan os.Signal, 2)
		env.Signals = signals
		done := make(chan int)
		go func() {
			done <- Run(t.Context(), fakeApp(), []string{"run", "hangs", "--platform", "amd64", "--json"}, env)
		}()
		for _, err := os.Stat(started); err != nil; _, err = os.Stat(started) {
			time.Sleep(5 * time.Millisecond)
		}
		signals <- sig
		if code := <-done; code != ExitInterrupted {
			t.Errorf("%v: exit code %d, want 130", sig, code)
		}
		if !strings.HasSuffix(errs.String(), "cfbuild: interrupted\n") {
			t.Errorf("%v: said %q", sig, errs)
		}
	}
}

// A builder that does not end when asked is killed by the second signal.
func TestSecondSignalKills(t *testing.T) {
	env, _, _ := testEnv(t, nil)
	signals := make(chan os.Signal, 2)
	killed := make(chan int, 1)
	env.Signals, env.Kill = signals, func(code int) { killed <- code }
	p := &program{app: fakeApp(), env: env}
	go p.obey(func(error) {}, make(chan struct{}))
	signals <- os.Interrupt
	signals <- os.Interrupt
	if code := <-killed; code != ExitInterrupted {
		t.Errorf("killed with %d, want 130", code)
	}
}

func TestStateDir(t *testing.T) {
	for _, c := range []struct {
		flag string
		uid  int
		vars map[string]string
		want string
	}{
		{"", 0, map[string]string{"HOME": "/root"}, "/var/cache/cfbuild"},
		{"", 0, map[string]string{"CFBUILD_STATE_DIR": "/s"}, "/s"},
		{"mine", 0, map[string]string{"CFBUILD_STATE_DIR": "/s"}, "DIR/mine"},
		{"", 7, map[string]string{"HOME": "/home/u"}, "/home/u/.cache/cfbuild"},
		{"", 7, map[string]string{"HOME": "/home/u", "XDG_CACHE_HOME": "/c"}, "/c/cfbuild"},
		{"", 7, map[string]string{"HOME": "/home/u", "XDG_CACHE_HOME": "relative"}, "/home/u/.cache/cfbuild"},
		{"", 7, nil, ""},
	} {
		env, _, _ := testEnv(t, c.vars)
		env.UID = c.uid
		got, err := env.stateDir(c.flag)
		if want := strings.ReplaceAll(c.want, "DIR", env.Dir); got != want || (err == nil) != (want != "") {
			t.Errorf("%+v: %q, %v", c, got, err)
		}
	}
}

func TestChooseRenderer(t *testing.T) {
	for _, c := range []struct {
		kind, term string
		terminal   bool
		want       string
	}{
		{"auto", "xterm", true, "*progress.tty"},
		{"auto", "dumb", true, "*progress.plain"},
		{"auto", "", true, "*progress.plain"},
		{"auto", "xterm", false, "*progress.plain"},
		{"tty", "", false, "*progress.tty"},
		{"plain", "xterm", true, "*progress.plain"},
		{"json", "xterm", true, "*progress.jsonLines"},
	} {
		env, _, _ := testEnv(t, map[string]string{"TERM": c.term})
		if c.terminal {
			env.Terminal = func() (int, int) { return 80, 24 }
		}
		r := (&program{env: env}).renderer(c.kind)
		if got := fmt.Sprintf("%T", r); got != c.want {
			t.Errorf("%+v: %s", c, got)
		}
		r.Close()
	}
}
