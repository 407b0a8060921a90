// Package cache looks after the state directory: who uses it, how large it is,
// and what can go.
//
// A run registers ([Enter]); pruning keeps runs from starting while it works on
// what has no lock of its own, and keeps its hands off what a live run may use.
package cache

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// Enter registers a run that began at now. It waits while a prune is on; waiting
// is called once if it has to. leave ends the registration; a killed run's ends
// with its process.
func Enter(ctx context.Context, stateDir string, now time.Time, waiting func()) (leave func(), err error) {
	runs := filepath.Join(stateDir, "runs")
	if err := os.MkdirAll(runs, 0o755); err != nil {
		return nil, err
	}
	gate, err := open(filepath.Join(stateDir, "gate.lock"))
	if err != nil {
		return nil, err
	}
	defer gate.Close()
	if err := wait(ctx, gate, syscall.LOCK_SH, waiting); err != nil {
		return nil, err
	}
	f, err := os.CreateTemp(runs, strconv.Itoa(os.Getpid())+"-*")
	if err != nil {
		return nil, err
	}
	if err := flock(f, syscall.LOCK_EX); err != nil {
		f.Close()
		return nil, err
	}
	if err := os.Chtimes(f.Name(), now, now); err != nil {
		f.Close()
		return nil, err
	}
	return func() {
		os.Remove(f.Name())
		f.Close()
	}, nil
}

// live gives how many runs are on and when the oldest began, and clears away the
// registrations of runs that were killed.
func live(stateDir string) (n int, oldest time.Time, err error) {
	runs := filepath.Join(stateDir, "runs")
	entries, err := os.ReadDir(runs)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, time.Time{}, nil
	}
	if err != nil {
		return 0, time.Time{}, err
	}
	for _, e := range entries {
		path := filepath.Join(runs, e.Name())
		f, err := os.OpenFile(path, os.O_RDWR|syscall.O_CLOEXEC, 0)
		if errors.Is(err, fs.ErrNotExist) {
			continue // it has just left
		}
		if err != nil {
			return 0, time.Time{}, err
		}
		if flock(f, syscall.LOCK_EX) == nil {
			os.Remove(path)
			f.Close()
			continue
		}
		if st, err := f.Stat(); err == nil && (oldest.IsZero() || st.ModTime().Before(oldest)) {
			oldest = st.ModTime()
		}
		n++
		f.Close()
	}
	return n, oldest, nil
}

func open(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_CREATE|os.O_RDWR|syscall.O_CLOEXEC, 0o644)
}

// wait takes a lock as soon as it can be had; told is called once if that is not
// at once.
func wait(ctx context.Context, f *os.File, how int, told func()) error {
	for {
		err := flock(f, how)
		if err == nil || !errors.Is(err, syscall.EWOULDBLOCK) {
			return err
		}
		if told != nil {
			told()
			told = nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// flock takes a lock or fails at once.
func flock(f *os.File, how int) error {
	for {
		err := syscall.Flock(int(f.Fd()), how|syscall.LOCK_NB)
		if !errors.Is(err, syscall.EINTR) {
			if err != nil && !errors.Is(err, syscall.EWOULDBLOCK) {
				return fmt.Errorf("lock %s: %w", f.Name(), err)
			}
			return err
		}
	}
}
