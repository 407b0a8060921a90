// Package daemontest runs real daemons for tests, so that they leave nothing behind: as
// root each in mount and process namespaces and control groups of its own, which end with
// it, whatever it has mounted or started. An ordinary user's is a process group.
package daemontest

import (
	"bytes"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

//go:embed cage.sh
var cage string

// grace is how long a daemon has to stop by itself.
const grace = 20 * time.Second

// groups is what names of control groups begin with: a process's number follows, and one of
// its daemons.
const groups = "cfbuild-test-"

// serial makes the names of control groups of one test process differ.
var serial atomic.Int64

// Spec is what to start.
type Spec struct {
	// Args is the command. As root it starts in a cage.
	Args []string
	// Env is its whole environment.
	Env []string
	// Log is the file that takes its output. A test that fails shows the end of it.
	Log string
}

// Daemon is one running daemon. It ends with the test.
type Daemon struct {
	t     testing.TB
	spec  Spec
	group string
	cmd   *exec.Cmd
	// life is closed to end the daemon; the kernel does it if the test is killed.
	life  io.Closer
	ended chan struct{}
}

// Start starts a daemon, which need not answer yet.
func Start(t testing.TB, s Spec) *Daemon {
	t.Helper()
	sweep()
	log, err := os.OpenFile(s.Log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	d := &Daemon{t: t, spec: s, ended: make(chan struct{}), group: fmt.Sprintf("%s%d-%d", groups, os.Getpid(), serial.Add(1))}
	if os.Geteuid() == 0 {
		d.cmd = exec.Command("sh", append([]string{"-euc", cage, "cage", d.group}, s.Args...)...)
		d.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWPID}
	} else {
		d.cmd = exec.Command(s.Args[0], s.Args[1:]...)
		d.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	}
	d.cmd.Env, d.cmd.Stdout, d.cmd.Stderr = s.Env, log, log
	if d.life, err = d.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := d.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = d.cmd.Wait()
		close(d.ended)
	}()
	t.Cleanup(func() {
		d.Stop()
		if t.Failed() {
			t.Logf("%s ended its log with:\n%s", filepath.Base(s.Args[0]), d.Tail())
		}
	})
	return d
}

// Ended is closed when the daemon has ended.
func (d *Daemon) Ended() <-chan struct{} { return d.ended }

// Stop asks the daemon to end, waits until it has, and kills what does not.
func (d *Daemon) Stop() {
	// In the cage this sends the signal; two would be an order to hurry.
	d.life.Close()
	if os.Geteuid() != 0 {
		_ = d.cmd.Process.Signal(syscall.SIGTERM)
	}
	select {
	case <-d.ended:
	case <-time.After(grace):
		d.t.Logf("%s did not stop within %v", filepath.Base(d.spec.Args[0]), grace)
	}
	d.Kill()
}

// Kill ends the daemon and all it has started at once.
func (d *Daemon) Kill() {
	_ = syscall.Kill(-d.cmd.Process.Pid, syscall.SIGKILL)
	<-d.ended
	d.life.Close()
	d.removeGroups()
}

// WaitFor calls ask until it gives nil. The test fails when the daemon ends before, or does
// not answer within two minutes.
func (d *Daemon) WaitFor(ask func() error) {
	d.t.Helper()
	late := time.After(2 * time.Minute)
	for {
		err := ask()
		if err == nil {
			return
		}
		select {
		case <-d.ended:
			d.t.Fatalf("%s ended: %v\n%s", filepath.Base(d.spec.Args[0]), d.cmd.ProcessState, d.Tail())
		case <-late:
			d.t.Fatalf("%s does not answer: %v\n%s", filepath.Base(d.spec.Args[0]), err, d.Tail())
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// Tail gives the end of the daemon's log.
func (d *Daemon) Tail() string {
	b, err := os.ReadFile(d.spec.Log)
	if err != nil {
		return err.Error()
	}
	lines := bytes.SplitAfter(b, []byte("\n"))
	return string(bytes.Join(lines[max(0, len(lines)-40):], nil))
}

// removeGroups takes away the control groups the cage has made; a killed process leaves its
// group a moment after it has been waited for.
func (d *Daemon) removeGroups() {
	if os.Geteuid() != 0 {
		return
	}
	var err error
	for range 100 {
		if err = removeGroups("/sys/fs/cgroup", d.group); err == nil {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	d.t.Errorf("control groups are left: %v", err)
}

func removeGroups(root, name string) error {
	var groups []string
	err := filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil // others come and go
		case err != nil:
			return err
		case e.IsDir() && (e.Name() == name || slices.Contains(groups, filepath.Dir(path))):
			groups = append(groups, path)
		}
		return nil
	})
	for _, g := range slices.Backward(groups) {
		if e := os.Remove(g); !errors.Is(e, fs.ErrNotExist) {
			err = errors.Join(err, e)
		}
	}
	return err
}
