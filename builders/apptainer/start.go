package apptainer

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/user"
	"strconv"
	"strings"
	"syscall"

	"github.com/cfbuild/cfbuild/builders"
)

// What a copy of this program is told to be by argv[0]: one that waits for its ids to
// be mapped and then starts itself again, for only a process that begins as root has
// root's rights; and the first process of the namespaces.
const (
	waitingName = "cfbuild-apptainer-ids"
	firstName   = "cfbuild-apptainer"
)

// errand is what the first process is to do.
type errand struct {
	// Program is run with Args in Work, which is somewhere else there, and Env.
	Program string
	Args    []string
	Env     []string
	Work    string
	// NoNetwork: there is nothing but loopback.
	NoNetwork bool
	// Remove is a directory to remove instead.
	Remove string
}

// exitError says how the first process ended.
type exitError struct {
	code   int
	killed bool
}

func (e *exitError) Error() string {
	if e.killed {
		return "was killed"
	}
	return fmt.Sprintf("exit status %d", e.code)
}

// codeSetup is the exit code of a first process that did not get to its errand; the
// reason is the line before.
const codeSetup = 125

// start runs an errand to its end. Each line of output goes to line. Whatever was
// started has ended when start returns, also when ctx ended.
func start(ctx context.Context, e errand, log io.Writer, line func(string)) error {
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	request, err := json.Marshal(e)
	if err != nil {
		return err
	}
	cmd := exec.Command("/proc/self/exe")
	cmd.Args = []string{firstName}
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Cloneflags: syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWIPC}
	if e.NoNetwork {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWNET
	}
	root := os.Geteuid() == 0
	if root {
		if cmd.SysProcAttr.UidMappings, err = ownIDs("/proc/self/uid_map"); err != nil {
			return err
		}
		if cmd.SysProcAttr.GidMappings, err = ownIDs("/proc/self/gid_map"); err != nil {
			return err
		}
		cmd.SysProcAttr.GidMappingsEnableSetgroups = true
	} else {
		cmd.Args[0] = waitingName
	}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	defer stdin.Close()
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer r.Close()
	cmd.Stdout, cmd.Stderr = w, w
	err = cmd.Start()
	w.Close()
	if err != nil {
		return noNamespace(err)
	}
	ended := make(chan struct{})
	defer close(ended)
	go func() {
		select {
		case <-ctx.Done():
			_ = cmd.Process.Kill() // the kernel ends all others with the first process
		case <-ended:
		}
	}()
	if !root {
		if err := mapIDs(cmd.Process.Pid); err != nil {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
			return err
		}
	}
	go func() { _, _ = stdin.Write(append(request, '\n')) }() // one that died early says more by its status
	lines(r, func(s string) {
		if log != nil {
			fmt.Fprintln(log, s)
		}
		line(s)
	})
	err = cmd.Wait()
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.As(err, &exit):
		return &exitError{exit.ExitCode(), exit.ExitCode() < 0}
	}
	return err
}

// lines gives lines as they come, without colours, of at most 64 KiB; of one that was
// written over (a progress bar) the last state.
func lines(r io.Reader, f func(string)) {
	br := bufio.NewReaderSize(r, 64<<10)
	for {
		b, more, err := br.ReadLine()
		if err != nil {
			return
		}
		for s := string(b); more; more = more && err == nil {
			_, more, err = br.ReadLine()
			b = []byte(s)
		}
		s := strings.TrimRight(string(b), "\r")
		f(colour.ReplaceAllString(s[strings.LastIndexByte(s, '\r')+1:], ""))
	}
}

// ownIDs maps every id of this process's namespace to itself.
func ownIDs(path string) ([]syscall.SysProcIDMap, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var out []syscall.SysProcIDMap
	for l := range strings.Lines(string(b)) {
		var inside, outside, n int
		if _, err := fmt.Sscan(l, &inside, &outside, &n); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		// All ids there are would look like no namespace, and Apptainer would take rights for
		// granted that it has not got.
		out = append(out, syscall.SysProcIDMap{ContainerID: inside, HostID: inside, Size: min(n, 1<<32-2)})
	}
	return out, nil
}

// mapIDs makes the user root and the subordinate ids the others (newuidmap(1)).
func mapIDs(pid int) error {
	u, err := user.Current()
	if err != nil {
		return err
	}
	for _, x := range []struct{ tool, file, id string }{{"newuidmap", "/etc/subuid", u.Uid}, {"newgidmap", "/etc/subgid", u.Gid}} {
		from, n, err := subordinate(x.file, u)
		if err != nil {
			return err
		}
		if _, err := exec.LookPath(x.tool); err != nil {
			return unavailable(x.tool+" is not installed", "as root: apt-get install uidmap (dnf install shadow-utils)")
		}
		out, err := exec.Command(x.tool, strconv.Itoa(pid), "0", x.id, "1", "1", from, n).CombinedOutput()
		if err != nil {
			return unavailable(fmt.Sprintf("%s: %v: %s", x.tool, err, strings.TrimSpace(string(out))),
				"newuidmap and newgidmap must be setuid root or have file capabilities, and "+x.file+" must grant the ids")
		}
	}
	return nil
}

// subordinate finds the first range of a user in /etc/subuid or /etc/subgid (subuid(5)).
func subordinate(file string, u *user.User) (from, n string, err error) {
	b, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", "", err
	}
	for l := range strings.Lines(string(b)) {
		f := strings.Split(strings.TrimSpace(l), ":")
		if len(f) == 3 && (f[0] == u.Username || f[0] == u.Uid) {
			return f[1], f[2], nil
		}
	}
	return "", "", unavailable("user "+u.Username+" has no subordinate ids in "+file,
		"as root: usermod --add-subuids 100000-165535 --add-subgids 100000-165535 "+u.Username)
}

func unavailable(reason, fix string) error {
	return &builders.UnavailableError{Builder: Name, Reason: reason, Fix: fix}
}

// noNamespace says why the kernel refused.
func noNamespace(err error) error {
	if errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EACCES) {
		return unavailable("cannot make a user namespace: "+err.Error(),
			"as root: sysctl -w user.max_user_namespaces=15000 kernel.unprivileged_userns_clone=1; in a container, one that may create user namespaces. "+noneNeeded)
	}
	return err
}
