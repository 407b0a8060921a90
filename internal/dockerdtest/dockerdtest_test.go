package dockerdtest

import (
	"archive/tar"
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cfbuild/cfbuild/internal/testneed"
)

// image is a docker image of busybox alone, as "docker import" takes it.
func image(t *testing.T) []byte {
	t.Helper()
	testneed.Program(t, "busybox")
	b, err := os.ReadFile("/bin/busybox")
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	if err := w.WriteHeader(&tar.Header{Name: "bin/busybox", Mode: 0o755, Size: int64(len(b))}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(b); err != nil {
		t.Fatal(err)
	}
	w.Close()
	return out.Bytes()
}

func TestRun(t *testing.T) {
	for name, o := range map[string]Options{"debian's": {}, "newer": {Newer: true}} {
		t.Run(name, func(t *testing.T) {
			d := Start(t, o)
			t.Log(d.Version)
			run := func(stdin []byte, args ...string) string {
				t.Helper()
				cmd := d.Command(args...)
				cmd.Stdin = bytes.NewReader(stdin)
				out, err := cmd.CombinedOutput()
				if err != nil {
					t.Fatalf("%v: %v: %s", args, err, out)
				}
				return string(out)
			}
			run(image(t), "import", "-", "bb")
			if got := run(nil, "run", "--rm", "--privileged", "--network=host", "bb", "/bin/busybox", "echo", "it", "runs"); !strings.Contains(got, "it runs") {
				t.Errorf("got %q", got)
			}
			// As a GitLab job has it.
			cmd := exec.Command("docker", "version")
			cmd.Env = append(d.Env(), "PATH="+os.Getenv("PATH"), "HOME="+t.TempDir())
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%v: %s", err, out)
			}
			cmd = exec.Command("docker", "--tls", "--tlscacert", filepath.Join(d.Certs, "client", "ca.pem"), "version")
			cmd.Env = []string{"DOCKER_HOST=" + d.Host, "PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir()}
			if out, err := cmd.CombinedOutput(); err == nil {
				t.Errorf("a client without a certificate was let in: %s", out)
			}
		})
	}
}
