package rpmrepo

import (
	"os/exec"
	"testing"

	"github.com/cfbuild/cfbuild/internal/testneed"
)

// TestClientsRun: what talks TLS is there and starts.
func TestClientsRun(t *testing.T) {
	testneed.Root(t)
	d := Distribution(t, "x86_64", Clients...)
	root := Install(t, d, "bash", "coreutils", "dnf", "rpm", "centos-stream-release", "ca-certificates", "curl", "wget", "git", "openssl", "python3-pip", "nodejs")
	for _, c := range []string{"curl --version", "wget --version", "git --version && git init -q /tmp/x", "openssl version", "python3 -m pip --version", "node --version", "python3 -c 'import ssl; print(len(ssl.create_default_context().get_ca_certs()))'"} {
		if out, err := exec.Command(testneed.Program(t, "chroot"), root, "/bin/sh", "-c", c).CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", c, err, out)
		} else {
			t.Logf("%s: %.80s", c, out)
		}
	}
}
