// Package filelock takes advisory locks between processes. The kernel drops a lock
// with its process, so a run that is killed leaves none behind.
package filelock

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"
)

// Lock takes an exclusive lock (flock(2)) on a file, which is made if need be, and
// waits for it until ctx ends. waiting, which may be nil, is called once when
// somebody else has it.
func Lock(ctx context.Context, path string, waiting func()) (unlock func(), err error) {
	return take(ctx, path, syscall.LOCK_EX, waiting)
}

// Share is [Lock] for a lock that several can have at once.
func Share(ctx context.Context, path string, waiting func()) (unlock func(), err error) {
	return take(ctx, path, syscall.LOCK_SH, waiting)
}

func take(ctx context.Context, path string, how int, waiting func()) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	for told := false; ; told = true {
		err := syscall.Flock(int(f.Fd()), how|syscall.LOCK_NB)
		if err == nil {
			return func() { f.Close() }, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			f.Close()
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
		if !told && waiting != nil {
			waiting()
		}
		select {
		case <-ctx.Done():
			f.Close()
			return nil, context.Cause(ctx)
		case <-time.After(50 * time.Millisecond):
		}
	}
}
