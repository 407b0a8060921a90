// Package childproc runs a copy of this program as a child that takes one JSON
// request on its standard input and answers with JSON lines on its standard
// output.
//
// The standard input stays open as long as the child may work: its end tells the
// child to stop, whether the caller gave up or died. A child that does not stop
// in time is killed with its whole process group.
package childproc

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"sync"
	"syscall"
	"time"
)

// grace is how long a child has to stop by itself unless the command says.
const grace = 10 * time.Second

// tailSize is how much of the child's standard error is kept, in bytes.
const tailSize = 4 << 10

// Command is one child.
type Command struct {
	// Path is the program, Name its argv[0], by which it knows what to be.
	Path, Name string
	// Flags are clone flags (namespaces) the child starts in.
	Flags uintptr
	// Request is marshalled to JSON. It may hold secrets: it goes through a
	// pipe and never through an argument, a variable or a file.
	Request any
	// Line takes each line of the answer, without its newline.
	Line func([]byte) error
	// Log takes the child's standard error as well; nil drops it.
	Log io.Writer
	// Grace is how long the child has to stop by itself before it is killed;
	// 0 means 10 s.
	Grace time.Duration
}

// ExitError says how a child ended that did not end well.
type ExitError struct {
	// Tail is the end of its standard error.
	Tail string
	Err  error
}

func (e *ExitError) Error() string {
	if e.Tail == "" {
		return e.Err.Error()
	}
	return e.Err.Error() + ": " + e.Tail
}

func (e *ExitError) Unwrap() error { return e.Err }

// Run runs the child to its end. When ctx ends, the child is told to stop, and
// killed after its Grace; the error is then ctx's. When Run returns, the child has
// ended.
func Run(ctx context.Context, c Command) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	req, err := json.Marshal(c.Request)
	if err != nil {
		return fmt.Errorf("request: %w", err)
	}
	cmd := exec.Command(c.Path)
	cmd.Args = []string{c.Name}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Cloneflags: c.Flags}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	errs := &tail{also: c.Log}
	cmd.Stderr = errs
	// The program that holds standard error may outlive the child for a moment.
	cmd.WaitDelay = time.Second
	if err := cmd.Start(); err != nil {
		return err
	}

	ended := make(chan struct{})
	var watch sync.WaitGroup
	watch.Go(func() { guard(ctx, cmd.Process.Pid, stdin, ended, cmp.Or(c.Grace, grace)) })
	go func() {
		// A child that died early breaks the pipe; its exit status says more.
		_, _ = stdin.Write(append(req, '\n'))
	}()
	lineErr := lines(stdout, c.Line)
	_, _ = io.Copy(io.Discard, stdout)
	err = cmd.Wait()
	close(ended)
	watch.Wait()

	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case lineErr != nil:
		return lineErr
	case err != nil && !errors.Is(err, exec.ErrWaitDelay):
		return &ExitError{Tail: errs.String(), Err: err}
	}
	return nil
}

// guard ends the child when ctx does: first by closing its standard input, then
// by signal.
func guard(ctx context.Context, pid int, stdin io.Closer, ended <-chan struct{}, grace time.Duration) {
	defer stdin.Close()
	select {
	case <-ended:
		return
	case <-ctx.Done():
	}
	stdin.Close()
	late := time.NewTimer(grace)
	defer late.Stop()
	select {
	case <-ended:
	case <-late.C:
		_ = syscall.Kill(-pid, syscall.SIGKILL)
	}
}

func lines(r io.Reader, f func([]byte) error) error {
	br := bufio.NewReaderSize(r, 64<<10)
	for {
		line, err := br.ReadBytes('\n')
		if len(line) > 0 && err == nil {
			if ferr := f(bytes.TrimSuffix(line, []byte("\n"))); ferr != nil {
				return ferr
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// tail keeps the end of what is written to it.
type tail struct {
	mu   sync.Mutex
	buf  []byte
	also io.Writer
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf = append(t.buf, p...)
	if n := len(t.buf) - tailSize; n > 0 {
		t.buf = append(t.buf[:0], t.buf[n:]...)
	}
	if t.also != nil {
		_, _ = t.also.Write(p) // diagnostics: losing them must not stop the child
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(bytes.TrimSpace(t.buf))
}
