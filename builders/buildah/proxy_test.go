//go:build linux && cgo && containers_image_openpgp && exclude_graphdriver_btrfs

package buildah_test

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"io/fs"
	"net/http/httptest"
	"net/http/httputil"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cfbuild/cfbuild/builders"
	"github.com/cfbuild/cfbuild/internal/registrytest"
	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/cfbuild/cfbuild/site"
)

// TestProxyPassword: a step sees the proxy's password, and no byte of the image or
// of what is told about the build does.
func TestProxyPassword(t *testing.T) {
	const password = "hunter2-of-the-proxy"
	r := registrytest.Start(t)
	push(t, r.Host()+"/base:1", insecure)
	proxy := httptest.NewServer(&httputil.ReverseProxy{Rewrite: func(p *httputil.ProxyRequest) { p.Out.URL.Host = r.Host() }})
	t.Cleanup(proxy.Close)
	full := "http://bob:" + password + "@" + strings.TrimPrefix(proxy.URL, "http://")
	s := site.Site{Proxy: site.Proxy{HTTP: full}, Registries: []site.Registry{{Prefix: "registry.invalid:5000", Insecure: true}}}
	g, err := pipelines.From(pipelines.HostPlatform(), pipelines.Pull{Ref: "registry.invalid:5000/base:1"}).Then(
		pipelines.Run{Shell: fmt.Sprintf(`test ${#http_proxy} = %d; echo seen > /seen`, len(full))},
		pipelines.Configure{User: "0"}).Graph()
	if err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(t.TempDir(), "out")
	var told strings.Builder
	_, err = opener(builders.Options{})(t).Build(t.Context(), builders.Request{Graph: g, Site: s, Output: out,
		Events: func(e pipelines.Event) { fmt.Fprintf(&told, "%+v\n", e) }})
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(told.String(), password) {
		t.Errorf("events tell it:\n%s", told.String())
	}
	files := 0
	err = filepath.WalkDir(out, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if z, err := gzip.NewReader(bytes.NewReader(data)); err == nil {
			if data, err = io.ReadAll(z); err != nil {
				return err
			}
		}
		files++
		if bytes.Contains(data, []byte(password)) {
			t.Errorf("%s holds it", filepath.Base(path))
		}
		return nil
	})
	if err != nil || files < 4 {
		t.Errorf("%d files looked at: %v", files, err)
	}
}
