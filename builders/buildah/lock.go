//go:build linux && cgo && containers_image_openpgp && exclude_graphdriver_btrfs

package buildah

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// A fileLock is a flock(2): it goes with the process that holds it, however that
// ends.
type fileLock struct{ f *os.File }

// errLocked: somebody else holds the lock.
var errLocked = errors.New("locked")

// tryLock takes the lock on a file, or fails with errLocked. The file is made if
// need be. Holders may remove the file: a lock on a removed file is not taken.
func tryLock(path string, how int) (*fileLock, error) {
	for {
		f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
		if err != nil {
			return nil, err
		}
		if err := unix.Flock(int(f.Fd()), how|unix.LOCK_NB); err != nil {
			f.Close()
			if errors.Is(err, unix.EWOULDBLOCK) {
				return nil, errLocked
			}
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
		held, err := f.Stat()
		if err != nil {
			f.Close()
			return nil, err
		}
		if there, err := os.Stat(path); err == nil && os.SameFile(held, there) {
			return &fileLock{f}, nil
		}
		f.Close()
	}
}

// lock waits for the lock until ctx ends. waiting is called once if it has to.
func lock(ctx context.Context, path string, how int, waiting func()) (*fileLock, error) {
	tick := time.NewTicker(25 * time.Millisecond)
	defer tick.Stop()
	for {
		l, err := tryLock(path, how)
		if !errors.Is(err, errLocked) {
			return l, err
		}
		if waiting != nil {
			waiting()
			waiting = nil
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-tick.C:
		}
	}
}

// unlock gives the lock up; a nil lock is none.
func (l *fileLock) unlock() {
	if l != nil {
		l.f.Close()
	}
}

// remove removes the file, then gives the lock up.
func (l *fileLock) remove() {
	os.Remove(l.f.Name())
	l.f.Close()
}

// workDir is a directory that belongs to this process and is removed by the next
// one should this one be killed.
func workDir(parent string) (dir string, held *fileLock, err error) {
	if err := os.MkdirAll(parent, 0o700); err != nil {
		return "", nil, err
	}
	old, err := filepath.Glob(filepath.Join(parent, "*.lock"))
	if err != nil {
		return "", nil, err
	}
	for _, path := range old {
		if l, err := tryLock(path, unix.LOCK_EX); err == nil {
			os.RemoveAll(path[:len(path)-len(".lock")])
			l.remove()
		}
	}
	if held, err = ownFile(parent, ".lock"); err != nil {
		return "", nil, err
	}
	dir = strings.TrimSuffix(held.f.Name(), ".lock")
	if err := os.Mkdir(dir, 0o700); err != nil {
		held.remove()
		return "", nil, err
	}
	return dir, held, nil
}

// ownFile makes a file of a new name and holds its lock. Who sweeps may hold the
// lock of a file just made, and then removes it: the next name will do.
func ownFile(dir, suffix string) (*fileLock, error) {
	for {
		l, err := tryLock(filepath.Join(dir, newID()+suffix), unix.LOCK_EX)
		if !errors.Is(err, errLocked) {
			return l, err
		}
	}
}
