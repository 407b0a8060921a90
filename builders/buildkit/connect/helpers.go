package connect

import (
	"fmt"
	"os"
	"os/user"
	"strconv"
	"strings"
	"syscall"
)

// helper is a program that connects, how to install it and what to try by hand.
type helper struct{ name, install, try string }

var programs = map[Kind]helper{
	SSH:             {"ssh", "install it: sudo apt-get install openssh-client", "ssh HOST buildctl dial-stdio"},
	DockerContainer: {"docker", "install Docker's command line: sudo apt-get install docker.io", "docker exec -i NAME buildctl debug info"},
	PodmanContainer: {"podman", "install it: sudo apt-get install podman", "podman exec -i NAME buildctl debug info"},
	KubePod:         {"kubectl", "install kubectl from https://kubernetes.io/docs/tasks/tools/", "kubectl exec -i NAME -- buildctl debug info"},
}

// known is what helpers say on stderr, in lower case, and what to do about it. The
// first that fits counts.
var known = []struct{ text, fix string }{
	{"host key verification failed", "log in once by hand and compare the host's key (ssh HOST), or add it to known_hosts"},
	{"permission denied (", "load a key that the host knows into ssh-agent (ssh-add): passwords cannot be asked for here"},
	{"could not resolve hostname", "is the name right?"},
	{"buildkitd.sock", "start buildkitd there, or name its socket: ssh://HOST/PATH/buildkitd.sock; its user must be in the socket's group"},
	{"cannot connect to the docker daemon", "is Docker running, and DOCKER_HOST right?"},
	{"no container with name or id", "podman ps lists the containers that run"},
	{"no such container", "docker ps lists the containers that run"},
	{"is not running", "start the container"},
	{"container state improper", "start the container"},
	{"does not exist", "kubectl config get-contexts lists the contexts"},
	{"forbidden", "ask for the right to create pods/exec in that namespace"},
	{"(notfound)", "kubectl get pods lists the pods; add ?namespace=NAME where it is not the default one"},
	{"not found", "buildctl must be installed next to the daemon, and be on PATH there"},
	{"connection refused", "is the host up, and the port right?"},
}

// advice says what to do about what a helper said.
func (h helper) advice(said string) string {
	said = strings.ToLower(said)
	for _, k := range known {
		if strings.Contains(said, k.text) {
			return k.fix
		}
	}
	return "try it by hand: " + h.try
}

// forSocket says how to come by the right to a socket.
func forSocket(path string) string {
	const rootless = "run a daemon of your own: rootlesskit buildkitd"
	st, err := os.Stat(path)
	if err != nil {
		return rootless
	}
	s, ok := st.Sys().(*syscall.Stat_t)
	if !ok || s.Gid == 0 || st.Mode()&0o060 != 0o060 {
		return "start buildkitd with --group NAME, a group you are in, or " + rootless
	}
	group := strconv.Itoa(int(s.Gid))
	if g, err := user.LookupGroupId(group); err == nil {
		group = g.Name
	}
	return fmt.Sprintf("join the group %s (sudo usermod -aG %s USER, then log in again), or %s", group, group, rootless)
}
