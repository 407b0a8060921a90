//go:build containers_image_openpgp && exclude_graphdriver_btrfs

package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cfbuild/cfbuild/internal/registrytest"
	"github.com/cfbuild/cfbuild/internal/testneed"
)

// manifestList is a docker schema 2 manifest list.
type manifestList struct {
	MediaType string
	Manifests []struct {
		MediaType, Digest string
		Platform          struct{ Architecture, OS, Variant string }
	}
}

// debianRegistry starts Debian's docker-registry and gives its address.
func debianRegistry(t *testing.T) string {
	t.Helper()
	bin := testneed.Program(t, "docker-registry")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	dir := t.TempDir()
	conf := filepath.Join(dir, "config.yml")
	text := fmt.Sprintf("version: 0.1\nstorage: {filesystem: {rootdirectory: %s}}\nhttp: {addr: %s}\n", filepath.Join(dir, "data"), addr)
	if err := os.WriteFile(conf, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(bin, "serve", conf)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	for range 200 {
		if c, err := net.Dial("tcp", addr); err == nil {
			c.Close()
			return addr
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatal("docker-registry does not listen")
	return ""
}

// What is pushed is a v2s2 list that other people's tools accept, pull and run.
func TestPublish(t *testing.T) {
	w := newWorld(t, nil)
	for name, addr := range map[string]string{"docker-registry": debianRegistry(t), "distribution v3": registrytest.Start(t).Host()} {
		site := filepath.Join(w.dir, "site.toml")
		text, err := os.ReadFile(frozenSite(t))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(site, fmt.Appendf(text, "\n[[registry]]\nprefix = %q\ninsecure = true\n", addr), 0o644); err != nil {
			t.Fatal(err)
		}
		push := []string{"run", "debian12", "--site", site, "--platform", both, "--json", "--push", addr + "/group/base/debian12", "--tag", "12,latest"}
		rep, stderr, code := w.try(push...)
		if code != 0 || len(rep.Receipts) != 1 {
			t.Fatalf("%s: exit code %d\n%s", name, code, stderr)
		}
		raw := tool(t, "skopeo", "inspect", "--raw", "--tls-verify=false", "docker://"+addr+"/group/base/debian12:12")
		list := decode[manifestList](t, raw)
		if list.MediaType != "application/vnd.docker.distribution.manifest.list.v2+json" || len(list.Manifests) != 2 {
			t.Fatalf("%s: %s", name, raw)
		}
		for i, arch := range []string{"amd64", "arm64"} {
			m := list.Manifests[i]
			if m.MediaType != "application/vnd.docker.distribution.manifest.v2+json" || m.Platform.Architecture != arch || m.Platform.OS != "linux" {
				t.Errorf("%s: child %d is %+v", name, i, m)
			}
		}
		if again, stderr, code := w.try(push...); code != 0 || again.Receipts[0].Pushed != 0 || again.Receipts[0].Digest != rep.Receipts[0].Digest {
			t.Errorf("%s: pushed again: exit code %d, %+v\n%s", name, code, again.Receipts, stderr)
		}
		pullAndRun(t, addr+"/group/base/debian12", list, "x86_64 amd64", "aarch64 arm64")
	}
}

// pullAndRun has podman run each platform's image, which says the machine and the
// distribution's name of it, and umoci unpack one.
func pullAndRun(t *testing.T, repo string, list manifestList, wants ...string) {
	t.Helper()
	testneed.Root(t)
	dir, err := os.MkdirTemp("", "pod")
	if err != nil {
		t.Fatal(err)
	}
	podman := []string{"--root", filepath.Join(dir, "r"), "--runroot", filepath.Join(dir, "rr"), "--runtime", "runc", "--cgroup-manager", "cgroupfs"}
	t.Cleanup(func() {
		exec.Command("podman", append(podman, "rmi", "--all", "--force")...).Run()
		exec.Command("podman", append(podman, "unshare", "true")...).Run()
		exec.Command("umount", filepath.Join(dir, "r", "overlay")).Run()
		os.RemoveAll(dir)
	})
	for i, want := range wants {
		ref := repo + "@" + list.Manifests[i].Digest
		// Limits below the machine's own: a root without CAP_SYS_RESOURCE cannot raise them.
		out := tool(t, "podman", append(podman, "run", "--rm", "--quiet", "--network", "host", "--ulimit", "nofile=1000:1000", "--ulimit", "nproc=1000:1000",
			"--tls-verify=false", ref, "sh", "-c", "echo $(uname -m) $(dpkg --print-architecture) $(dpkg --audit)")...)
		if strings.TrimSpace(out) != want {
			t.Errorf("%s says %q, want %q", ref, strings.TrimSpace(out), want)
		}
	}
	tool(t, "skopeo", "copy", "--quiet", "--src-tls-verify=false", "docker://"+repo+":latest", "oci:"+filepath.Join(dir, "oci")+":x")
	tool(t, "umoci", "unpack", "--image", filepath.Join(dir, "oci")+":x", filepath.Join(dir, "bundle"))
	if b, err := os.ReadFile(filepath.Join(dir, "bundle", "rootfs", "etc", "debian_version")); err != nil || !strings.HasPrefix(string(b), "12.") {
		t.Errorf("umoci's root: %v %q", err, b)
	}
}
