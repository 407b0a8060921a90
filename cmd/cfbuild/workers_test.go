//go:build containers_image_openpgp && exclude_graphdriver_btrfs

package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"maps"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cfbuild/cfbuild/internal/buildkitdtest"
	"github.com/cfbuild/cfbuild/internal/certtest"
	"github.com/cfbuild/cfbuild/internal/testneed"
	"github.com/cfbuild/cfbuild/pipelines"
)

// Certificates by the program, two real daemons with them, a list of workers in the
// environment. One is killed while it configures a Debian: the other, which is listed for
// another architecture, stands in, and the image is the one that buildah makes.
func TestWorkers(t *testing.T) {
	testneed.Root(t) // the daemons read the keys
	host := pipelines.HostPlatform()
	other := pipelines.Platform{OS: "linux", Architecture: "arm64"}
	if host == other {
		other.Architecture = "amd64"
	}
	want := newWorld(t, nil).run("debian12")

	w := newWorld(t, nil)
	if _, stderr, code := w.try("workers", "certs", "certs", "--host", "one.example.org,127.0.0.1", "--host", "two.example.org,127.0.0.1", "--client", "ci"); code != 0 {
		t.Fatal(stderr)
	}
	certs := filepath.Join(w.dir, "certs")
	var list, addrs []string
	var daemons []*buildkitdtest.Daemon
	for i, name := range []string{"one", "two"} {
		server := filepath.Join(certs, "servers", name+".example.org")
		addr := fmt.Sprintf("tcp://127.0.0.1:%d", certtest.FreePort(t))
		d := buildkitdtest.Start(t, buildkitdtest.Options{Args: []string{"--addr", addr, "--tlscacert", filepath.Join(server, "ca.pem"),
			"--tlscert", filepath.Join(server, "cert.pem"), "--tlskey", filepath.Join(server, "key.pem")}})
		full := fmt.Sprintf("%s?certs=%s&servername=%s.example.org", addr, filepath.Join(certs, "clients", "ci"), name)
		list = append(list, []pipelines.Platform{host, other}[i].String()+"="+full)
		daemons, addrs = append(daemons, d), append(addrs, full)
	}
	env := "CFBUILD_WORKERS=" + strings.Join(append(list, "linux/s390x=unix:///no/such/socket"), ",")

	cmd := w.start("workers")
	cmd.Env = append(cmd.Env, env)
	out, err := cmd.Output()
	if err != nil || strings.Count(string(out), " overlayfs ") != 2 || !strings.Contains(string(out), "unreachable: no daemon runs there") {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Logf("\n%s", out)

	cmd = w.start("run", "debian12", "--site", frozenSite(t), "--json", "--progress", "json")
	cmd.Env = append(cmd.Env, env)
	stdout := &syncBuffer{}
	cmd.Stdout = stdout
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	killed := false
	var warnings []string
	for lines := bufio.NewScanner(stderr); lines.Scan(); {
		var e pipelines.Event
		if json.Unmarshal(lines.Bytes(), &e) != nil {
			t.Logf("%s", lines.Text())
			continue
		}
		if e.Kind == pipelines.EventWarning {
			warnings = append(warnings, e.Text)
		}
		if !killed && e.Kind == pipelines.EventStart && strings.HasPrefix(e.Step, "sha256:") && strings.HasPrefix(e.Name, "run ") {
			killed = true
			daemons[0].Process.Kill()
		}
	}
	if err := cmd.Wait(); err != nil || !killed {
		t.Fatalf("%v; killed: %v\n%s\n%s", err, killed, strings.Join(warnings, "\n"), stdout.String())
	}
	var got report
	if err := json.Unmarshal([]byte(stdout.String()), &got); err != nil {
		t.Fatal(err)
	}
	if !maps.Equal(got.digests(), want.digests()) {
		t.Errorf("%v, by buildah %v", got.digests(), want.digests())
	}
	if said := strings.Join(warnings, "\n"); !strings.Contains(said, "worker "+addrs[0]+" is lost: ") || !strings.Contains(said, host.String()+" is built at worker "+addrs[1]+" instead") {
		t.Errorf("warnings:\n%s", said)
	}
}
