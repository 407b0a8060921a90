//go:build containers_image_openpgp && exclude_graphdriver_btrfs

package main

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cfbuild/cfbuild/bootstrap"
	"github.com/cfbuild/cfbuild/bootstrap/deb"
	"github.com/cfbuild/cfbuild/bootstrap/deb/archivetest"
	"github.com/cfbuild/cfbuild/bootstrap/deb/debtest"
	"github.com/cfbuild/cfbuild/internal/registrytest"
	"github.com/cfbuild/cfbuild/internal/testneed"
	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/cfbuild/cfbuild/site"
)

// ubuntu24.04 is built from an archive of Ubuntu's shape: release, components and
// repositories as Ubuntu has them, signed by a key of the test, holding packages of
// Debian's bookworm of which base-files says that it is noble. No mirror of Ubuntu's
// is needed, and nothing is claimed about its packages.
func TestUbuntuShapedArchive(t *testing.T) {
	testneed.Program(t, "dpkg-deb")
	w := newWorld(t, nil)
	key := archivetest.NewKey(t, time.Now().Add(-2*time.Hour))
	if err := os.WriteFile(filepath.Join(w.dir, "ubuntu.asc"), key.Public(t), 0o644); err != nil {
		t.Fatal(err)
	}
	registry := registrytest.Start(t).Host()
	text := "extends = \"none\"\n[mirrors]\n"
	keys := "[keyrings]\n"
	for repo, arch := range map[string]string{"ubuntu": "amd64", "ubuntu-ports": "arm64"} {
		mirror := archivetest.Serve(t, noble(t, arch, key))
		text += fmt.Sprintf("%s = [{ url = %q, build-only = true }]\n", repo, mirror.URL)
		keys += fmt.Sprintf("%s = { file = \"ubuntu.asc\", replace = true, build-only = true }\n", repo)
	}
	file := filepath.Join(w.dir, "ubuntu.toml")
	text += keys + fmt.Sprintf("[[registry]]\nprefix = \"docker.io\"\nlocation = %q\ninsecure = true\n[[registry]]\nprefix = %q\ninsecure = true\n", registry, registry)
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	rep := w.run("ubuntu24.04", "--platform", both, "--test", "--site", file)
	if len(rep.Tests) != 2 || len(rep.Tests[0].Results) < 20 {
		t.Errorf("tests: %+v", rep.Tests)
	}
	verified(t, "ubuntu24.04", pipelines.VerifiedSynthetic)

	// Upgraded, with the account that Ubuntu's own image has: its tests say that
	// nothing is left in /home.
	w.run("ubuntu24.04-account", "--site", file, "--push", registry+"/library/ubuntu", "--tag", "noble")
	rep = w.run("ubuntu24.04-upstream", "--test", "--site", file)
	if len(rep.Tests) != 1 || len(rep.Tests[0].Results) < 20 {
		t.Errorf("tests: %+v", rep.Tests)
	}
	verified(t, "ubuntu24.04-upstream", pipelines.VerifiedSynthetic)
}

// noble publishes the packages of a minimal bookworm as Ubuntu would.
func noble(t *testing.T, arch string, key *archivetest.Key) string {
	t.Helper()
	p, err := pipelines.ParsePlatform(arch)
	if err != nil {
		t.Fatal(err)
	}
	cache := t.TempDir()
	mirrors := map[string][]site.Mirror{}
	var sources []pipelines.PackageSource
	for _, s := range archivetest.Debian("bookworm") {
		mirrors[s.Repository] = []site.Mirror{{URL: frozenURL(t, s.Repository)}}
		sources = append(sources, s)
	}
	root, err := deb.New(deb.Options{}).Make(context.Background(), bootstrap.Request{Platform: p, Site: site.Site{Mirrors: mirrors}, CacheDir: cache, Now: time.Now(),
		Op: pipelines.Bootstrap{Method: "deb", Sources: sources}})
	if err != nil {
		t.Fatal(err)
	}
	var packages []archivetest.Package
	for _, p := range root.Packages {
		path := filepath.Join(cache, "blobs", "sha256", p.SHA256)
		if p.Name == "base-files" {
			path = asUbuntu(t, path)
		}
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		packages = append(packages, archivetest.Package{Name: p.Name, Version: p.Version, Arch: p.Architecture, Fields: relations(t, path), Data: data})
	}
	var ring bytes.Buffer
	if err := key.Entity.Serialize(&ring); err != nil {
		t.Fatal(err)
	}
	fields := []string{"Priority: required"}
	keyring := debtest.Deb{Name: "ubuntu-keyring", Version: "1", Fields: fields, Files: []*tar.Header{
		debtest.Dir("usr"), debtest.Dir("usr/share"), debtest.Dir("usr/share/keyrings"), debtest.File("usr/share/keyrings/ubuntu-archive-keyring.gpg", ring.String())}}
	packages = append(packages, archivetest.Package{Name: keyring.Name, Version: keyring.Version, Fields: fields, Data: keyring.Build(t)})
	dir := t.TempDir()
	for suite, pkgs := range map[string][]archivetest.Package{"noble": packages, "noble-updates": nil, "noble-security": nil} {
		archivetest.Suite{Codename: "noble", Dir: suite, Name: suite, Origin: "Ubuntu", Version: "24.04", Date: time.Now().Add(-time.Hour), Arch: arch, Also: []string{"amd64", "arm64"}, Packages: pkgs,
			Empty: []string{"restricted", "universe", "multiverse"}, Key: key}.Write(t, dir)
	}
	return dir
}

// relations are the fields of a package that an index repeats.
func relations(t *testing.T, deb string) []string {
	t.Helper()
	var out []string
	for line := range strings.Lines(tool(t, "dpkg-deb", "--field", deb)) {
		line = strings.TrimRight(line, "\n")
		name, _, _ := strings.Cut(line, ":")
		switch name {
		case "Priority", "Essential", "Protected", "Important", "Multi-Arch", "Depends", "Pre-Depends", "Provides", "Conflicts", "Breaks", "Replaces", "Installed-Size", "Section":
			out = append(out, line)
		}
	}
	return out
}

// asUbuntu makes a base-files that says it is Ubuntu's.
func asUbuntu(t *testing.T, deb string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "base-files")
	tool(t, "dpkg-deb", "--raw-extract", deb, dir)
	text := "PRETTY_NAME=\"Ubuntu 24.04 LTS\"\nNAME=\"Ubuntu\"\nVERSION_ID=\"24.04\"\nVERSION_CODENAME=noble\nID=ubuntu\nID_LIKE=debian\n"
	if err := os.WriteFile(filepath.Join(dir, "usr/lib/os-release"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	tool(t, "dpkg-deb", "--root-owner-group", "--build", dir, dir+".deb")
	return dir + ".deb"
}
