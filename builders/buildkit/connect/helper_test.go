package connect

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cfbuild/cfbuild/internal/buildkitdtest"
	"github.com/cfbuild/cfbuild/internal/certtest"
	"github.com/cfbuild/cfbuild/internal/daemontest"
	"github.com/cfbuild/cfbuild/internal/testneed"
)

// program puts a script in front of PATH under a helper's name.
func program(t *testing.T, name, script string) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
}

func run(t *testing.T, name string, args ...string) {
	t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %q: %v\n%s", name, args, err, out)
	}
}

func TestNoHelper(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	for addr, name := range map[string]string{"ssh://h": "ssh", "docker-container://c": "docker", "podman-container://c": "podman", "kube-pod://p": "kubectl"} {
		if e := want(t, dial(t, addr, Options{}), NoHelper); !strings.Contains(e.Reason, name+" is not installed") {
			t.Error(e)
		}
	}
}

// What helpers say when they fail, as they say it.
func TestHelpersSay(t *testing.T) {
	for _, c := range []struct{ addr, program, says, reason, hint string }{
		{"docker-container://b", "docker", "Error: No such container: b", "No such container: b", "docker ps"},
		{"docker-container://b", "docker", "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?", "Cannot connect", "DOCKER_HOST"},
		{"docker-container://b", "docker", `OCI runtime exec failed: exec failed: unable to start container process: exec: "buildctl": executable file not found in $PATH: unknown`, "buildctl", "buildctl must be installed"},
		{"kube-pod://b", "kubectl", `Error from server (NotFound): pods "b" not found`, "NotFound", "kubectl get pods"},
		{"kube-pod://b", "kubectl", `Error from server (Forbidden): pods "b" is forbidden: User "x" cannot create resource "pods/exec"`, "Forbidden", "pods/exec"},
		{"kube-pod://b?context=c", "kubectl", `error: context "c" does not exist`, "does not exist", "get-contexts"},
		{"podman-container://b", "podman", `Error: no container with name or ID "b" found: no such container`, "no container with name", "podman ps"},
		{"ssh://h", "ssh", "something nobody has seen before", "nobody has seen", "by hand"},
	} {
		t.Run(c.says, func(t *testing.T) {
			program(t, c.program, fmt.Sprintf("echo first line >&2; cat >&2 <<'E'\n%s\nE\nexit 1", c.says))
			e := want(t, dial(t, c.addr, Options{}), HelperFailed)
			if !strings.Contains(e.Reason, c.program+": ") || !strings.Contains(e.Reason, c.reason) || !strings.Contains(e.Fix, c.hint) {
				t.Errorf("%v | %s", e, e.Fix)
			}
		})
	}
	program(t, "docker", "exit 0")
	want(t, dial(t, "docker-container://b", Options{}), HelperFailed)
	program(t, "docker", "exit 3")
	if e := want(t, dial(t, "docker-container://b", Options{}), HelperFailed); !strings.Contains(e.Reason, "exit status 3") {
		t.Error(e)
	}
}

// A real sshd and a real ssh, on a loopback port.
func TestSSH(t *testing.T) {
	testneed.Root(t)
	sshd, _ := exec.LookPath("/usr/sbin/sshd")
	if sshd == "" {
		testneed.Skip(t, "openssh-server is not installed (make setup installs it)")
	}
	ssh := testneed.Program(t, "ssh")
	d := buildkitdtest.Start(t, buildkitdtest.Options{})
	dir := daemontest.Dir(t)
	file := func(name string) string { return filepath.Join(dir, name) }
	for _, key := range []string{"host", "mine", "other"} {
		run(t, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", file(key))
	}
	port := certtest.FreePort(t)
	text := func(name, format string, args ...any) {
		write(t, file(name), fmt.Appendf(nil, format, args...))
	}
	serve := func(t *testing.T, path string) {
		pub, err := os.ReadFile(file("mine.pub"))
		if err != nil {
			t.Fatal(err)
		}
		text("authorized", "%s", pub)
		text("sshd_config", "ListenAddress 127.0.0.1:%d\nHostKey %s\nAuthorizedKeysFile %s\nPidFile none\nUsePAM no\nStrictModes no\n"+
			"PasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin yes\nSetEnv PATH=%s\n", port, file("host"), file("authorized"), path)
		p := daemontest.Start(t, daemontest.Spec{Env: os.Environ(), Log: file("sshd.log"), // /run/sshd is sshd's own
			Args: []string{"sh", "-euc", "mount -t tmpfs tmpfs /run; mkdir -m 755 /run/sshd; exec " + sshd + " -D -e -f " + file("sshd_config")}})
		p.WaitFor(func() error {
			out, err := exec.Command("ssh-keyscan", "-p", fmt.Sprint(port), "127.0.0.1").Output()
			if err == nil && len(out) == 0 {
				err = fmt.Errorf("no key yet")
			}
			text("known_hosts", "%s", out)
			return err
		})
	}
	client := func(t *testing.T, key, known string) {
		text("ssh_config", "IdentityFile %s\nIdentitiesOnly yes\nIdentityAgent none\nUserKnownHostsFile %s\nGlobalKnownHostsFile none\n", file(key), file(known))
		program(t, "ssh", fmt.Sprintf("exec %s -F %s \"$@\"", ssh, file("ssh_config")))
	}
	addr := fmt.Sprintf("ssh://root@127.0.0.1:%d", port)
	socket := strings.TrimPrefix(d.Addr, "unix://")

	client(t, "mine", "known_hosts")
	want(t, dial(t, addr, Options{}), HelperFailed) // nobody listens
	serve(t, filepath.Dir(d.Buildctl)+":/usr/bin:/bin")
	lists(t, addr+socket, Options{})
	for _, c := range []struct{ key, known, addr, reason, hint string }{
		{"other", "known_hosts", addr + socket, "Permission denied", "ssh-agent"},
		{"mine", "none", addr + socket, "Host key verification failed", "ssh HOST"},
		{"mine", "known_hosts", addr + "/no/buildkitd.sock", "no such file", "start buildkitd there"},
	} {
		client(t, c.key, c.known)
		e := want(t, dial(t, c.addr, Options{}), HelperFailed)
		if !strings.Contains(e.Reason, c.reason) || !strings.Contains(e.Fix, c.hint) {
			t.Errorf("%s, %s, %s: %v | %s", c.key, c.known, c.addr, e, e.Fix)
		}
	}
	t.Run("no buildctl", func(t *testing.T) {
		port = certtest.FreePort(t)
		serve(t, "/usr/bin:/bin")
		client(t, "mine", "known_hosts")
		e := want(t, dial(t, fmt.Sprintf("ssh://root@127.0.0.1:%d", port), Options{}), HelperFailed)
		if !strings.Contains(e.Fix, "buildctl must be installed") {
			t.Errorf("%v | %s", e, e.Fix)
		}
	})
}

// No cluster here: a kubectl of ours checks what it is asked for.
func TestKubePod(t *testing.T) {
	d := buildkitdtest.Start(t, buildkitdtest.Options{})
	program(t, "kubectl", fmt.Sprintf(`[ "$*" = "--context=c --namespace=n exec --container=k -i b-0 -- buildctl dial-stdio" ] || { echo "asked for $*" >&2; exit 1; }
exec %s --addr %s dial-stdio`, d.Buildctl, d.Addr))
	lists(t, "kube-pod://b-0?namespace=n&context=c&container=k", Options{})
	if e := want(t, dial(t, "kube-pod://b-1", Options{}), HelperFailed); !strings.Contains(e.Reason, "b-1") {
		t.Error(e)
	}
}
