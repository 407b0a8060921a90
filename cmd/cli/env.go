package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/term"
)

// Env is the world around the command line.
type Env struct {
	// Getenv reads a variable, "" when it is not set.
	Getenv func(string) string
	Stdout io.Writer
	Stderr io.Writer
	// Now is the clock.
	Now func() time.Time
	// Dir is the working directory, absolute.
	Dir string
	// UID of the user.
	UID int
	// Terminal gives the size of the terminal stderr is; nil: it is none.
	Terminal func() (width, height int)
	// Signals end the run: the first asks, the second kills. Nil: none do.
	Signals <-chan os.Signal
	// Kill ends the process at once; os.Exit.
	Kill func(code int)
}

// Main runs the program on the process's own arguments and environment and gives
// its exit code.
func Main(app App) int {
	dir, err := os.Getwd()
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: working directory: %v\n", app.name(), err)
		return ExitOther
	}
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(signals)
	env := Env{Getenv: os.Getenv, Stdout: os.Stdout, Stderr: os.Stderr, Now: time.Now, Dir: dir, UID: os.Getuid(),
		Signals: signals, Kill: os.Exit}
	if fd := int(os.Stderr.Fd()); term.IsTerminal(fd) {
		env.Terminal = func() (int, int) {
			w, h, err := term.GetSize(fd)
			if err != nil {
				return 80, 24
			}
			return w, h
		}
	}
	return Run(context.Background(), app, os.Args[1:], env)
}

// Run runs the program once and gives its exit code. Several may run at once.
func Run(ctx context.Context, app App, args []string, env Env) int {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	finished := make(chan struct{})
	defer close(finished)
	p := &program{app: app, env: env}
	go p.obey(cancel, finished)
	err := p.execute(ctx, args)
	if err != nil && errors.Is(context.Cause(ctx), errInterrupted) && !errors.Is(err, errInterrupted) {
		err = errors.Join(err, errInterrupted)
	}
	if err != nil && !errors.Is(err, errQuiet) {
		printError(env.Stderr, app.name(), err)
	}
	return exitCode(err)
}

// errQuiet marks an error that was already told.
var errQuiet = errors.New("already told")

// quietError ends the program with a code and says nothing.
type quietError struct{ code int }

func (e *quietError) Error() string        { return "exit status " + strconv.Itoa(e.code) }
func (e *quietError) Is(target error) bool { return target == errQuiet }

func exitCode(err error) int {
	var q *quietError
	if errors.As(err, &q) {
		return q.code
	}
	return ExitCode(err)
}

// obey cancels on the first signal and kills on the second.
func (p *program) obey(cancel context.CancelCauseFunc, finished <-chan struct{}) {
	for n := 0; ; n++ {
		select {
		case <-finished:
			return
		case _, ok := <-p.env.Signals:
			if !ok {
				return
			}
		}
		if n > 0 {
			if p.env.Kill != nil {
				p.env.Kill(ExitInterrupted)
			}
			return
		}
		p.announce("interrupted: ending what runs (once more kills)")
		cancel(errInterrupted)
	}
}

// path makes a path of the command line absolute.
func (e Env) path(p string) string {
	if p == "" || filepath.IsAbs(p) {
		return p
	}
	return filepath.Join(e.Dir, p)
}

// shown is a path as people want to read it: relative below the working directory.
func (e Env) shown(p string) string {
	if rel, err := filepath.Rel(e.Dir, p); err == nil && filepath.IsLocal(rel) {
		return rel
	}
	return p
}

// stateDir is where everything is kept between runs: --state-dir,
// CFBUILD_STATE_DIR, /var/cache/cfbuild for root, XDG_CACHE_HOME/cfbuild,
// ~/.cache/cfbuild.
func (e Env) stateDir(flag string) (string, error) {
	for _, d := range []string{flag, e.Getenv("CFBUILD_STATE_DIR")} {
		if d != "" {
			return e.path(d), nil
		}
	}
	if e.UID == 0 {
		return "/var/cache/cfbuild", nil
	}
	if d := e.Getenv("XDG_CACHE_HOME"); filepath.IsAbs(d) { // XDG: relative paths are to be ignored
		return filepath.Join(d, "cfbuild"), nil
	}
	if d := e.Getenv("HOME"); filepath.IsAbs(d) {
		return filepath.Join(d, ".cache", "cfbuild"), nil
	}
	return "", usagef("set CFBUILD_STATE_DIR or pass --state-dir DIR", "state directory: neither XDG_CACHE_HOME nor HOME is set")
}

// epoch reads SOURCE_DATE_EPOCH, seconds since 1970 (reproducible-builds.org).
func (e Env) epoch() (time.Time, error) {
	s := e.Getenv("SOURCE_DATE_EPOCH")
	if s == "" {
		return time.Time{}, nil
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 {
		return time.Time{}, usagef("set it to the seconds since 1970-01-01, such as $(date +%s), or unset it",
			"SOURCE_DATE_EPOCH: %q is not a number of seconds", s)
	}
	return time.Unix(n, 0).UTC(), nil
}
