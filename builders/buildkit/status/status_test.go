package status

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cfbuild/cfbuild/builders/buildkit/connect"
	"github.com/cfbuild/cfbuild/internal/buildkitdtest"
	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/moby/buildkit/client"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

func dial(ctx context.Context, address string) (*client.Client, func(), error) {
	a, err := connect.Parse(address)
	if err != nil {
		return nil, nil, err
	}
	c, err := a.Dial(ctx, connect.Options{Socket: "/no/such/socket"})
	return c, func() { c.Close() }, err
}

func TestRealDaemons(t *testing.T) {
	d := buildkitdtest.Start(t, buildkitdtest.Options{Config: "[worker.oci]\n[[worker.oci.gcpolicy]]\nall = true\nmaxUsedSpace = 3000000000\nminFreeSpace = 1000000000\n"})
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "Dockerfile"), []byte("FROM scratch\nCOPY Dockerfile /x\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	build := exec.Command(d.Buildctl, "--addr", d.Addr, "build", "--frontend=dockerfile.v0", "--local", "context="+dir, "--local", "dockerfile="+dir)
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	list := fmt.Sprintf("linux/amd64=%s,linux/arm64=%[1]s,*=unix:///no/such/socket", d.Addr)
	ws, err := Workers(t.Context(), list, time.Minute, dial)
	if err != nil || len(ws) != 2 {
		t.Fatalf("%+v, %v", ws, err)
	}
	w := ws[0]
	if w.Address != d.Addr || len(w.For) != 2 || w.Err != "" || w.Snapshotter != "overlayfs" || !w.Sandbox || w.Network != "host" || w.Records == 0 || w.Cache == 0 || w.Idle > w.Cache ||
		w.Limit != 3e9 || w.Free != 1e9 {
		t.Errorf("%+v", w)
	}
	if w.Platforms[0] != pipelines.HostPlatform() {
		t.Errorf("%v, emulated %v", w.Platforms, w.Emulated)
	}
	if ws[1].Err != "no daemon runs there: the socket does not exist" || ws[1].Fix == "" {
		t.Errorf("%+v", ws[1])
	}
	if one, err := Workers(t.Context(), d.Addr, 0, dial); err != nil || len(one) != 1 || one[0].Records != w.Records {
		t.Errorf("%+v, %v", one, err)
	}
}

func TestAddressesThatMakeNoSense(t *testing.T) {
	for _, a := range []string{"tpc://x", "linux/amd64=tpc://x", "linux/x=docker", "docker,"} {
		if _, err := Workers(t.Context(), a, 0, dial); err == nil {
			t.Errorf("%q is taken", a)
		}
	}
	ws, err := Workers(t.Context(), "", 0, dial)
	if err != nil || len(ws) != 1 || !strings.Contains(ws[0].Err, "no daemon runs on this machine") {
		t.Errorf("%+v %v", ws, err)
	}
}

func TestPatience(t *testing.T) {
	never := func(ctx context.Context, _ string) (*client.Client, func(), error) {
		<-ctx.Done()
		return nil, nil, ctx.Err()
	}
	ws, err := Workers(t.Context(), "docker", time.Millisecond, never)
	if err != nil || ws[0].Err != "no answer in time" {
		t.Errorf("%+v %v", ws, err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	mine := errors.New("stopped")
	cancel(mine)
	if _, err := Workers(ctx, "docker", 0, never); !errors.Is(err, mine) {
		t.Error(err)
	}
}

func TestPlatforms(t *testing.T) {
	arch := func(names ...string) (out []v1.Platform) {
		for _, n := range names {
			n, variant, _ := strings.Cut(n, "/")
			out = append(out, v1.Platform{OS: "linux", Architecture: n, Variant: variant})
		}
		return out
	}
	for _, c := range []struct {
		has  []v1.Platform
		want string
	}{
		{arch("amd64", "amd64/v2", "arm64", "386"), "[linux/arm64]"},
		{arch("arm64", "amd64", "arm/v7"), "[linux/amd64]"},
		{arch("s390x"), "[]"},
		{nil, "[]"},
	} {
		if _, emulated := Platforms(&client.WorkerInfo{Platforms: c.has}); fmt.Sprint(emulated) != c.want {
			t.Errorf("%v: %v, want %s", c.has, emulated, c.want)
		}
	}
}
