package suse_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cfbuild/cfbuild/internal/golden"
	"github.com/cfbuild/cfbuild/internal/recipetest"
	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/cfbuild/cfbuild/recipes/common"
	"github.com/cfbuild/cfbuild/recipes/suse"
	"github.com/cfbuild/cfbuild/site"
)

var amd64 = pipelines.Platform{OS: "linux", Architecture: "amd64"}

func lab() site.Site { return recipetest.Lab() }

func graph(t *testing.T, o suse.Options, s site.Site) pipelines.Graph {
	t.Helper()
	g, err := suse.New(o)(s, amd64).Graph()
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func TestGolden(t *testing.T) {
	text := func(o suse.Options, s site.Site) []byte { return recipetest.Text(t, suse.New(o)(s, amd64)) }
	golden.Check(t, "leap-public.txt", text(suse.Options{Distribution: suse.Leap}, site.Public()))
	golden.Check(t, "bci-options.txt", text(suse.Options{Distribution: suse.BCI, Source: common.FromImage, Image: "registry.example/bci:15", Include: []string{"git"},
		Fallback: suse.List, Recommends: true, Docs: true, NoTrust: true, Languages: common.NoIndexes, Labels: map[string]string{"org.opencontainers.image.title": "Mine"}}, lab()))
	golden.Check(t, "sles12-lab.txt", text(suse.Options{Distribution: suse.SLES12, Source: common.FromImage, Languages: common.NoIndexes}, lab()))
}

// Options that make no sense are refused with the line that gave them, and a way
// out.
func TestOptionsThatMakeNoSense(t *testing.T) {
	for _, c := range []struct {
		o    suse.Options
		p    pipelines.Platform
		says string
	}{
		{suse.Options{}, amd64, "recipe suse: has no distribution"},
		{suse.Options{Distribution: "tumbleweed"}, amd64, `recipe tumbleweed: does not know the distribution "tumbleweed"`},
		{suse.Options{Distribution: suse.Leap}, pipelines.Platform{OS: "linux", Architecture: "riscv64"}, "openSUSE Leap 15.6 is not made for linux/riscv64"},
		{suse.Options{Distribution: suse.SLES12}, amd64, "cannot be made from packages: the repositories of SUSE Linux Enterprise Server 12 SP5 need a subscription"},
		{suse.Options{Distribution: suse.SLES12, Source: common.FromImage, Include: []string{"git"}}, amd64, "has Include, but the repositories"},
		{suse.Options{Distribution: suse.Leap, Source: "iso"}, amd64, `does not know the source "iso"`},
		{suse.Options{Distribution: suse.Leap, Image: "x"}, amd64, "has an Image, but is made from packages"},
		{suse.Options{Distribution: suse.BCI, Source: common.FromImage, Exclude: []string{"tar"}}, amd64, "has Exclude, but starts from an image"},
		{suse.Options{Distribution: suse.BCI, Source: common.FromImage, Include: []string{"$(reboot)"}}, amd64, "is not a package name"},
		{suse.Options{Distribution: suse.BCI, Fallback: "metalink"}, amd64, `does not know the fallback "metalink"`},
		{suse.Options{Distribution: suse.BCI, Languages: "some"}, amd64, `does not know the language configuration "some"`},
	} {
		_, err := suse.New(c.o)(site.Public(), c.p).Graph() // this line is the recipe's
		var e *pipelines.InvalidError
		if !errors.As(err, &e) || !strings.HasPrefix(err.Error(), "suse/suse_test.go:") || !strings.Contains(err.Error(), c.says) || e.Hint() == "" {
			t.Errorf("%+v: got %v", c.o, err)
		}
	}
}

func TestSources(t *testing.T) {
	var got []string
	for _, s := range graph(t, suse.Options{Distribution: suse.Leap}, site.Public()).Base().Op.(pipelines.Bootstrap).Sources {
		got = append(got, s.Repository+" "+s.Suite)
	}
	want := []string{"opensuse distribution/leap/15.6/repo/oss", "opensuse update/leap/15.6/oss", "opensuse update/leap/15.6/backports", "opensuse update/leap/15.6/sle"}
	if !slices.Equal(got, want) {
		t.Errorf("got %v", got)
	}
}

// The site "host" says where bytes come from; its images are the public ones.
func TestHostImagesArePublic(t *testing.T) {
	s := lab()
	for _, lists := range []map[string][]site.Mirror{s.Mirrors, s.Indexes} {
		for name := range lists {
			for i := range lists[name] {
				lists[name][i].BuildOnly = true
			}
		}
	}
	for i := range s.CAs {
		s.CAs[i].BuildOnly = true
	}
	o := suse.Options{Distribution: suse.Leap}
	if graph(t, o, s).ID() != graph(t, o, site.Public()).ID() {
		t.Error("an image for the site host differs from the public one")
	}
}

// upgradeStep is the script that upgrades an image.
func upgradeStep(t *testing.T, g pipelines.Graph) pipelines.Run {
	t.Helper()
	for _, n := range g.Nodes {
		if o, ok := n.Op.(pipelines.Run); ok && strings.Contains(n.Name, "upgrade packages") {
			return o
		}
	}
	t.Fatal("nothing is upgraded")
	return pipelines.Run{}
}

// The script takes "reboot needed" and "run me again" for what they are, gives every
// other failure on, and trusts the authorities of the build until it ends.
func TestUpgradeScript(t *testing.T) {
	step := upgradeStep(t, graph(t, suse.Options{Distribution: suse.Leap, Source: common.FromImage, Include: []string{"git"}}, lab()))
	if len(step.Mounts) == 0 {
		t.Error("the mirrors for building are not shown to zypper")
	}
	for _, c := range []struct {
		patch, update int
		ok            bool
	}{{0, 0, true}, {102, 0, true}, {103, 102, true}, {0, 104, false}, {8, 0, false}} {
		root := t.TempDir()
		bin := filepath.Join(root, "bin")
		for name, script := range map[string]string{
			"rpm":                    `echo "rpm $*" >> $LOG`,
			"update-ca-certificates": `echo "trust $(ls ` + root + `/etc/pki/trust/anchors)" >> $LOG`,
			"zypper":                 `echo "zypper $*" >> $LOG; case "$*" in *patch*) exit $PATCH ;; *" update"*) exit $UPDATE ;; esac`,
		} {
			recipetest.Put(t, filepath.Join(bin, name), []byte("#!/bin/sh\n"+script+"\n"), 0o755)
		}
		recipetest.Put(t, filepath.Join(root, "ca.pem"), []byte("ca\n"), 0o644)
		recipetest.Put(t, filepath.Join(root, "etc/pki/trust/anchors/lab.pem"), []byte("lab\n"), 0o644)
		cmd := exec.Command("sh", "-ec", strings.NewReplacer("/etc/", root+"/etc/", "/var/", root+"/var/").Replace(step.Shell))
		cmd.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"), "LOG="+root+"/log", "SSL_CERT_FILE="+root+"/ca.pem",
			"PATCH="+fmt.Sprint(c.patch), "UPDATE="+fmt.Sprint(c.update))
		out, err := cmd.CombinedOutput()
		if (err == nil) != c.ok {
			t.Errorf("patch %d, update %d: %v\n%s", c.patch, c.update, err, out)
		}
		log, _ := os.ReadFile(filepath.Join(root, "log"))
		if c.ok && (!strings.HasPrefix(string(log), "trust cfbuild-building.pem\nlab.pem\nrpm --import ") || !strings.HasSuffix(string(log), "zypper clean --all\ntrust lab.pem\n") ||
			strings.Contains(string(log), "gpg-auto-import-keys") || !strings.Contains(string(log), "zypper --non-interactive install git\n")) {
			t.Errorf("patch %d, update %d: it did\n%s", c.patch, c.update, log)
		}
	}
}

