package connect

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cfbuild/cfbuild/internal/buildkitdtest"
	"github.com/cfbuild/cfbuild/internal/daemontest"
	"github.com/cfbuild/cfbuild/internal/dockerdtest"
	"github.com/cfbuild/cfbuild/internal/testneed"
)

// tree is a root filesystem with nothing but the daemon, in a directory of its own.
func tree(t *testing.T, dir string) string {
	t.Helper()
	root := filepath.Join(dir, "rootfs")
	for _, d := range []string{"bin", "dev", "etc", "proc", "run", "sys", "tmp"} {
		if err := os.MkdirAll(filepath.Join(root, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	programs := buildkitdtest.Programs(t)
	for _, p := range []string{"buildkitd", "buildctl", "runc"} {
		run(t, "cp", filepath.Join(programs, p), filepath.Join(root, "bin", p))
	}
	return root
}

var inContainer = []string{"/bin/buildkitd", "--oci-worker-binary=/bin/runc", "--oci-worker-snapshotter=native", "--containerd-worker=false", "--oci-worker-net=host"}

func TestPodmanContainer(t *testing.T) {
	testneed.Root(t)
	podman := testneed.Program(t, "podman")
	testneed.Program(t, "runc")
	dir := daemontest.Dir(t)
	mine := []string{"--root", filepath.Join(dir, "store"), "--runroot", filepath.Join(dir, "run"), "--cgroup-manager=cgroupfs", "--runtime=runc", "--storage-driver=vfs"}
	command := func(args ...string) *exec.Cmd { return exec.Command(podman, append(mine, args...)...) }
	t.Cleanup(func() { command("rm", "-f", "-t", "2", "builder", "stopped").Run() })
	// A machine's root may lack the right to raise limits as podman would.
	for _, args := range [][]string{
		append([]string{"run", "-d", "--name", "builder", "--privileged", "--net=host", "--ulimit=nofile=1024:1024", "--ulimit=nproc=4096:4096", "--rootfs", tree(t, dir)}, inContainer...),
		append([]string{"create", "--name", "stopped", "--net=host", "--rootfs", filepath.Join(dir, "rootfs")}, inContainer...),
	} {
		if out, err := command(args...).CombinedOutput(); err != nil {
			t.Fatalf("podman %q: %v\n%s", args, err, out)
		}
	}
	program(t, "podman", fmt.Sprintf("exec %s %s \"$@\"", podman, strings.Join(mine, " ")))
	eventually(t, "podman-container://builder")
	lists(t, "podman-container://builder", Options{})
	for name, hint := range map[string]string{"none": "podman ps", "stopped": "start the container"} {
		if e := want(t, dial(t, "podman-container://"+name, Options{}), HelperFailed); !strings.Contains(e.Fix, hint) {
			t.Errorf("%v | %s", e, e.Fix)
		}
	}
}

func TestDockerContainer(t *testing.T) {
	d := dockerdtest.Start(t, dockerdtest.Options{})
	dir := daemontest.Dir(t)
	tar := filepath.Join(dir, "rootfs.tar")
	run(t, "tar", "-C", tree(t, dir), "-cf", tar, ".")
	for _, args := range [][]string{{"import", tar, "buildkitd"},
		append([]string{"run", "-d", "--name", "builder", "--network=host", "-v", "/var/lib/buildkit",
			// Privileged, but for what the tests' machine may lack.
			"--cap-add=ALL", "--cap-drop=SYS_RESOURCE", "--security-opt=seccomp=unconfined", "buildkitd"}, inContainer...)} {
		if out, err := d.Command(args...).CombinedOutput(); err != nil {
			t.Fatalf("docker %q: %v\n%s", args, err, out)
		}
	}
	for _, v := range d.Env() {
		k, v, _ := strings.Cut(v, "=")
		t.Setenv(k, v)
	}
	t.Setenv("DOCKER_CONFIG", dir)
	cli := d.Command().Path
	program(t, "docker", "exec "+cli+" \"$@\"")
	eventually(t, "docker-container://builder")
	lists(t, "docker-container://builder", Options{})
	if e := want(t, dial(t, "docker-container://none", Options{}), HelperFailed); !strings.Contains(e.Fix, "docker ps") {
		t.Errorf("%v | %s", e, e.Fix)
	}
	d.Process.Kill()
	if e := want(t, dial(t, "docker-container://builder", Options{}), HelperFailed); !strings.Contains(e.Fix, "DOCKER_HOST") {
		t.Errorf("%v | %s", e, e.Fix)
	}
}

// eventually waits for the daemon in a container, which says that it is not there yet
// in the words of the helper.
func eventually(t *testing.T, addr string) {
	t.Helper()
	for range 60 {
		if dial(t, addr, Options{}) == nil {
			return
		}
	}
	want(t, dial(t, addr, Options{}), "")
}
