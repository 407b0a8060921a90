//go:build linux && cgo && containers_image_openpgp && exclude_graphdriver_btrfs

package buildah

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// runRunc hands the prepared root to runc. Configuration and state are in the
// stage's memory: they may hold secrets.
func (sc *stageConfig) runRunc() (int, error) {
	// runc wants to see the processes of our PID namespace.
	if err := mountProc("/proc"); err != nil {
		return 0, fmt.Errorf("/proc: %w", err)
	}
	spec, err := json.Marshal(sc.spec())
	if err != nil {
		return 0, err
	}
	bundle := filepath.Join(sc.Bundle, "runc")
	state := filepath.Join(bundle, "state")
	if err := os.MkdirAll(state, 0o700); err != nil {
		return 0, err
	}
	if err := os.WriteFile(filepath.Join(bundle, "config.json"), spec, 0o600); err != nil {
		return 0, err
	}
	null, err := os.OpenFile("/dev/null", os.O_RDWR, 0)
	if err != nil {
		return 0, err
	}
	log := filepath.Join(bundle, "log")
	args := []string{"runc", "--root", state, "--log", log, "--log-format", "json", "run", "--no-new-keyring", "--bundle", bundle, filepath.Base(sc.Bundle)}
	pid, err := syscall.ForkExec(sc.Runc, args, &syscall.ProcAttr{Dir: bundle, Files: []uintptr{null.Fd(), 1, 2},
		Env: []string{"PATH=" + defaultPath, "XDG_RUNTIME_DIR=" + bundle}})
	if err != nil {
		return 0, fmt.Errorf("exec %s: %w", sc.Runc, err)
	}
	exit, err := reap(pid)
	if err == nil && exit != 0 {
		err = runcError(log)
	}
	return exit, err
}

// runcError is what runc says in its log when it, and not the command, failed.
func runcError(log string) error {
	b, err := os.ReadFile(log)
	if err != nil {
		return nil // nothing was logged
	}
	for line := range bytes.Lines(b) {
		var entry struct{ Level, Msg string }
		if json.Unmarshal(line, &entry) == nil && entry.Level == "error" {
			return errors.New(entry.Msg)
		}
	}
	return nil
}

// spec is the OCI runtime configuration of the step.
func (sc *stageConfig) spec() *specs.Spec {
	caps := slices.Sorted(maps.Keys(capabilities))
	groups := make([]uint32, len(sc.Groups))
	for i, g := range sc.Groups {
		groups[i] = uint32(g)
	}
	if sc.Single {
		groups = nil
	}
	mounts := []specs.Mount{
		{Destination: "/proc", Type: "proc", Source: "proc", Options: []string{"nosuid", "noexec", "nodev"}},
		{Destination: "/sys", Type: "bind", Source: "/sys", Options: []string{"rbind", "ro"}},
		{Destination: "/dev", Type: "bind", Source: filepath.Join(sc.Bundle, "dev"), Options: []string{"rbind", "rw"}},
	}
	for _, m := range sc.Mounts {
		access := "rw"
		if m.ReadOnly {
			access = "ro"
		}
		mounts = append(mounts, specs.Mount{Destination: "/" + m.Target, Type: "bind", Source: m.Source, Options: []string{"rbind", access}})
	}
	masked, readonly := slices.Clone(maskedPaths), slices.Clone(readonlyPaths)
	for _, r := range sc.Roots {
		mounts = append(mounts, specs.Mount{Destination: "/" + r + "/dev", Type: "bind", Source: filepath.Join(sc.Bundle, "dev"), Options: []string{"rbind", "rw"}},
			specs.Mount{Destination: "/" + r + "/proc", Type: "proc", Source: "proc", Options: []string{"nosuid", "noexec", "nodev"}})
		below := func(list, from []string) []string {
			for _, p := range from {
				if strings.HasPrefix(p, "/proc/") {
					list = append(list, "/"+r+p)
				}
			}
			return list
		}
		masked, readonly = below(masked, maskedPaths), below(readonly, readonlyPaths)
	}
	umask := uint32(0o022)
	return &specs.Spec{
		Version:  specs.Version,
		Hostname: hostName,
		Root:     &specs.Root{Path: sc.Rootfs},
		Process: &specs.Process{Args: sc.Args, Env: sc.Env, Cwd: sc.Cwd,
			User:         specs.User{UID: uint32(sc.UID), GID: uint32(sc.GID), AdditionalGids: groups, Umask: &umask},
			Capabilities: &specs.LinuxCapabilities{Bounding: caps, Effective: caps, Permitted: caps},
			Rlimits:      []specs.POSIXRlimit{rlimit("RLIMIT_NOFILE", unix.RLIMIT_NOFILE)}},
		Mounts: mounts,
		Linux: &specs.Linux{
			// PIDs are the stage's: as first process of a namespace a program that
			// kills itself by a signal would live on.
			Namespaces:  []specs.LinuxNamespace{{Type: specs.MountNamespace}, {Type: specs.IPCNamespace}, {Type: specs.UTSNamespace}},
			MaskedPaths: masked, ReadonlyPaths: readonly},
	}
}

// rlimit passes a limit on as it is: raising one may be refused.
func rlimit(name string, which int) specs.POSIXRlimit {
	var l unix.Rlimit
	_ = unix.Getrlimit(which, &l)
	return specs.POSIXRlimit{Type: name, Soft: l.Cur, Hard: l.Max}
}
