package buildkitdtest

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cfbuild/cfbuild/internal/testneed"
)

// solve builds something that needs a process: busybox in an image of its own.
func solve(t *testing.T, d *Daemon, args ...string) (string, error) {
	t.Helper()
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	busybox, err := os.ReadFile("/bin/busybox")
	if err != nil {
		testneed.Skip(t, "no busybox-static (make setup installs it)")
	}
	if err := os.WriteFile(filepath.Join(dir, "busybox"), busybox, 0o755); err != nil {
		t.Fatal(err)
	}
	dockerfile := "FROM scratch\nCOPY busybox /bin/sh\nCOPY busybox /bin/busybox\nRUN echo uid $(/bin/busybox id -u) >/out\nRUN /bin/busybox cat /out\n"
	if err := os.WriteFile(filepath.Join(dir, "Dockerfile"), []byte(dockerfile), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(d.Buildctl, append(args, "build", "--frontend=dockerfile.v0", "--progress=plain",
		"--local", "context="+dir, "--local", "dockerfile="+dir)...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err = cmd.Run()
	return out.String(), err
}

func TestSolve(t *testing.T) {
	for name, o := range map[string]Options{"root": {TLS: true}, "rootless": {Rootless: true, TLS: true}} {
		t.Run(name, func(t *testing.T) {
			d := Start(t, o)
			if out, err := solve(t, d, "--addr", d.Addr); err != nil || !strings.Contains(out, "uid 0") {
				t.Errorf("%v: %s", err, out)
			}
			cert := func(f string) string { return filepath.Join(d.Certs, f) }
			if out, err := solve(t, d, "--addr", d.TCP, "--tlscacert", cert("ca.pem"), "--tlscert", cert("cert.pem"), "--tlskey", cert("key.pem")); err != nil {
				t.Errorf("%v: %s", err, out)
			}
			if out, err := solve(t, d, "--addr", d.TCP, "--tlscacert", cert("ca.pem")); err == nil {
				t.Errorf("a client without a certificate was let in: %s", out)
			}
		})
	}
}
