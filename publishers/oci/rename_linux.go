package oci

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// renameNew renames a directory to a name that must be free (fs.ErrExist).
func renameNew(path, target string) error {
	err := unix.Renameat2(unix.AT_FDCWD, path, unix.AT_FDCWD, target, unix.RENAME_NOREPLACE)
	if unsupported(err) {
		// Without flags a directory replaces an empty one only, which is as good.
		err = unix.Rename(path, target)
		if errors.Is(err, unix.ENOTEMPTY) {
			err = unix.EEXIST
		}
	}
	return pathError("rename", target, err)
}

// exchange swaps two directories in one step, where the file system can.
func exchange(path, target string) error {
	err := unix.Renameat2(unix.AT_FDCWD, path, unix.AT_FDCWD, target, unix.RENAME_EXCHANGE)
	if unsupported(err) {
		return renameTwice(path, target)
	}
	return pathError("rename", target, err)
}

func unsupported(err error) bool {
	return errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EOPNOTSUPP)
}

func pathError(op, path string, err error) error {
	if err == nil {
		return nil
	}
	return &os.PathError{Op: op, Path: path, Err: err}
}