func TestTrustScript(t *testing.T) {
	cas := lab().ImageCAs()
	both := string(cas[0].PEM) + string(cas[1].PEM)
	play := func(root string) { recipetest.Play(t, root, suse.Trust(cas)) }
	// No package: a bundle of its own, the same after a second time.
	root := t.TempDir()
	for range 2 {
		play(root)
		for _, path := range []string{"var/lib/ca-certificates/ca-bundle.pem", "etc/ssl/ca-bundle.pem"} {
			if got, err := os.ReadFile(filepath.Join(root, path)); err != nil || string(got) != both {
				t.Errorf("%s is %v\n%s", path, err, got)
			}
		}
	}
	// With the package its own tool does it, and only that.
	root = t.TempDir()
	recipetest.Put(t, filepath.Join(root, "usr/sbin/update-ca-certificates"), []byte("#!/bin/sh\nls "+root+"/etc/pki/trust/anchors > "+root+"/ran\n"), 0o755)
	play(root)
	if ran, _ := os.ReadFile(filepath.Join(root, "ran")); string(ran) != "lab-root.pem\nother.pem\n" {
		t.Errorf("the tool saw %q", ran)
	}
	if _, err := os.Stat(filepath.Join(root, "var/lib/ca-certificates/ca-bundle.pem")); err == nil {
		t.Error("the bundle was written besides")
	}
}

func TestTargets(t *testing.T) {
	var names []string
	for _, target := range suse.Targets(site.Public()) {
		names = append(names, target.Name)
		if len(target.Tests) < 12 || len(target.Platforms) != 4 || target.EndOfLife == "" {
			t.Errorf("%s has %d tests, %d platforms", target.Name, len(target.Tests), len(target.Platforms))
		}
	}
	if want := []string{"opensuse-leap15", "opensuse-leap15-upstream", "bci15", "bci15-upstream", "sles12"}; !slices.Equal(names, want) {
		t.Errorf("got %v", names)
	}
}
