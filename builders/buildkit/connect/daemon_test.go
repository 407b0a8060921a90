package connect

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/cfbuild/cfbuild/internal/buildkitdtest"
	"github.com/cfbuild/cfbuild/internal/daemontest"
	"github.com/cfbuild/cfbuild/internal/testneed"
)

// lists dials a real daemon and has it do something.
func lists(t *testing.T, addr string, o Options) {
	t.Helper()
	a, err := Parse(addr)
	if err != nil {
		t.Fatal(err)
	}
	c, err := a.Dial(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	w, err := c.ListWorkers(t.Context())
	if err != nil || len(w) != 1 || len(w[0].Platforms) == 0 {
		t.Fatalf("%s: workers %v, %v", addr, w, err)
	}
}

func TestRealDaemon(t *testing.T) {
	d := buildkitdtest.Start(t, buildkitdtest.Options{TLS: true})
	lists(t, d.Addr, Options{})
	lists(t, "", Options{Host: d.Addr})
	lists(t, "", Options{Socket: strings.TrimPrefix(d.Addr, "unix://")})
	lists(t, d.TCP+"?certs="+d.Certs, Options{})
	lists(t, fmt.Sprintf("%s?ca=%[2]s/ca.pem&cert=%[2]s/cert.pem&key=%[2]s/key.pem&servername=localhost", d.TCP, d.Certs), Options{})

	want(t, dial(t, d.TCP, Options{}), WantsTLS)
	want(t, dial(t, d.TCP+"?tls=on", Options{}), WrongCA)
	want(t, dial(t, d.TCP+"?ca="+filepath.Join(d.Certs, CAFile), Options{}), ClientMissing)
	want(t, dial(t, d.TCP+"?certs="+d.Certs+"&servername=other.example.org", Options{}), WrongName)
	p := newPKI(t)
	mine := p.client(p.now, 1000000000)
	want(t, dial(t, fmt.Sprintf("%s?ca=%s/ca.pem&cert=%s/cert.pem&key=%[3]s/key.pem", d.TCP, d.Certs, mine), Options{}), ClientRefused)

	d.Process.Kill()
	want(t, dial(t, d.Addr, Options{}), Refused)
	want(t, dial(t, d.TCP+"?certs="+d.Certs, Options{}), Refused)
}

func TestRealRootlessDaemon(t *testing.T) {
	d := buildkitdtest.Start(t, buildkitdtest.Options{Rootless: true})
	lists(t, d.Addr, Options{})
	// The usual place of a rootless daemon.
	run := t.TempDir()
	if err := os.Mkdir(filepath.Join(run, "buildkit"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(strings.TrimPrefix(d.Addr, "unix://"), filepath.Join(run, "buildkit", "buildkitd.sock")); err != nil {
		t.Fatal(err)
	}
	lists(t, "", Options{Socket: "/no/such/socket", RuntimeDir: run})
}

// A user who is not in the socket's group: this test runs again as that user.
func TestSocketOfAnother(t *testing.T) {
	if addr := os.Getenv("CFBUILD_TEST_SOCKET"); addr != "" {
		want(t, dial(t, addr, Options{}), Permission)
		return
	}
	testneed.Root(t)
	u := testneed.User(t)
	d := buildkitdtest.Start(t, buildkitdtest.Options{})
	dir := daemontest.Dir(t)
	self, err := os.ReadFile(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	bin := filepath.Join(dir, "test")
	if err := os.WriteFile(bin, self, 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("setpriv", "--reuid", strconv.Itoa(u.UID), "--regid", strconv.Itoa(u.GID), "--clear-groups", "--", bin, "-test.run=^TestSocketOfAnother$", "-test.v")
	cmd.Env = append(os.Environ(), "CFBUILD_TEST_SOCKET="+d.Addr)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--group NAME") {
		t.Errorf("%v\n%s", err, out)
	}
}
