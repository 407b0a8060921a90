package apptainer

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// hidden directories are empty where Apptainer runs: those that it shows to steps, as
// root's to write, and some it has no business in.
var hidden = []struct {
	path, options string
	steps         bool
}{{"/tmp", "mode=1777", true}, {"/var/tmp", "mode=1777", true}, {"/root", "mode=700", false}, {"/home", "mode=755", false}}

// furnish mounts what Apptainer is to see, and gives the directory that has work.
// It is nowhere below what Apptainer shows to steps.
func furnish(e errand) (place string, err error) {
	// Nothing that is mounted here gets out. The namespace is new, which this proves.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return "", fmt.Errorf("make mounts private: %w", err)
	}
	if err := unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return "", fmt.Errorf("mount /proc: %w", err)
	}
	// Root's own ids are root's also to what the kernel lets root set.
	for _, p := range []string{"/proc/sys", "/proc/sysrq-trigger", "/proc/irq", "/proc/bus", "/proc/fs"} {
		if err := readOnly(p); err != nil {
			return "", err
		}
	}
	if place, err = emptyPlace(e.Program); err != nil {
		return "", err
	}
	// What lies below a hidden directory is held before it is hidden.
	binds := []bind{{from: e.Work, to: place + "/work"}}
	for _, h := range hidden {
		if rest, ok := strings.CutPrefix(e.Program, h.path+"/"); ok && !h.steps {
			top, _, _ := strings.Cut(rest, "/")
			binds = append(binds, bind{from: h.path + "/" + top, to: h.path + "/" + top, readOnly: true})
		}
	}
	for i := range binds {
		if err := binds[i].hold(); err != nil {
			return "", err
		}
	}
	if err := unix.Mount("tmpfs", place, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=755"); err != nil {
		return "", fmt.Errorf("mount %s: %w", place, err)
	}
	if err := devices(place + "/dev"); err != nil {
		return "", err
	}
	for _, h := range hidden {
		if st, err := os.Lstat(h.path); err != nil || !st.IsDir() {
			continue
		}
		if err := unix.Mount("tmpfs", h.path, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, h.options); err != nil {
			return "", fmt.Errorf("mount %s: %w", h.path, err)
		}
	}
	for _, b := range binds {
		if err := b.mount(); err != nil {
			return "", err
		}
	}
	return place, nil
}

// emptyPlace finds a directory to mount on.
func emptyPlace(program string) (string, error) {
	for _, p := range []string{"/mnt", "/media", "/srv", "/opt"} {
		if st, err := os.Lstat(p); err == nil && st.IsDir() && !strings.HasPrefix(program, p+"/") {
			return p, nil
		}
	}
	return "", errors.New("none of /mnt, /media, /srv and /opt is there to mount on")
}

// bind shows a directory elsewhere.
type bind struct {
	from, to string
	readOnly bool
	fd       int
}

func (b *bind) hold() (err error) {
	if b.fd, err = unix.Open(b.from, unix.O_PATH|unix.O_CLOEXEC, 0); err != nil {
		return fmt.Errorf("%s: %w", b.from, err)
	}
	return nil
}

func (b *bind) mount() error {
	defer unix.Close(b.fd)
	if err := os.MkdirAll(b.to, 0o755); err != nil {
		return err
	}
	if err := unix.Mount(fmt.Sprintf("/proc/self/fd/%d", b.fd), b.to, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("mount %s: %w", b.to, err)
	}
	if !b.readOnly {
		return nil
	}
	return remountReadOnly(b.to)
}

// readOnly keeps a path from being written.
func readOnly(path string) error {
	err := unix.Mount(path, path, "", unix.MS_BIND|unix.MS_REC, "")
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("mount %s: %w", path, err)
	}
	return remountReadOnly(path)
}

func remountReadOnly(path string) error {
	// Flags that the mount has from a namespace above must be named again.
	var st unix.Statfs_t
	if err := unix.Statfs(path, &st); err != nil {
		return err
	}
	keep := uintptr(st.Flags) & (unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC | unix.MS_NOATIME | unix.MS_NODIRATIME | unix.MS_RELATIME)
	if err := unix.Mount("", path, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY|keep, ""); err != nil {
		return fmt.Errorf("mount %s read-only: %w", path, err)
	}
	return nil
}

// devices makes a /dev of a few devices, which a step may spoil.
func devices(dir string) error {
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	for _, name := range []string{"null", "zero", "full", "random", "urandom", "tty", "fuse"} {
		from, to := "/dev/"+name, filepath.Join(dir, name)
		if _, err := os.Stat(from); err != nil {
			continue
		}
		if err := os.WriteFile(to, nil, 0o666); err != nil {
			return err
		}
		if err := unix.Mount(from, to, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("mount %s: %w", from, err)
		}
	}
	for _, sub := range []string{"pts", "shm"} {
		if err := os.Mkdir(filepath.Join(dir, sub), 0o755); err != nil {
			return err
		}
	}
	if err := unix.Mount("devpts", filepath.Join(dir, "pts"), "devpts", unix.MS_NOSUID|unix.MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620"); err != nil {
		return fmt.Errorf("mount /dev/pts: %w", err)
	}
	if err := unix.Mount("tmpfs", filepath.Join(dir, "shm"), "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=1777"); err != nil {
		return fmt.Errorf("mount /dev/shm: %w", err)
	}
	for name, to := range map[string]string{"ptmx": "pts/ptmx", "fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1", "stderr": "/proc/self/fd/2"} {
		if err := os.Symlink(to, filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	return unix.Mount(dir, "/dev", "", unix.MS_BIND|unix.MS_REC, "")
}
