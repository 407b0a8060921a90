//go:build linux && cgo && containers_image_openpgp && exclude_graphdriver_btrfs

package buildah

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"

	"github.com/cfbuild/cfbuild/internal/loopback"
	"golang.org/x/sys/unix"
)

// stageConfig is what a stage is told, through a pipe: it may hold secrets.
type stageConfig struct {
	// Rootfs is the step's root, Bundle an empty directory for the stage's own
	// files, which live in memory.
	Rootfs, Bundle string
	Args, Env      []string
	Script         []byte
	Cwd            string
	UID, GID       int
	Groups         []int
	Mounts         []stageMount
	// Roots, resolved below the root, get /dev and /proc too.
	Roots     []string `json:",omitempty"`
	NoNetwork bool
	Single    bool     // one user id only
	Binfmt    []string // emulators to register in the stage
	Runc      string   // the program, for isolation runc
	// Probes are programs in the root to try instead of running a command.
	Probes []string
}

// stageMount is one mount: Source bound at Target, or a file with Content.
type stageMount struct {
	Target   string // resolved, below the root
	Source   string `json:",omitempty"`
	Content  []byte `json:",omitempty"`
	File     bool
	ReadOnly bool `json:",omitempty"`
	Mode     uint32
	UID, GID int
}

// stageResult is what a stage says at its end.
type stageResult struct {
	// Exit is the command's status, 128+N when signal N ended it.
	Exit int
	// Error is why the command was not run.
	Error string `json:",omitempty"`
	// Probes says what came of each probe; "" is well.
	Probes map[string]string `json:",omitempty"`
}

const (
	scriptName = "cfbuild-script"
	hostName   = "cfbuild"
)

// capabilities are what root in a step may do: what container engines give by
// default, without what makes devices or raw packets. Names and numbers from
// capability.h.
var capabilities = map[string]uintptr{
	"CAP_CHOWN": unix.CAP_CHOWN, "CAP_DAC_OVERRIDE": unix.CAP_DAC_OVERRIDE, "CAP_FOWNER": unix.CAP_FOWNER,
	"CAP_FSETID": unix.CAP_FSETID, "CAP_KILL": unix.CAP_KILL, "CAP_NET_BIND_SERVICE": unix.CAP_NET_BIND_SERVICE,
	"CAP_SETFCAP": unix.CAP_SETFCAP, "CAP_SETGID": unix.CAP_SETGID, "CAP_SETPCAP": unix.CAP_SETPCAP,
	"CAP_SETUID": unix.CAP_SETUID, "CAP_SYS_CHROOT": unix.CAP_SYS_CHROOT,
}

// stageMain is the first process of a step's PID namespace: it prepares the root,
// starts the command, gathers what the command leaves behind, and when it ends the
// kernel ends all that is left.
func stageMain() int {
	runtime.LockOSThread()
	unix.CloseOnExec(3)
	unix.CloseOnExec(4)
	out := os.NewFile(4, "result")
	var sc stageConfig
	err := json.NewDecoder(os.NewFile(3, "config")).Decode(&sc)
	var res stageResult
	if err == nil {
		res, err = sc.stage()
	}
	if err != nil {
		res.Error = err.Error()
	}
	if err := json.NewEncoder(out).Encode(res); err != nil {
		return 1
	}
	return 0
}

func (sc *stageConfig) stage() (res stageResult, err error) {
	syscall.Umask(0o022)
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return res, fmt.Errorf("mount namespace: %w", err)
	}
	if err := unix.Mount("tmpfs", sc.Bundle, "tmpfs", unix.MS_NOSUID, "mode=0700"); err != nil {
		return res, fmt.Errorf("tmpfs: %w", err)
	}
	registered, err := registerAll(filepath.Join(sc.Bundle, "binfmt"), sc.Binfmt)
	if err != nil {
		return res, err
	}
	defer registered.Close() // a nil file's Close is an error and nothing else
	if sc.NoNetwork {
		if err := loopback.Up(); err != nil {
			return res, fmt.Errorf("loopback: %w", err)
		}
	}
	if err := sc.makeDev(filepath.Join(sc.Bundle, "dev")); err != nil {
		return res, fmt.Errorf("/dev: %w", err)
	}
	if err := sc.writeContents(); err != nil {
		return res, err
	}
	if sc.Runc != "" {
		res.Exit, err = sc.runRunc()
		return res, err
	}
	if err := sc.enter(); err != nil {
		return res, err
	}
	if sc.Probes != nil {
		res.Probes = sc.probe()
		return res, nil
	}
	res.Exit, err = sc.command()
	return res, err
}

// writeContents puts files for mounts into the stage's memory.
func (sc *stageConfig) writeContents() error {
	for i := range sc.Mounts {
		m := &sc.Mounts[i]
		if !m.File {
			continue
		}
		m.Source = filepath.Join(sc.Bundle, fmt.Sprintf("file%d", i))
		if err := os.WriteFile(m.Source, m.Content, 0o600); err != nil {
			return err
		}
		m.Content = nil
		if err := os.Chown(m.Source, m.UID, m.GID); err != nil {
			return err
		}
		if err := unix.Chmod(m.Source, m.Mode); err != nil {
			return err
		}
	}
	return nil
}

