package doctor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
)

// inNamespace prepares a command to run in new user and mount namespaces, as root
// of the first.
func inNamespace(cmd *exec.Cmd, uid, gid int) {
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: uid, Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: gid, Size: 1}},
	}
}

// administrator says whether this process has CAP_SYS_ADMIN (bit 21), which root
// in a container may lack.
func (m *machine) administrator() bool {
	status, _ := m.word("/proc/self/status")
	for line := range strings.Lines(status) {
		if hex, ok := strings.CutPrefix(line, "CapEff:"); ok {
			n, err := strconv.ParseUint(strings.TrimSpace(hex), 16, 64)
			return err == nil && n&(1<<21) != 0
		}
	}
	return false
}

// namespaces makes one, and if it cannot, says which switch is off.
func (m *machine) namespaces(ctx context.Context) []Check {
	c := Check{Area: areaKernel, Name: "create", Status: OK, Text: "an unprivileged user namespace can be made"}
	if m.UID == 0 && m.administrator() {
		c.Text = "not needed: running as root"
		return []Check{c}
	}
	sysctls := m.sysctls()
	err := error(nil)
	if truth := m.program("true"); truth != "" {
		cmd := exec.CommandContext(ctx, truth)
		inNamespace(cmd, m.UID, os.Getgid())
		err = try(cmd)
	} else if len(sysctls) > 0 {
		err = errors.New("switched off")
	}
	if err == nil {
		if len(sysctls) > 0 { // it works, but a capability in it is refused (AppArmor)
			return append([]Check{c}, sysctls...)
		}
		return []Check{c}
	}
	c.Status, c.Text = Failed, "a user namespace cannot be made: "+err.Error()
	switch {
	case len(sysctls) > 0:
		return append([]Check{c}, sysctls...)
	case m.container():
		c.Fix = m.runnerFix()
	default:
		c.Fix = []string{"ask for a kernel with CONFIG_USER_NS=y, or run as root"}
	}
	return []Check{c}
}

// sysctls finds the switches that keep unprivileged users from having namespaces.
func (m *machine) sysctls() []Check {
	var out []Check
	for _, s := range []struct{ file, name, bad, good, what string }{
		{"/proc/sys/kernel/unprivileged_userns_clone", "kernel.unprivileged_userns_clone", "0", "1", "only root may make user namespaces"},
		{"/proc/sys/user/max_user_namespaces", "user.max_user_namespaces", "0", "28633", "no user namespace may be made"},
		{"/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "kernel.apparmor_restrict_unprivileged_userns", "1", "0",
			"AppArmor takes all capabilities from unprivileged user namespaces"},
	} {
		if v, ok := m.word(s.file); !ok || v != s.bad {
			continue
		}
		fix := fmt.Sprintf("echo %s=%s | sudo tee /etc/sysctl.d/90-cfbuild.conf && sudo sysctl --system", s.name, s.good)
		if m.container() {
			fix = "on the host: " + fix
		}
		out = append(out, Check{Area: areaKernel, Name: s.name, Status: Failed, Text: fmt.Sprintf("is %s: %s", s.bad, s.what), Fix: []string{fix}})
	}
	return out
}

// subordinate looks for the ids that map more than one user into a namespace.
func (m *machine) subordinate(context.Context) []Check {
	c := Check{Area: areaKernel, Name: "subordinate ids", Status: OK}
	if m.UID == 0 && m.administrator() {
		c.Text = "not needed: running as root"
		return []Check{c}
	}
	user := m.User
	if user == "" {
		user = strconv.Itoa(m.UID)
	}
	uids, gids := m.subids("/etc/subuid"), m.subids("/etc/subgid")
	if uids < 65536 || gids < 65536 {
		c.Status = Failed
		c.Text = fmt.Sprintf("%s has %d user and %d group ids in /etc/subuid and /etc/subgid; images with several owners need 65536", user, uids, gids)
		c.Fix = []string{"sudo usermod --add-subuids 200000-265535 --add-subgids 200000-265535 " + user}
		if m.container() {
			c.Fix = append(c.Fix, fmt.Sprintf("in the job image: echo %s:200000:65536 | tee -a /etc/subuid >> /etc/subgid", user))
		}
	} else {
		c.Text = fmt.Sprintf("%s has %d user and %d group ids", user, uids, gids)
	}
	h := Check{Area: areaKernel, Name: "newuidmap", Status: OK, Text: "newuidmap and newgidmap are there and privileged"}
	for _, name := range []string{"newuidmap", "newgidmap"} {
		p := m.program(name)
		switch {
		case p == "":
			h.Status, h.Text = Failed, name+" is not installed"
			h.Fix = []string{"sudo apt-get install uidmap", "or: sudo dnf install shadow-utils"}
		case !privileged(p):
			h.Status, h.Text = Failed, p+" is neither set-uid root nor has file capabilities"
			h.Fix = []string{"sudo chmod u+s " + p, "or: sudo apt-get install --reinstall uidmap"}
		}
	}
	return []Check{c, h}
}

// subids adds up the ranges of the user, who may be listed by name or number
// (subuid(5)).
func (m *machine) subids(file string) int {
	text, _ := m.word(file)
	n := 0
	for line := range strings.Lines(text) {
		f := strings.Split(strings.TrimSpace(line), ":")
		if len(f) != 3 || (f[0] != m.User && f[0] != strconv.Itoa(m.UID)) || f[0] == "" {
			continue
		}
		if k, err := strconv.Atoi(f[2]); err == nil {
			n += k
		}
	}
	return n
}

func privileged(path string) bool {
	st, err := os.Stat(path)
	if err != nil {
		return false
	}
	if st.Mode()&os.ModeSetuid != 0 {
		return true
	}
	var buf [64]byte
	n, err := syscall.Getxattr(path, "security.capability", buf[:])
	return err == nil && n > 0
}
