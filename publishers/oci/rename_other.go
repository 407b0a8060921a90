//go:build !linux

package oci

import (
	"errors"
	"io/fs"
	"os"
)

func renameNew(path, target string) error {
	if _, err := os.Lstat(target); !errors.Is(err, fs.ErrNotExist) {
		return &fs.PathError{Op: "rename", Path: target, Err: fs.ErrExist}
	}
	return os.Rename(path, target)
}

func exchange(path, target string) error { return renameTwice(path, target) }
