//go:build linux && cgo && containers_image_openpgp && exclude_graphdriver_btrfs

package buildah_test

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/cfbuild/cfbuild/builders"
	"github.com/cfbuild/cfbuild/builders/builderstest"
	"github.com/cfbuild/cfbuild/internal/oci"
	"github.com/cfbuild/cfbuild/internal/registrytest"
	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/cfbuild/cfbuild/site"
	"go.podman.io/image/v5/copy"
	"go.podman.io/image/v5/docker"
	"go.podman.io/image/v5/oci/layout"
	"go.podman.io/image/v5/signature"
	"go.podman.io/image/v5/types"
)

// push puts the suite's base image into a registry.
func push(t *testing.T, ref string, sys *types.SystemContext) pipelines.Layout {
	t.Helper()
	base := builderstest.Busybox(t)
	src, err := layout.ParseReference(base.Path)
	if err != nil {
		t.Fatal(err)
	}
	dst, err := docker.ParseReference("//" + ref)
	if err != nil {
		t.Fatal(err)
	}
	policy, err := signature.NewPolicyContext(&signature.Policy{Default: signature.PolicyRequirements{signature.NewPRInsecureAcceptAnything()}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := copy.Image(t.Context(), policy, dst, src, &copy.Options{DestinationCtx: sys, PreserveDigests: true}); err != nil {
		t.Fatal(err)
	}
	return base
}

var insecure = &types.SystemContext{DockerInsecureSkipTLSVerify: types.OptionalBoolTrue}

// pullAndRun builds one step on a pulled image.
func pullAndRun(t *testing.T, b builders.Builder, s site.Site, ref string) (builders.Result, string, error) {
	t.Helper()
	g, err := pipelines.From(pipelines.HostPlatform(), pipelines.Pull{Ref: ref}).Then(pipelines.Run{Shell: "test -u /opt/suid && echo x > /x"}).Graph()
	if err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(t.TempDir(), "out")
	res, err := b.Build(t.Context(), builders.Request{Graph: g, Site: s, Output: out})
	return res, out, err
}

func TestPull(t *testing.T) {
	r := registrytest.Start(t)
	ref := r.Host() + "/some/base:1"
	base := push(t, ref, insecure)
	s := site.Site{Registries: []site.Registry{{Prefix: r.Host(), Insecure: true}}}
	b := opener(builders.Options{})(t)
	first, out, err := pullAndRun(t, b, s, ref)
	if err != nil {
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
	m, _, err := l.Image(d)
	if err != nil {
		t.Fatal(err)
	}
	from, err := oci.Open(base.Path)
	if err != nil {
		t.Fatal(err)
	}
	bd, err := from.Manifest(pipelines.HostPlatform())
	if err != nil {
		t.Fatal(err)
	}
	bm, _, err := from.Image(bd)
	if err != nil {
		t.Fatal(err)
	}
	if len(m.Layers) != 2 || m.Layers[0].Digest != bm.Layers[0].Digest {
		t.Errorf("layers %v, want the registry's own blob first", m.Layers)
	}
	r.Forget()
	again, _, err := pullAndRun(t, b, s, ref)
	if err != nil || again.Digest != first.Digest || again.Ran != 0 {
		t.Errorf("again: %+v, %v; want %s from the cache", again, err, first.Digest)
	}
	if n := r.Count("GET", "/v2/some/base/blobs/", ""); n != 0 {
		t.Errorf("%d blobs were fetched again", n)
	}
	// Pinned and here: the registry is not needed.
	pinned := r.Host() + "/some/base@" + bd.Digest.String()
	if _, _, err := pullAndRun(t, b, s, pinned); err != nil {
		t.Fatal(err)
	}
	r.Close()
	if _, _, err := pullAndRun(t, b, s, pinned); err != nil {
		t.Errorf("with a digest and the registry down: %v", err)
	}
	_, _, err = pullAndRun(t, b, s, ref)
	wantHint(t, err, "network")
}

// wantHint wants an error with advice that holds a word.
func wantHint(t *testing.T, err error, word string) {
	t.Helper()
	for e := err; e != nil; {
		if h, ok := e.(interface{ Hint() string }); ok && strings.Contains(h.Hint(), word) {
			return
		}
		u, ok := e.(interface{ Unwrap() error })
		if !ok {
			break
		}
		e = u.Unwrap()
	}
	t.Errorf("error %v has no hint about %q", err, word)
}

func TestPullThroughMirror(t *testing.T) {
	r := registrytest.Start(t)
	push(t, r.Host()+"/cache/library/base:1", insecure)
	s := site.Site{Registries: []site.Registry{{Prefix: "docker.io", Location: "127.0.0.1:1",
		Mirrors: []site.RegistryMirror{{Location: "127.0.0.1:2", Insecure: true}, {Location: r.Host() + "/cache", Insecure: true}}}}}
	if _, _, err := pullAndRun(t, opener(builders.Options{})(t), s, "base:1"); err != nil {
		t.Error(err)
	}
}

func TestPullWithCA(t *testing.T) {
	r := registrytest.Start(t, registrytest.TLS())
	ref := r.Host() + "/base:1"
	push(t, ref, insecure)
	b := opener(builders.Options{})(t)
	if _, _, err := pullAndRun(t, b, site.Site{CAs: []site.Certificate{{Name: "test", PEM: r.CA()}}}, ref); err != nil {
		t.Error(err)
	}
	_, _, err := pullAndRun(t, opener(builders.Options{})(t), site.Site{}, ref)
	wantHint(t, err, "CA")
}

func TestPullWithCredentials(t *testing.T) {
	for name, auth := range map[string]registrytest.Option{"basic": registrytest.Basic("me", "pass word"), "token": registrytest.Token("me", "pass word")} {
		t.Run(name, func(t *testing.T) {
			home := t.TempDir()
			t.Setenv("HOME", home)
			t.Setenv("XDG_RUNTIME_DIR", t.TempDir())
			r := registrytest.Start(t, auth)
			ref := r.Host() + "/private/base:1"
			push(t, ref, &types.SystemContext{DockerInsecureSkipTLSVerify: types.OptionalBoolTrue, DockerAuthConfig: &types.DockerAuthConfig{Username: "me", Password: "pass word"}})
			s := site.Site{Registries: []site.Registry{{Prefix: r.Host(), Insecure: true}}}
			b := opener(builders.Options{})(t)
			_, _, err := pullAndRun(t, b, s, ref)
			wantHint(t, err, "login")
			if err := os.Mkdir(filepath.Join(home, ".docker"), 0o700); err != nil {
				t.Fatal(err)
			}
			conf := fmt.Sprintf(`{"auths": {%q: {"auth": %q}}}`, r.Host(), base64.StdEncoding.EncodeToString([]byte("me:pass word")))
			if err := os.WriteFile(filepath.Join(home, ".docker/config.json"), []byte(conf), 0o600); err != nil {
				t.Fatal(err)
			}
			if _, _, err := pullAndRun(t, b, s, ref); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestPullWhatIsNotThere(t *testing.T) {
	r := registrytest.Start(t)
	s := site.Site{Registries: []site.Registry{{Prefix: r.Host(), Insecure: true}}}
	_, _, err := pullAndRun(t, opener(builders.Options{})(t), s, r.Host()+"/no/such:1")
	wantHint(t, err, "name and tag")
	if err == nil || !strings.Contains(err.Error(), "pull_test.go:") {
		t.Errorf("error names no line: %v", err)
	}
}

// TestProxy pulls from a registry that only the site's proxy knows, and shows the
// proxy to steps that have a network.
func TestProxy(t *testing.T) {
	r := registrytest.Start(t)
	push(t, r.Host()+"/base:1", insecure)
	var asked atomic.Int32
	proxy := httptest.NewServer(&httputil.ReverseProxy{Director: func(req *http.Request) {
		if req.URL.Host == "registry.invalid:5000" {
			asked.Add(1)
			req.URL.Host = r.Host()
		}
	}})
	t.Cleanup(proxy.Close)
	s := site.Site{Proxy: site.Proxy{HTTP: proxy.URL, No: "localhost"}, Registries: []site.Registry{{Prefix: "registry.invalid:5000", Insecure: true}}}
	g, err := pipelines.From(pipelines.HostPlatform(), pipelines.Pull{Ref: "registry.invalid:5000/base:1"}).Then(
		pipelines.Run{Shell: fmt.Sprintf(`test "$http_proxy" = %q; test "$HTTP_PROXY" = %q; test "$no_proxy" = localhost; test -z "$https_proxy"`, proxy.URL, proxy.URL)},
		pipelines.Run{Shell: `test -z "$http_proxy"`, Network: pipelines.NetworkNone},
		pipelines.Run{Shell: `test "$http_proxy" = mine`, Env: map[string]string{"http_proxy": "mine"}}).Graph()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := opener(builders.Options{})(t).Build(t.Context(), builders.Request{Graph: g, Site: s, Output: filepath.Join(t.TempDir(), "out")}); err != nil {
		t.Fatal(err)
	}
	if asked.Load() == 0 {
		t.Error("the proxy was not asked")
	}
}
