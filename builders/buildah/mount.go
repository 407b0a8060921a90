//go:build linux && cgo && containers_image_openpgp && exclude_graphdriver_btrfs

package buildah

import (
	"bytes"
	"errors"
	"fmt"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// overlayMount is one overlay mount. Paths may be relative to home, which keeps
// the mount's options below the kernel's limit of a page: with layers of 32
// letters there is room for a hundred.
type overlayMount struct {
	home   string
	lowers []string // the top first
	upper  string   // "" to read only
	work   string
	target string // absolute
	fuse   string // a mount program instead of the kernel
	in     *walker
}

func (m overlayMount) data(extra ...string) string {
	opts := []string{"lowerdir=" + strings.Join(m.lowers, ":")}
	if m.upper != "" {
		opts = append(opts, "upperdir="+m.upper, "workdir="+m.work)
	}
	return strings.Join(append(opts, extra...), ",")
}

// mountOverlay mounts. Where the kernel can, a mount to write is volatile: a
// layer counts only once it is recorded, so its steps need not wait for the disk
// whenever they call fsync.
func mountOverlay(m overlayMount) error {
	if m.fuse != "" {
		return m.mountFuse()
	}
	extra := []string{"index=off", "redirect_dir=off", "metacopy=off"}
	if rootless() {
		extra = []string{"userxattr"}
	}
	var flags uintptr
	if m.upper == "" {
		flags = unix.MS_RDONLY
	} else if err := m.mount(flags, append(extra, "volatile")); !errors.Is(err, unix.EINVAL) {
		return err
	}
	return m.mount(flags, extra)
}

// mount does the system call from home.
func (m overlayMount) mount(flags uintptr, extra []string) error {
	data := m.data(extra...)
	if len(data) >= unix.Getpagesize() {
		return fmt.Errorf("%d layers are too many for one mount", len(m.lowers))
	}
	return m.in.do(m.home, func() error {
		return unix.Mount("overlay", m.target, "overlay", flags, data)
	})
}

// A walker is a thread with a working directory of its own. It lives as long as the
// process: children that are to die with us would die with the thread that made
// them, and a thread that ends may have made one.
type walker struct{ jobs chan func() }

func newWalker() (*walker, error) {
	w := &walker{jobs: make(chan func())}
	ready := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked
		ready <- unix.Unshare(unix.CLONE_FS)
		for job := range w.jobs {
			job()
		}
	}()
	return w, <-ready
}

func (w *walker) do(dir string, f func() error) error {
	done := make(chan error)
	w.jobs <- func() {
		err := unix.Chdir(dir)
		if err == nil {
			err = f()
		}
		done <- errors.Join(err, unix.Chdir("/"))
	}
	return <-done
}

// mountFuse runs the mount program in the foreground, so that it ends with us
// even if we are killed.
func (m overlayMount) mountFuse() error {
	var before, now unix.Stat_t
	if err := unix.Stat(m.target, &before); err != nil {
		return err
	}
	cmd := exec.Command(m.fuse, "-f", "-o", m.data(), m.target)
	cmd.Dir = m.home
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var errs bytes.Buffer
	cmd.Stderr = &errs
	if err := cmd.Start(); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case err := <-ended:
			return fmt.Errorf("%s: %w: %s", m.fuse, err, bytes.TrimSpace(errs.Bytes()))
		case <-tick.C:
		}
		if err := unix.Stat(m.target, &now); err == nil && now.Dev != before.Dev {
			return nil
		}
	}
}

// unmount unmounts now, or as soon as nobody uses it any more.
func unmount(path string) error {
	err := unix.Unmount(path, 0)
	if errors.Is(err, unix.EBUSY) {
		err = unix.Unmount(path, unix.MNT_DETACH)
	}
	return err
}
