//go:build linux && cgo && containers_image_openpgp && exclude_graphdriver_btrfs

package buildah

import (
	"os"
	"os/exec"
	"os/user"
	"strings"

	"github.com/cfbuild/cfbuild/builders"
	"github.com/cfbuild/cfbuild/internal/childproc"
)

// diagnose says why a child did not get into its namespaces, from what the kernel
// and the child say, and what mends it.
func diagnose(exit *childproc.ExitError) error {
	e := &builders.UnavailableError{Builder: Name, Reason: "cannot enter a user namespace"}
	switch {
	case sysctl("user/max_user_namespaces") == "0":
		e.Reason += ": user.max_user_namespaces is 0"
		e.Fix = "as root: sysctl -w user.max_user_namespaces=15000"
	case sysctl("kernel/unprivileged_userns_clone") == "0":
		e.Reason += ": kernel.unprivileged_userns_clone is 0"
		e.Fix = "as root: sysctl -w kernel.unprivileged_userns_clone=1"
	case sysctl("kernel/apparmor_restrict_unprivileged_userns") == "1":
		e.Reason += ": AppArmor forbids it to unprivileged programs"
		e.Fix = "as root: sysctl -w kernel.apparmor_restrict_unprivileged_userns=0"
	default:
		e.Reason += ": " + exit.Error()
		e.Fix = "run as root, or in a container that may create user namespaces (seccomp=unconfined for docker, --privileged for a GitLab runner)"
	}
	return e
}

func sysctl(name string) string {
	b, err := os.ReadFile("/proc/sys/" + name)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

// singleIDFix says how to get more than one user id.
func singleIDFix() string {
	name := "$USER"
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	for _, p := range []string{"newuidmap", "newgidmap"} {
		if _, err := exec.LookPath(p); err != nil {
			return "as root: apt-get install uidmap (dnf install shadow-utils)"
		}
	}
	return "as root: usermod --add-subuids 100000-165535 --add-subgids 100000-165535 " + name
}