// enter makes the step's root our own.
func (sc *stageConfig) enter() error {
	// A mount point, also where the storage has a plain directory.
	if err := unix.Mount(sc.Rootfs, sc.Rootfs, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("root: %w", err)
	}
	at := func(p string) (string, error) {
		rel, err := root(sc.Rootfs).resolve(p, true)
		return filepath.Join(sc.Rootfs, rel), err
	}
	proc, err := at("/proc")
	if err != nil {
		return err
	}
	if err := mountProc(proc); err != nil {
		return fmt.Errorf("/proc: %w", err)
	}
	sys, err := at("/sys")
	if err != nil {
		return err
	}
	if err := bindReadOnly("/sys", sys); err != nil {
		return fmt.Errorf("/sys: %w", err)
	}
	dev, err := at("/dev")
	if err != nil {
		return err
	}
	if err := unix.Mount(filepath.Join(sc.Bundle, "dev"), dev, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("/dev: %w", err)
	}
	for _, m := range sc.Mounts {
		mount := bindWritable
		if m.ReadOnly {
			mount = bindReadOnly
		}
		if err := mount(m.Source, filepath.Join(sc.Rootfs, m.Target)); err != nil {
			return fmt.Errorf("mount /%s: %w", m.Target, err)
		}
	}
	hide(proc, sys, sc.Bundle)
	for _, r := range sc.Roots {
		for source, sub := range map[string]string{dev: "dev", proc: "proc"} {
			if err := bindWritable(source, filepath.Join(sc.Rootfs, r, sub)); err != nil {
				return fmt.Errorf("mount /%s/%s: %w", r, sub, err)
			}
		}
	}
	if err := unix.Sethostname([]byte(hostName)); err != nil {
		return fmt.Errorf("host name: %w", err)
	}
	// Stack the old root on the new one, then take it away.
	if err := unix.Chdir(sc.Rootfs); err != nil {
		return fmt.Errorf("root: %w", err)
	}
	if err := unix.PivotRoot(".", "."); err != nil {
		return fmt.Errorf("pivot_root: %w", err)
	}
	if err := unix.Mount("", ".", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("old root: %w", err)
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return fmt.Errorf("old root: %w", err)
	}
	return unix.Chdir("/")
}

// command runs the command in the root we are in and waits for it.
func (sc *stageConfig) command() (int, error) {
	if err := unix.Chdir(sc.Cwd); err != nil {
		return 0, fmt.Errorf("working directory %s: %w", sc.Cwd, err)
	}
	path, err := lookPath(sc.Args[0], sc.Env)
	if err != nil {
		return 0, err
	}
	// What a step's root gets when it is executed is bounded by this set; other
	// users get nothing.
	keep := map[uintptr]bool{}
	for _, c := range capabilities {
		keep[c] = true
	}
	for c := uintptr(0); c <= 63; c++ {
		if keep[c] {
			continue
		}
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0); err != nil && !errors.Is(err, unix.EINVAL) {
			return 0, fmt.Errorf("capabilities: %w", err)
		}
	}
	null, err := os.OpenFile("/dev/null", os.O_RDWR, 0)
	if err != nil {
		return 0, err
	}
	groups := make([]uint32, len(sc.Groups))
	for i, g := range sc.Groups {
		groups[i] = uint32(g)
	}
	pid, err := syscall.ForkExec(path, sc.Args, &syscall.ProcAttr{Env: sc.Env, Files: []uintptr{null.Fd(), 1, 2},
		Sys: &syscall.SysProcAttr{Setsid: true,
			Credential: &syscall.Credential{Uid: uint32(sc.UID), Gid: uint32(sc.GID), Groups: groups, NoSetGroups: sc.Single}}})
	switch {
	case errors.Is(err, syscall.ENOEXEC):
		return 0, fmt.Errorf("exec %s: not a program for this machine or its emulators", path)
	case errors.Is(err, syscall.ENOENT):
		return 0, fmt.Errorf("exec %s: its interpreter is not in the image", path)
	case err != nil:
		return 0, fmt.Errorf("exec %s: %w", path, err)
	}
	return reap(pid)
}

// probe runs programs that end by themselves and says what came of each.
func (sc *stageConfig) probe() map[string]string {
	out := map[string]string{}
	for _, name := range sc.Probes {
		pid, err := syscall.ForkExec("/"+name, []string{name}, &syscall.ProcAttr{Env: []string{}})
		exit := 0
		if err == nil {
			exit, err = reap(pid)
		}
		switch {
		case err != nil:
			out[name] = err.Error()
		case exit != 0:
			out[name] = fmt.Sprintf("exit status %d", exit)
		}
	}
	return out
}

// reap waits for one child and gathers all others that end meanwhile.
func reap(pid int) (int, error) {
	for {
		var ws syscall.WaitStatus
		got, err := syscall.Wait4(-1, &ws, 0, nil)
		if errors.Is(err, syscall.EINTR) {
			continue
		}
		if err != nil {
			return 0, fmt.Errorf("wait: %w", err)
		}
		if got != pid {
			continue
		}
		if ws.Signaled() {
			return 128 + int(ws.Signal()), nil
		}
		return ws.ExitStatus(), nil
	}
}

// lookPath finds a program as execvp(3) does.
func lookPath(name string, env []string) (string, error) {
	if strings.Contains(name, "/") {
		if err := unix.Access(name, unix.X_OK); err != nil {
			return "", fmt.Errorf("exec %s: %w", name, err)
		}
		return name, nil
	}
	for _, kv := range env {
		dirs, ok := strings.CutPrefix(kv, "PATH=")
		if !ok {
			continue
		}
		for dir := range strings.SplitSeq(dirs, ":") {
			p := filepath.Join(dir, name)
			if fi, err := os.Stat(p); err == nil && !fi.IsDir() && fi.Mode().Perm()&0o111 != 0 {
				return p, nil
			}
		}
		return "", fmt.Errorf("exec %s: not found in PATH (%s)", name, dirs)
	}
	return "", fmt.Errorf("exec %s: no PATH", name)
}
