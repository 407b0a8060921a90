package cache

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// Usage is what one part of the state directory takes.
type Usage struct {
	Name  string `json:"name"`
	Path  string `json:"path"`
	Bytes int64  `json:"bytes"`
	Files int    `json:"files"`
	// Unread counts directories that could not be read; Bytes lacks them.
	Unread int `json:"unread,omitempty"`
}

// Size measures a directory as the disk sees it: allocated blocks, a hard-linked
// file once. A directory that is not there takes nothing.
func Size(name, dir string) (Usage, error) {
	u := Usage{Name: name, Path: dir}
	seen := map[inode]bool{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return u.excuse(err)
		}
		info, err := d.Info()
		if err != nil {
			return u.excuse(err)
		}
		n, id, links := allocated(info)
		if links > 1 && !d.IsDir() {
			if seen[id] {
				return nil
			}
			seen[id] = true
		}
		u.Bytes += n
		if !d.IsDir() {
			u.Files++
		}
		return nil
	})
	return u, err
}

// excuse lets what vanished or is not ours pass.
func (u *Usage) excuse(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if errors.Is(err, fs.ErrPermission) {
		u.Unread++
		return nil
	}
	return err
}

type inode struct{ dev, ino uint64 }

func allocated(info fs.FileInfo) (bytes int64, id inode, links uint64) {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return info.Size(), inode{}, 1
	}
	return st.Blocks * 512, inode{uint64(st.Dev), st.Ino}, uint64(st.Nlink)
}

// lastUse is when a file was written or read last, as far as the mount keeps it.
func lastUse(info fs.FileInfo) time.Time {
	t := info.ModTime()
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		if a := time.Unix(st.Atim.Unix()); a.After(t) {
			return a
		}
	}
	return t
}

// removable adds up what removing a tree frees: files whose last link is in it.
func removable(path string) int64 {
	var n int64
	inside := map[inode]uint64{}
	_ = filepath.WalkDir(path, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil
		}
		info, err := d.Info()
		if err != nil {
			return nil
		}
		b, id, links := allocated(info)
		if !d.IsDir() && links > 1 {
			inside[id]++
			if inside[id] < links {
				return nil
			}
		}
		n += b
		return nil
	})
	return n
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}
