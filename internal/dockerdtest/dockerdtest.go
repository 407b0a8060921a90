// Package dockerdtest starts the real dockerd for tests, as GitLab's docker:dind service
// runs it: with TLS on a loopback port and certificates for its clients in a directory.
package dockerdtest

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/cfbuild/cfbuild/internal/certtest"
	"github.com/cfbuild/cfbuild/internal/daemontest"
	"github.com/cfbuild/cfbuild/internal/testneed"
)

//go:embed enter.sh
var enter string

//go:embed runc.sh
var runc []byte

// Options say which daemon, and how it runs.
type Options struct {
	// Newer is Docker 26.1 of Debian 13, with the containerd image store; otherwise it is
	// this machine's docker.io (20.10 on Debian 12), with the store of its own.
	Newer bool
	// NoImageStore leaves the newer one with the store of its own.
	NoImageStore bool
	// Config are further entries of its daemon.json.
	Config map[string]any
	// Args come after its own arguments.
	Args []string
	// Address to listen on instead of a free port of 127.0.0.1.
	Address string
	// Wrap is a command in front of the daemon, as of setpriv(1).
	Wrap []string
	// AsItIs leaves out what makes up for a machine whose root lacks a capability.
	AsItIs bool
	// NoTLS opens the port to everybody, as "Gitlab 101" does.
	NoTLS bool
	// Server are the names and the life of its certificate; by default localhost, docker,
	// 127.0.0.1, a day.
	Server certtest.Leaf
}

// Daemon is one running dockerd.
type Daemon struct {
	// Host is tcp://127.0.0.1:PORT, Socket the path of its Unix socket.
	Host, Socket string
	// Certs is what DOCKER_TLS_CERTDIR names: Certs/client holds ca.pem, cert.pem, key.pem.
	Certs string
	CA    *certtest.Authority
	// Version is the server's, "20.10.24+dfsg1".
	Version string
	// Dir is the daemon's own directory; it ends with the test.
	Dir     string
	Process *daemontest.Daemon
	cli     string
}

// Start starts a daemon and waits until it answers.
func Start(t testing.TB, o Options) *Daemon {
	t.Helper()
	testneed.Root(t)
	dir := daemontest.Dir(t)
	if o.Address == "" {
		o.Address = "127.0.0.1:" + strconv.Itoa(certtest.FreePort(t))
	}
	d := &Daemon{Dir: dir, Socket: filepath.Join(dir, "docker.sock"), Host: "tcp://" + o.Address,
		Certs: filepath.Join(dir, "certs"), CA: certtest.New(t), cli: testneed.Program(t, "docker")}
	if debian := "/usr/bin/docker"; fileExists(debian) {
		d.cli = debian
	}
	if len(o.Server.Hosts) == 0 {
		o.Server.Hosts = []string{"localhost", "docker", "127.0.0.1"}
	}
	server := filepath.Join(d.Certs, "server")
	d.CA.Write(t, server, o.Server)
	d.CA.Write(t, filepath.Join(d.Certs, "client"), certtest.Leaf{Client: true})

	config := map[string]any{
		"data-root": filepath.Join(dir, "data"), "exec-root": filepath.Join(dir, "exec"), "pidfile": filepath.Join(dir, "pid"),
		"hosts": []string{"unix://" + d.Socket, d.Host},
		// The tests' machine keeps its network as it is.
		"iptables": false, "ip6tables": false, "bridge": "none",
		"exec-opts": []string{"native.cgroupdriver=cgroupfs"},
	}
	if !o.NoTLS {
		config["tlsverify"] = true
		config["tlscacert"], config["tlscert"], config["tlskey"] = filepath.Join(server, "ca.pem"), filepath.Join(server, "cert.pem"), filepath.Join(server, "key.pem")
	}
	if o.Newer && !o.NoImageStore {
		config["features"] = map[string]bool{"containerd-snapshotter": true}
	}
	if !o.Newer && !o.AsItIs && !mayRaiseLimits(t) {
		wrapper := filepath.Join(dir, "runc")
		if err := os.WriteFile(wrapper, runc, 0o755); err != nil {
			t.Fatal(err)
		}
		config["runtimes"], config["default-runtime"] = map[string]any{"lacking": map[string]string{"path": wrapper}}, "lacking"
	}
	for k, v := range o.Config {
		config[k] = v
	}
	b, err := json.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "daemon.json")
	if err := os.WriteFile(file, b, 0o644); err != nil {
		t.Fatal(err)
	}
	args := append(append(o.Wrap, "dockerd", "--config-file", file), o.Args...)
	if o.Newer {
		args = append([]string{"sh", "-euc", enter, "enter", newer(t), dir}, args...)
	} else {
		testneed.Program(t, "dockerd")
	}
	d.Process = daemontest.Start(t, daemontest.Spec{Args: args, Log: filepath.Join(dir, "log"),
		Env: []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "TMPDIR=" + dir, "DOCKER_TMPDIR=" + filepath.Join(dir, "data", "tmp")}})
	d.Process.WaitFor(func() error {
		out, err := d.Command("version", "--format", "{{.Server.Version}}").CombinedOutput()
		if err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		d.Version = strings.TrimSpace(string(out))
		return nil
	})
	return d
}

// Env is what a GitLab job has that uses the daemon.
func (d *Daemon) Env() []string {
	return []string{"DOCKER_HOST=" + d.Host, "DOCKER_TLS_CERTDIR=" + d.Certs, "DOCKER_CERT_PATH=" + filepath.Join(d.Certs, "client"), "DOCKER_TLS_VERIFY=1"}
}

// Command is Docker's own client, on the daemon's Unix socket.
func (d *Daemon) Command(args ...string) *exec.Cmd {
	cmd := exec.Command(d.cli, append([]string{"--host", "unix://" + d.Socket, "--config", filepath.Join(d.Dir, "cli")}, args...)...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + d.Dir}
	return cmd
}

// Port is the port of Host.
func (d *Daemon) Port() string {
	_, port, _ := net.SplitHostPort(d.Host[len("tcp://"):])
	return port
}

// mayRaiseLimits: this process has, or may give, CAP_SYS_RESOURCE (24).
func mayRaiseLimits(t testing.TB) bool {
	t.Helper()
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(b), "CapBnd:")
	set, err := strconv.ParseUint(strings.Fields(after)[0], 16, 64)
	if err != nil {
		t.Fatal(err)
	}
	return set&(1<<24) != 0
}

func fileExists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
