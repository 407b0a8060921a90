//go:build linux && cgo && containers_image_openpgp && exclude_graphdriver_btrfs

package buildah_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/cfbuild/cfbuild/builders"
	"github.com/cfbuild/cfbuild/builders/buildah"
	"github.com/cfbuild/cfbuild/builders/builderstest"
	"github.com/cfbuild/cfbuild/internal/listing"
	"github.com/cfbuild/cfbuild/internal/oci"
	"github.com/cfbuild/cfbuild/internal/testneed"
	"github.com/cfbuild/cfbuild/pipelines"
)

// noNamespaces: "root" makes this process forbid user namespaces in its own, and
// become an ordinary user there.
const noNamespaces = "CFBUILD_TEST_NO_NAMESPACES"

func withoutNamespaces() int {
	err := os.WriteFile("/proc/sys/user/max_user_namespaces", []byte("0"), 0)
	for _, name := range []string{"HOME", "TMPDIR", "XDG_RUNTIME_DIR"} {
		err = errors.Join(err, os.Chown(os.Getenv(name), 1000, 1000))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Env = append(os.Environ(), noNamespaces+"=user")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 1000, Gid: 1000}}
	if err := cmd.Run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// TestWithoutNamespaces runs where no user namespace can be made.
func TestWithoutNamespaces(t *testing.T) {
	if os.Getenv(noNamespaces) != "user" {
		out := inNamespace(t, "^TestWithoutNamespaces$", noNamespaces+"=root")
		if !strings.Contains(out, "--- PASS: TestWithoutNamespaces") {
			t.Errorf("it did not pass:\n%s", out)
		}
		return
	}
	b, err := buildah.Backend().Open(t.Context(), builders.Options{StateDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	caps, err := b.Capabilities(t.Context())
	if err != nil || caps.Available || !strings.Contains(caps.Reason, "max_user_namespaces") || !strings.Contains(caps.Fix, "sysctl -w user.max_user_namespaces=") {
		t.Errorf("capabilities %+v, %v", caps, err)
	}
	g, err := pipelines.From(pipelines.HostPlatform(), pipelines.Scratch{}).Then(pipelines.File{Path: "/x"}).Graph()
	if err != nil {
		t.Fatal(err)
	}
	_, err = b.Build(t.Context(), builders.Request{Graph: g, Output: filepath.Join(t.TempDir(), "out")})
	var un *builders.UnavailableError
	if !errors.As(err, &un) || !errors.Is(err, builders.ErrUnavailable) || un.Hint() == "" {
		t.Errorf("got %v", err)
	}
}

// TestSingleID builds as a user without subordinate ids, where everything belongs to
// one: that is said, with what mends it, and base layers are as they were.
func TestSingleID(t *testing.T) {
	const nobody = 65534
	if os.Geteuid() != nobody {
		testneed.Root(t)
		attr := &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
		if out := elsewhere(t, "^TestSingleID$", nobody, nobody, attr); !strings.Contains(out, "--- PASS: TestSingleID") {
			t.Errorf("it did not pass:\n%s", out)
		}
		return
	}
	b := opener(builders.Options{})(t)
	caps, err := b.Capabilities(t.Context())
	if err != nil || !caps.Available {
		t.Fatalf("capabilities %+v, %v", caps, err)
	}
	if !slices.ContainsFunc(caps.Detail, func(d string) bool {
		return strings.Contains(d, "one user id") && strings.Contains(d, "usermod --add-subuids")
	}) {
		t.Errorf("not said: %q", caps.Detail)
	}
	base := builderstest.Busybox(t)
	g, err := pipelines.From(pipelines.HostPlatform(), base).Then(pipelines.Run{Shell: "id -u > /id; touch /srv/data"}, pipelines.File{Path: "/x"}).Graph()
	if err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(t.TempDir(), "out")
	if _, err := b.Build(t.Context(), builders.Request{Graph: g, Output: out}); err != nil {
		t.Fatal(err)
	}
	l, err := oci.Open(out)
	if err != nil {
		t.Fatal(err)
	}
	d, err := l.Manifest(pipelines.HostPlatform())
	if err != nil {
		t.Fatal(err)
	}
	es, err := listing.Image(l, d)
	if err != nil {
		t.Fatal(err)
	}
	if e, _ := listing.Find(es, "id"); string(e.Data) != "0\n" {
		t.Errorf("the step ran as %q", e.Data)
	}
	if e, _ := listing.Find(es, "etc/conf"); e.UID != 3 {
		t.Errorf("the base's owner is lost: %s", e)
	}
	g, err = pipelines.From(pipelines.HostPlatform(), base).Then(pipelines.Run{Shell: "true", User: "1000"}).Graph()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Build(t.Context(), builders.Request{Graph: g, Output: out + "2"}); err == nil {
		t.Error("ran as a user that there is not")
	} else {
		wantHint(t, err, "usermod")
	}
}

// TestMachineConfiguration: what podman is told on this machine is nothing to us.
func TestMachineConfiguration(t *testing.T) {
	bad := filepath.Join(t.TempDir(), "bad.conf")
	if err := os.WriteFile(bad, []byte("[storage"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"CONTAINERS_STORAGE_CONF", "CONTAINERS_STORAGE_CONF_OVERRIDE", "CONTAINERS_REGISTRIES_CONF", "CONTAINERS_CONF"} {
		t.Setenv(name, bad)
	}
	t.Setenv("STORAGE_DRIVER", "btrfs")
	t.Setenv("STORAGE_OPTS", "no=such")
	g, err := pipelines.From(pipelines.HostPlatform(), builderstest.Busybox(t)).Then(pipelines.Run{Shell: "true"}).Graph()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := opener(builders.Options{})(t).Build(t.Context(), builders.Request{Graph: g, Output: filepath.Join(t.TempDir(), "out")}); err != nil {
		t.Error(err)
	}
}
