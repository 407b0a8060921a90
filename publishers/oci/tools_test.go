package oci

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cfbuild/cfbuild/internal/registrytest"
	"github.com/cfbuild/cfbuild/internal/testneed"
	"github.com/cfbuild/cfbuild/site"
	"go.podman.io/image/v5/manifest"
)

// dockerRegistry runs Debian's docker-registry (distribution 2.8) on a free port.
func dockerRegistry(t testing.TB) (host string) {
	t.Helper()
	program := testneed.Program(t, "docker-registry")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	host = l.Addr().String()
	l.Close()
	dir := t.TempDir()
	config := filepath.Join(dir, "config.yml")
	if err := os.WriteFile(config, []byte(fmt.Sprintf("version: 0.1\nlog: {level: error, accesslog: {disabled: true}}\n"+
		"storage: {filesystem: {rootdirectory: %q}}\nhttp: {addr: %q}\n", filepath.Join(dir, "data"), host)), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "serve", config)
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	for range 200 {
		if res, err := http.Get("http://" + host + "/v2/"); err == nil {
			res.Body.Close()
			return host
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Fatalf("docker-registry does not answer\n%s", log.String())
	return ""
}

// TestToolsAccept pushes to two generations of the real registry and reads the
// result with the tools people use.
func TestToolsAccept(t *testing.T) {
	layout := makeBundle(t, "gzip", 50_000, "linux/amd64", "linux/arm64", "linux/arm/v7")
	for name, start := range map[string]func(testing.TB) string{
		"distribution 3":  func(t testing.TB) string { return registrytest.Start(t).Host() },
		"docker-registry": dockerRegistry,
	} {
		t.Run(name, func(t *testing.T) {
			host := start(t)
			p := New(fast(site.Site{Registries: []site.Registry{{Prefix: host, Insecure: true}}}))
			ref := host + "/group/base"
			receipt, err := p.Push(t.Context(), layout, "base", ref, []string{"12"}, V2S2, nil)
			if err != nil {
				t.Fatal(err)
			}
			if again, err := p.Push(t.Context(), layout, "base", ref, []string{"12"}, V2S2, nil); err != nil || again.Pushed != 0 {
				t.Errorf("the second push: %+v, %v", again, err)
			}
			if oci, err := p.Push(t.Context(), layout, "base", ref, []string{"12-oci"}, OCI, nil); err != nil || oci.Pushed > 10_000 {
				t.Errorf("the OCI push sent layers again: %+v, %v", oci, err)
			}
			t.Run("skopeo", func(t *testing.T) {
				raw := run(t, "skopeo", "inspect", "--raw", "--tls-verify=false", "docker://"+ref+":12")
				var list manifest.Schema2List
				if err := json.Unmarshal([]byte(raw), &list); err != nil {
					t.Fatal(err)
				}
				if list.MediaType != manifest.DockerV2ListMediaType || len(list.Manifests) != 3 || list.SchemaVersion != 2 {
					t.Errorf("list %s", raw)
				}
				if d, _ := manifest.Digest([]byte(raw)); d.String() != receipt.Digest {
					t.Errorf("skopeo reads %s, the receipt says %s", d, receipt.Digest)
				}
				// All platforms, back into a layout: everything is there and fits.
				out := filepath.Join(t.TempDir(), "copy")
				run(t, "skopeo", "copy", "--quiet", "--all", "--src-tls-verify=false", "docker://"+ref+":12", "oci:"+out+":12")
				images, err := readLayout(out)
				if err != nil || len(images) != 3 {
					t.Errorf("copied back: %d images, %v", len(images), err)
				}
				// And the bundle itself is what skopeo takes with all platforms.
				run(t, "skopeo", "copy", "--quiet", "--all", "--dest-tls-verify=false", "oci:"+layout, "docker://"+host+"/skopeo/base:12")
			})
			for _, arch := range []string{"amd64", "arm64"} {
				t.Run("umoci "+arch, func(t *testing.T) {
					testneed.Root(t)
					out := filepath.Join(t.TempDir(), "l")
					run(t, "skopeo", "copy", "--quiet", "--override-arch", arch, "--src-tls-verify=false", "docker://"+ref+":12", "oci:"+out+":12")
					bundle := filepath.Join(t.TempDir(), "b")
					run(t, "umoci", "unpack", "--image", out+":12", bundle)
					b, err := os.ReadFile(filepath.Join(bundle, "rootfs", "platform"))
					if err != nil || string(b) != "linux/"+arch+"\n" {
						t.Errorf("unpacked for %s: %q, %v", arch, b, err)
					}
				})
			}
			t.Run("podman", func(t *testing.T) {
				pod := podman(t)
				for _, plat := range []string{"linux/amd64", "linux/arm64"} {
					pod("pull", "--quiet", "--tls-verify=false", "--platform", plat, ref+":12")
					got := strings.Fields(pod("image", "inspect", "--format", "{{.Os}}/{{.Architecture}} {{.ManifestType}}", ref+":12"))
					if want := []string{plat, manifest.DockerV2Schema2MediaType}; !slices.Equal(got, want) {
						t.Errorf("podman pulled %v, want %v", got, want)
					}
				}
			})
		})
	}
}
