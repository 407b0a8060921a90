package testneed

import (
	"os"
	"os/exec"
)

// Alone is a command whose descendants all end with it: dnf, zypper and gpg leave
// agents behind, which keep directories of the test busy. As root it runs in a
// process namespace of its own; an ordinary user's command is run as it is.
func Alone(name string, args ...string) *exec.Cmd {
	if os.Geteuid() != 0 {
		return exec.Command(name, args...)
	}
	return exec.Command("unshare", append([]string{"--pid", "--fork", "--kill-child", "--mount-proc", "--", name}, args...)...)
}
