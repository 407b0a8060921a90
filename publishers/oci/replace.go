package oci

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/cfbuild/cfbuild/internal/atomicfile"
	"github.com/cfbuild/cfbuild/internal/oci"
)

// OutputError: what is at an output path is not ours to replace.
type OutputError struct {
	Path, Reason string
	Err          error // [oci.ErrNotLayout] or nil
}

func (e *OutputError) Error() string { return e.Path + ": " + e.Reason }

func (e *OutputError) Unwrap() error { return e.Err }

// Hint is what to do instead.
func (e *OutputError) Hint() string {
	return "choose another output directory (--output), or move " + e.Path + " away"
}

// replaceable says whether dir may be replaced: nothing, an empty directory or an
// OCI layout.
func replaceable(dir string) error {
	st, err := os.Stat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if !st.IsDir() {
		return &OutputError{Path: dir, Reason: "is in the way: it is not a directory"}
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) == 0 {
		return err
	}
	if _, err := oci.Open(dir); err != nil {
		return &OutputError{Path: dir, Reason: "is neither empty nor an OCI image layout; it is not replaced", Err: oci.ErrNotLayout}
	}
	return nil
}

// temp is a file or directory that is written beside its place. A lock on it,
// which the kernel drops with the process, tells those in use from those a killed
// run left behind.
type temp struct {
	path string
	f    *os.File // holds the lock; the file itself when it is not a directory
}

const tempMark = ".tmp-"

// newTemp makes a temporary beside target and removes those killed runs left.
func newTemp(target string, dir bool) (*temp, error) {
	parent, prefix := filepath.Dir(target), "."+filepath.Base(target)+tempMark
	// The parent's lock keeps a sweep from taking one that is not locked yet.
	if guard, err := os.Open(parent); err == nil {
		defer guard.Close()
		if flock(guard, syscall.LOCK_EX) == nil {
			sweep(parent, prefix)
		}
	}
	if !dir {
		f, err := os.CreateTemp(parent, prefix+"*")
		if err != nil {
			return nil, err
		}
		flock(f, syscall.LOCK_EX|syscall.LOCK_NB)
		return &temp{f.Name(), f}, nil
	}
	path, err := os.MkdirTemp(parent, prefix+"*")
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, 0o755); err != nil {
		os.Remove(path)
		return nil, err
	}
	f, err := os.Open(path)
	if err != nil {
		os.Remove(path)
		return nil, err
	}
	flock(f, syscall.LOCK_EX|syscall.LOCK_NB)
	return &temp{path, f}, nil
}

// sweep removes temporaries nobody holds. Where locks do not work nothing is
// removed: better litter than a living run's files.
func sweep(parent, prefix string) {
	entries, err := os.ReadDir(parent)
	if err != nil {
		return
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), prefix) {
			continue
		}
		path := filepath.Join(parent, e.Name())
		f, err := os.Open(path)
		if err != nil {
			continue
		}
		if flock(f, syscall.LOCK_EX|syscall.LOCK_NB) == nil {
			os.RemoveAll(path)
		}
		f.Close()
	}
}

func flock(f *os.File, how int) error {
	for {
		if err := syscall.Flock(int(f.Fd()), how); !errors.Is(err, syscall.EINTR) {
			return err
		}
	}
}

// discard removes what is still there under the temporary name.
func (t *temp) discard() {
	os.RemoveAll(t.path)
	t.f.Close()
}

// replaceFile puts the written file at target.
func (t *temp) replaceFile(target string) error {
	if err := t.f.Chmod(0o644); err != nil {
		return err
	}
	if err := t.f.Sync(); err != nil {
		return err
	}
	if err := os.Rename(t.path, target); err != nil {
		return err
	}
	return atomicfile.SyncDir(filepath.Dir(target))
}

// replaceDir puts the directory at target. What was there is exchanged for it in
// one step, ends under the temporary name and is removed.
func (t *temp) replaceDir(target string) error {
	for range 100 { // others may do the same at the same time
		err := renameNew(t.path, target)
		if errors.Is(err, fs.ErrExist) {
			if err := replaceable(target); err != nil {
				return err
			}
			err = exchange(t.path, target)
		}
		if err == nil {
			return atomicfile.SyncDir(filepath.Dir(target))
		}
		if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	return fmt.Errorf("%s: other runs keep replacing it", target)
}

// renameTwice replaces a directory where the file system cannot exchange two: for
// a moment nothing is at target.
func renameTwice(path, target string) error {
	old := path + "-old"
	if err := os.Rename(target, old); err != nil {
		return err
	}
	if err := os.Rename(path, target); err != nil {
		// Put it back unless another run was quicker.
		if os.Rename(old, target) != nil {
			os.RemoveAll(old)
		}
		return err
	}
	return os.RemoveAll(old)
}
