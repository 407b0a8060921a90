package sif

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// Files that are being written are named tempMark, the name they will have, '-' and a number.
const tempMark = ".tmp-"

// beside makes a file to be renamed to path and removes those that killed processes
// left there. Its lock, which ends with its process, tells one from the other. done closes
// the file, and removes it when it still has its first name.
func beside(path string) (f *os.File, done func(), err error) {
	dir, base := filepath.Split(filepath.Clean(path))
	if dir == "" {
		dir = "."
	}
	sweep(dir, tempMark+base+"-")
	for {
		if f, err = os.CreateTemp(dir, tempMark+base+"-*"); err != nil {
			return nil, nil, err
		}
		if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil && !errors.Is(err, syscall.ENOSYS) && !errors.Is(err, syscall.ENOLCK) {
			f.Close()
			os.Remove(f.Name())
			return nil, nil, err
		}
		// Somebody may have swept it away before it was locked.
		if same(f) {
			return f, func() {
				if same(f) {
					os.Remove(f.Name())
				}
				f.Close()
			}, nil
		}
		f.Close()
	}
}

// same says whether a file still has the name it was opened by.
func same(f *os.File) bool {
	a, err := f.Stat()
	if err != nil {
		return false
	}
	b, err := os.Lstat(f.Name())
	return err == nil && os.SameFile(a, b)
}

// sweep removes temporary files that nobody has a lock on. Those of other users may
// have to stay.
func sweep(dir, prefix string) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	for _, e := range entries {
		number, ours := strings.CutPrefix(e.Name(), prefix)
		if !ours || number == "" || strings.Trim(number, "0123456789") != "" || !e.Type().IsRegular() {
			continue
		}
		f, err := os.OpenFile(filepath.Join(dir, e.Name()), os.O_RDWR|syscall.O_NOFOLLOW, 0)
		if err != nil {
			continue
		}
		if syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil && same(f) {
			os.Remove(f.Name())
		}
		f.Close()
	}
}
