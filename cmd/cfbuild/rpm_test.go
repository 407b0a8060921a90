//go:build containers_image_openpgp && exclude_graphdriver_btrfs

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cfbuild/cfbuild/internal/testneed"
	"github.com/cfbuild/cfbuild/internal/testrepo/rpmrepo"
	"github.com/cfbuild/cfbuild/pipelines"
)

// rpmMirror serves the synthetic distribution as CentOS Stream 9 on loopback,
// BaseOS with all of it and an empty AppStream, for two architectures. It gives a
// function that writes a site file for it into a directory.
func rpmMirror(t *testing.T, extra ...string) (m *rpmrepo.Mirror, site func(dir string) string) {
	t.Helper()
	root := t.TempDir()
	var keys []byte
	for _, arch := range []string{"x86_64", "aarch64"} {
		d := rpmrepo.Distribution(t, arch, extra...)
		keys = append(keys, d.Key...)
		base := filepath.Join(root, "9-stream/BaseOS", arch)
		if err := os.MkdirAll(base, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(d.Dir, filepath.Join(base, "os")); err != nil {
			t.Fatal(err)
		}
		rpmrepo.Write(t, filepath.Join(root, "9-stream/AppStream", arch, "os"), d.Private, rpmrepo.Made)
		rpmrepo.Write(t, filepath.Join(root, "SIGs/9-stream/extras", arch, "extras-common"), d.Private, rpmrepo.Made)
	}
	m = rpmrepo.Serve(t, root)
	text := fmt.Sprintf("extends = \"none\"\n[mirrors]\ncentos-stream = [%q]\nepel = [%q]\n[keyrings]\ncentos-stream = { file = \"key.asc\", replace = true }\n", m.URL, m.URL+"/epel")
	return m, func(dir string) string {
		file := filepath.Join(dir, "rpm.toml")
		for path, data := range map[string]string{file: text, filepath.Join(dir, "key.asc"): string(keys)} {
			if err := os.WriteFile(path, []byte(data), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		return file
	}
}

// TestCentOS9 builds the target from the synthetic repository for two
// architectures, as an ordinary user too, and the target's own tests pass.
func TestCentOS9(t *testing.T) {
	if _, err := os.Stat("/proc/sys/fs/binfmt_misc/qemu-aarch64"); err != nil {
		testneed.Skip(t, "needs binfmt_misc for arm64 (make setup registers it)")
	}
	w := newWorld(t, nil)
	m, siteFile := rpmMirror(t)
	site := siteFile(w.dir)
	rep := w.run("centos9", "--site", site, "--platform", "linux/amd64,linux/arm64", "--test")
	if len(rep.Artifacts) != 2 {
		t.Errorf("%+v", rep)
	}
	w.lint(0, "centos9", "--site", site, "--platform", "linux/amd64,linux/arm64")
	m.Asked()
	again := w.run("centos9", "--site", site, "--platform", "linux/amd64,linux/arm64")
	for _, a := range again.Artifacts {
		if !a.Cached || a.Digest != rep.digests()[a.Job] {
			t.Errorf("again: %+v, first %v", a, rep.digests())
		}
	}
	for _, p := range m.Asked() {
		if !strings.HasSuffix(p, "repomd.xml") {
			t.Errorf("an unchanged run asked for %s", p)
		}
	}
	user := testneed.User(t)
	u := newWorld(t, &user)
	asUser := u.run("centos9", "--site", siteFile(u.dir), "--platform", "linux/amd64")
	for job, d := range asUser.digests() {
		if rep.digests()[job] != d {
			t.Errorf("%s: %s as root, %s as user", job, rep.digests()[job], d)
		}
	}
	verified(t, "centos9", pipelines.VerifiedSynthetic)
}
