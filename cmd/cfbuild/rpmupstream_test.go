//go:build containers_image_openpgp && exclude_graphdriver_btrfs

package main

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cfbuild/cfbuild/internal/registrytest"
	"github.com/cfbuild/cfbuild/internal/testrepo/rpmrepo"
	"github.com/cfbuild/cfbuild/pipelines"
)

// TestCentOS9Upstream upgrades an image of a registry, behind a cache for quay.io,
// with the image's own dnf and the repositories that the recipe writes, while the
// preferred mirror answers everything with a web page. EPEL's mirror for images is
// down, that for building is not. The image is centos9 of the synthetic distribution;
// the repositories have a package that is newer since.
func TestCentOS9Upstream(t *testing.T) {
	w := newWorld(t, nil)
	_, before := rpmMirror(t)
	registry := registrytest.Start(t).Host()
	plain := fmt.Sprintf("[[registry]]\nprefix = %q\ninsecure = true\n", registry)
	file := before(w.dir)
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, append(text, plain...), 0o644); err != nil {
		t.Fatal(err)
	}
	w.run("centos9", "--site", file, "--platform", "linux/amd64", "--push", registry+"/centos/centos", "--tag", "stream9")

	d := rpmrepo.Distribution(t, "x86_64")
	root := t.TempDir()
	for _, suite := range []string{"9-stream/AppStream/x86_64/os", "9-stream/CRB/x86_64/os", "SIGs/9-stream/extras/x86_64/extras-common",
		"epel/9/Everything/x86_64", "epel/next/9/Everything/x86_64"} {
		rpmrepo.Write(t, filepath.Join(root, suite), d.Private, rpmrepo.Made)
	}
	base := filepath.Join(root, "9-stream/BaseOS/x86_64/os")
	d.Copy(t, base)
	newer := rpmrepo.RPM{Name: "rootfiles", Version: "8.2", Requires: []string{"filesystem"}, Key: d.Private, Files: []rpmrepo.File{rpmrepo.Regular("/root/.bashrc", "alias ll='ls -al'\n")}}
	rpmrepo.Write(t, base, d.Private, rpmrepo.Made.AddDate(0, 1, 0), newer)
	good, bad := rpmrepo.Serve(t, root), rpmrepo.Serve(t, t.TempDir())
	bad.Fault(func(rw http.ResponseWriter, r *http.Request) bool {
		fmt.Fprint(rw, "<!doctype html><html>Sign in to the guest network</html>")
		return true
	})
	file = filepath.Join(w.dir, "upstream.toml")
	text = fmt.Appendf(nil, `extends = "none"
[mirrors]
centos-stream = [%q, %q]
epel = [{ url = %q, build-only = true }, { url = %q, image-only = true }]
[keyrings]
centos-stream = { file = "key.asc", replace = true }
[[registry]]
prefix = "quay.io"
location = %q
insecure = true
`, bad.URL, good.URL, good.URL+"/epel", rpmrepo.Down(t)+"/epel", registry)
	if err := os.WriteFile(file, text, 0o644); err != nil {
		t.Fatal(err)
	}
	w.run("centos9-upstream", "--site", file, "--platform", "linux/amd64", "--test")
	if asked := good.Asked(); !slices.ContainsFunc(asked, func(p string) bool { return strings.HasSuffix(p, "/"+newer.NEVRA()+".rpm") }) {
		t.Errorf("%s was not fetched, but\n%s", newer.NEVRA(), strings.Join(asked, "\n"))
	}
	if asked := bad.Asked(); len(asked) == 0 {
		t.Error("the preferred mirror was not asked")
	}
	verified(t, "centos9-upstream", pipelines.VerifiedSynthetic)
}
