// Package buildkitdtest starts the real buildkitd for tests: compiled from the version in
// go.mod, as root or rootless, on a socket of its own and, if asked, on TCP with mutual TLS.
package buildkitdtest

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"testing"

	"github.com/cfbuild/cfbuild/internal/certtest"
	"github.com/cfbuild/cfbuild/internal/daemontest"
	"github.com/cfbuild/cfbuild/internal/testneed"
)

// Options say how a daemon runs.
type Options struct {
	// Rootless runs it as the ordinary test account, below rootlesskit.
	Rootless bool
	// TLS has it also listen on a loopback port that takes only clients with a certificate.
	TLS bool
	// Config is its buildkitd.toml; empty for none.
	Config string
	// Args come after its own arguments.
	Args []string
	// Wrap is a command in front of the daemon, as of nsenter(1), run as root.
	Wrap []string
	// Host is the address to listen on with TLS; empty means 127.0.0.1.
	Host string
	// Root is its state; empty means a directory that ends with the test. A second daemon
	// on the root of one that was killed finds what that left.
	Root string
}

// Daemon is one running buildkitd.
type Daemon struct {
	// Addr is unix:///…, TCP is tcp://127.0.0.1:PORT or empty.
	Addr, TCP string
	// Certs holds ca.pem, cert.pem and key.pem of a client of TCP.
	Certs string
	// CA signs for the daemon and for clients.
	CA *certtest.Authority
	// Root is its state, Buildctl the client of its version.
	Root, Buildctl string
	// Process ends with the test, or before: Stop, Kill.
	Process *daemontest.Daemon
}

// Programs gives the directory of the static buildkitd, buildctl and runc, compiled if need be.
func Programs(t testing.TB) string {
	t.Helper()
	_, file, _, _ := runtime.Caller(0)
	return testneed.BuildKit(t, filepath.Join(filepath.Dir(file), "../../scripts/buildkit"))
}

// Start starts a daemon and waits until it answers.
func Start(t testing.TB, o Options) *Daemon {
	t.Helper()
	programs := Programs(t)
	dir := daemontest.Dir(t)
	d := &Daemon{Root: o.Root, Buildctl: filepath.Join(programs, "buildctl"), Addr: "unix://" + filepath.Join(dir, "run", "s")}
	if d.Root == "" {
		d.Root = filepath.Join(dir, "root")
	}
	account := testneed.Account{UID: os.Geteuid(), GID: os.Getegid(), Home: "/root", Name: "root"}
	if o.Rootless || account.UID != 0 {
		o.Rootless = true
		account = testneed.User(t)
	}
	for _, sub := range []string{filepath.Join(dir, "run"), d.Root} {
		if err := os.MkdirAll(sub, 0o711); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(sub, account.UID, account.GID); err != nil {
			t.Fatal(err)
		}
	}

	args := []string{filepath.Join(programs, "buildkitd"), "--root", d.Root, "--addr", d.Addr,
		"--oci-worker=true", "--containerd-worker=false", "--oci-worker-net=host",
		"--oci-worker-binary", filepath.Join(programs, "runc")}
	if o.Rootless {
		args = append(args, "--rootless")
	} else {
		args = append(args, "--oci-worker-snapshotter=overlayfs")
	}
	if o.Config != "" {
		config := filepath.Join(dir, "buildkitd.toml")
		if err := os.WriteFile(config, []byte(o.Config), 0o644); err != nil {
			t.Fatal(err)
		}
		args = append(args, "--config", config)
	}
	if o.TLS {
		args = append(args, d.tls(t, dir, o.Host, account)...)
	}
	args = append(args, o.Args...)
	env := []string{"PATH=" + os.Getenv("PATH"), "HOME=" + account.Home, "TMPDIR=" + filepath.Join(dir, "run"),
		"XDG_RUNTIME_DIR=" + filepath.Join(dir, "run"), "USER=" + account.Name}
	if o.Rootless {
		args = append([]string{testneed.Program(t, "rootlesskit"), "--net=host", "--copy-up=/etc", "--copy-up=/run",
			"--state-dir", filepath.Join(dir, "run", "rootlesskit")}, args...)
		if os.Geteuid() == 0 {
			args = append([]string{"setpriv", "--reuid", strconv.Itoa(account.UID), "--regid", strconv.Itoa(account.GID), "--init-groups", "--"}, args...)
		}
	}
	d.Process = daemontest.Start(t, daemontest.Spec{Args: append(o.Wrap, args...), Env: env, Log: filepath.Join(dir, "log")})
	d.Process.WaitFor(func() error {
		out, err := d.Command("debug", "workers").CombinedOutput()
		if err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	})
	return d
}

// tls makes certificates and gives the arguments for them.
func (d *Daemon) tls(t testing.TB, dir, host string, account testneed.Account) []string {
	if host == "" {
		host = "127.0.0.1"
	}
	d.TCP = "tcp://" + net.JoinHostPort(host, strconv.Itoa(certtest.FreePort(t)))
	d.CA = certtest.New(t)
	server := filepath.Join(dir, "server")
	d.CA.Write(t, server, certtest.Leaf{Hosts: []string{host, "localhost"}})
	for _, f := range []string{"ca.pem", "cert.pem", "key.pem"} {
		if err := os.Chown(filepath.Join(server, f), account.UID, account.GID); err != nil {
			t.Fatal(err)
		}
	}
	d.Certs = filepath.Join(dir, "client")
	d.CA.Write(t, d.Certs, certtest.Leaf{Client: true})
	return []string{"--addr", d.TCP, "--tlscacert", filepath.Join(server, "ca.pem"),
		"--tlscert", filepath.Join(server, "cert.pem"), "--tlskey", filepath.Join(server, "key.pem")}
}

// Command is buildctl with this daemon's address.
func (d *Daemon) Command(args ...string) *exec.Cmd {
	return exec.Command(d.Buildctl, append([]string{"--addr", d.Addr}, args...)...)
}
