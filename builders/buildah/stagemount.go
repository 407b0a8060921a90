//go:build linux && cgo && containers_image_openpgp && exclude_graphdriver_btrfs

package buildah

import (
	"errors"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// mountProc mounts the processes of our PID namespace. A container that hides
// parts of its own /proc may not mount a new one: then its own is used.
func mountProc(target string) error {
	err := unix.Mount("proc", target, "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "")
	if errors.Is(err, unix.EPERM) {
		err = unix.Mount("/proc", target, "", unix.MS_BIND|unix.MS_REC, "")
	}
	return err
}

func bindWritable(source, target string) error {
	return unix.Mount(source, target, "", unix.MS_BIND|unix.MS_REC, "")
}

func bindReadOnly(source, target string) error {
	if err := unix.Mount(source, target, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return err
	}
	return readOnly(target)
}

// readOnly makes a mount and all below it read-only.
func readOnly(target string) error {
	attr := &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}
	err := unix.MountSetattr(unix.AT_FDCWD, target, unix.AT_RECURSIVE, attr)
	if errors.Is(err, unix.ENOSYS) { // before Linux 5.12
		err = remountReadOnly(target)
	}
	return err
}

func remountReadOnly(target string) error {
	var fs unix.Statfs_t
	if err := unix.Statfs(target, &fs); err != nil {
		return err
	}
	// A user namespace may not drop flags that a mount came with.
	flags := uintptr(unix.MS_BIND | unix.MS_REMOUNT | unix.MS_RDONLY)
	for have, keep := range map[int64]uintptr{unix.ST_NOSUID: unix.MS_NOSUID, unix.ST_NODEV: unix.MS_NODEV,
		unix.ST_NOEXEC: unix.MS_NOEXEC, unix.ST_NOATIME: unix.MS_NOATIME, unix.ST_RELATIME: unix.MS_RELATIME} {
		if int64(fs.Flags)&have != 0 {
			flags |= keep
		}
	}
	return unix.Mount("", target, "", flags, "")
}

// What container engines keep from steps of /proc and /sys (OCI runtime spec,
// config-linux.md: maskedPaths and readonlyPaths).
var (
	maskedPaths   = []string{"/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug", "/proc/scsi", "/sys/firmware", "/sys/devices/virtual/powercap"}
	readonlyPaths = []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"}
)

// hide keeps a step from reading or changing what is the machine's. In a user
// namespace the kernel refuses most of it anyway, and some of these mounts: then
// there is nothing to hide.
func hide(proc, sys, scratch string) {
	empty := filepath.Join(scratch, "empty")
	if err := os.Mkdir(empty, 0o555); err != nil {
		return
	}
	place := func(p string) string {
		if len(p) > 5 && p[:5] == "/proc" {
			return filepath.Join(proc, p[5:])
		}
		return filepath.Join(sys, p[4:])
	}
	for _, p := range readonlyPaths {
		t := place(p)
		if unix.Mount(t, t, "", unix.MS_BIND|unix.MS_REC, "") == nil {
			_ = readOnly(t)
		}
	}
	for _, p := range maskedPaths {
		fi, err := os.Stat(place(p))
		if err != nil {
			continue
		}
		with := "/dev/null"
		if fi.IsDir() {
			with = empty
		}
		_ = unix.Mount(with, place(p), "", unix.MS_BIND, "")
	}
}

// makeDev makes a /dev with what programs expect and nothing of the machine's
// hardware, the same for root and for ordinary users.
func (sc *stageConfig) makeDev(dir string) error {
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	if err := unix.Mount("tmpfs", dir, "tmpfs", unix.MS_NOSUID|unix.MS_NOEXEC, "mode=0755"); err != nil {
		return err
	}
	for _, name := range []string{"null", "zero", "full", "random", "urandom", "tty"} {
		p := filepath.Join(dir, name)
		if err := os.WriteFile(p, nil, 0o666); err != nil {
			return err
		}
		if err := unix.Mount("/dev/"+name, p, "", unix.MS_BIND, ""); err != nil {
			return err
		}
	}
	for _, d := range []string{"pts", "shm"} {
		if err := os.Mkdir(filepath.Join(dir, d), 0o755); err != nil {
			return err
		}
	}
	pts := filepath.Join(dir, "pts")
	const nosuid = unix.MS_NOSUID | unix.MS_NOEXEC
	err := unix.Mount("devpts", pts, "devpts", nosuid, "newinstance,ptmxmode=0666,mode=0620,gid=5")
	if errors.Is(err, unix.EINVAL) { // group 5 is not ours to give
		err = unix.Mount("devpts", pts, "devpts", nosuid, "newinstance,ptmxmode=0666,mode=0620")
	}
	if err != nil {
		return err
	}
	if err := unix.Mount("tmpfs", filepath.Join(dir, "shm"), "tmpfs", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "mode=1777"); err != nil {
		return err
	}
	for name, target := range map[string]string{"ptmx": "pts/ptmx", "fd": "/proc/self/fd", "stdin": "/proc/self/fd/0",
		"stdout": "/proc/self/fd/1", "stderr": "/proc/self/fd/2"} {
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	if sc.Script != nil {
		return os.WriteFile(filepath.Join(dir, scriptName), sc.Script, 0o644)
	}
	return nil
}
