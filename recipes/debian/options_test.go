package debian_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/cfbuild/cfbuild/recipes/common"
	"github.com/cfbuild/cfbuild/recipes/debian"
	"github.com/cfbuild/cfbuild/site"
)

// Options that make no sense are refused with the line that gave them, and a way
// out.
func TestOptionsThatMakeNoSense(t *testing.T) {
	for _, c := range []struct {
		o    debian.Options // this test's lines are the recipe's
		says string
	}{
		{debian.Options{}, "recipe debian: has no suite"},
		{debian.Options{Suite: "bookworm", Distribution: "mint"}, `does not know the distribution "mint"`},
		{debian.Options{Suite: "bookworm", Source: "tarball"}, `does not know the source "tarball"`},
		{debian.Options{Suite: "bookworm", Image: "docker.io/library/debian:12"}, "has an Image, but is made from packages"},
		{debian.Options{Suite: "bookworm", Source: common.FromImage, Variant: "standard"}, "has a Variant, but starts from an image"},
		{debian.Options{Suite: "bookworm", Source: common.FromImage, Exclude: []string{"tzdata"}}, "has Exclude, but starts from an image"},
		{debian.Options{Suite: "bookworm", Variant: "buildd"}, `does not know the variant "buildd"`},
		{debian.Options{Suite: "bookworm", Variant: "essential", Recommends: true}, "has Recommends, but no apt"},
		{debian.Options{Suite: "bookworm", Components: []string{"main", "universe"}}, `has the component "universe", which Debian does not have`},
		{debian.Options{Suite: "noble", Components: []string{"contrib"}}, `recipe ubuntu: has the component "contrib", which Ubuntu does not have`},
		{debian.Options{Suite: "noble", Languages: "some"}, `does not know the language configuration "some"`},
	} {
		_, err := debian.New(c.o)(site.Public(), amd64).Graph()
		var e *pipelines.InvalidError
		if !errors.As(err, &e) || !strings.HasPrefix(err.Error(), "debian/options_test.go:") || !strings.Contains(err.Error(), c.says) || e.Hint() == "" {
			t.Errorf("%+v: got %v", c.o, err)
		}
	}
}

// Each release is fetched from where its packages are.
func TestRepositories(t *testing.T) {
	arm := pipelines.Platform{OS: "linux", Architecture: "arm64"}
	for _, c := range []struct {
		o    debian.Options
		p    pipelines.Platform
		want string
	}{
		{debian.Options{Suite: "buster"}, amd64, "debian-archive buster expired; debian-archive-security buster/updates expired"},
		{debian.Options{Suite: "trixie"}, arm, "debian trixie; debian trixie-updates; debian-security trixie-security"},
		{debian.Options{Suite: "sid"}, amd64, "debian sid"},
		{debian.Options{Suite: "noble"}, amd64, "ubuntu noble; ubuntu noble-updates; ubuntu noble-security"},
		{debian.Options{Suite: "noble"}, pipelines.Platform{OS: "linux", Architecture: "386"}, "ubuntu noble; ubuntu noble-updates; ubuntu noble-security"},
		{debian.Options{Suite: "noble"}, arm, "ubuntu-ports noble; ubuntu-ports noble-updates; ubuntu-ports noble-security"},
		{debian.Options{Suite: "mantic"}, arm, "ubuntu-old-releases mantic expired; ubuntu-old-releases mantic-updates expired; ubuntu-old-releases mantic-security expired"},
		{debian.Options{Suite: "unheard", Distribution: "ubuntu"}, amd64, "ubuntu unheard; ubuntu unheard-updates; ubuntu unheard-security"},
	} {
		g, err := debian.New(c.o)(site.Public(), c.p).Graph()
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, s := range g.Base().Op.(pipelines.Bootstrap).Sources {
			text := s.Repository + " " + s.Suite
			if s.AllowExpired {
				text += " expired"
			}
			got = append(got, text)
		}
		if strings.Join(got, "; ") != c.want {
			t.Errorf("%+v for %s: %s, want %s", c.o, c.p, strings.Join(got, "; "), c.want)
		}
	}
}

// An upstream image is upgraded in one step, from the mirrors for building where
// they are others than those it keeps, and nothing of that step stays.
func TestUpstream(t *testing.T) {
	r := debian.New(debian.Options{Suite: "noble", Source: common.FromImage, Include: []string{"git"}})
	for _, c := range []struct {
		s      site.Site
		mounts int
	}{{site.Public(), 0}, {lab(), 2}} {
		g, err := r(c.s, amd64).Graph()
		if err != nil {
			t.Fatal(err)
		}
		if ref := g.Base().Op.(pipelines.Pull).Ref; ref != "docker.io/library/ubuntu:noble" {
			t.Errorf("made of %s", ref)
		}
		found := false
		for _, n := range g.Nodes {
			switch o := n.Op.(type) {
			case pipelines.Run:
				if !strings.Contains(o.Shell, "dist-upgrade") {
					continue
				}
				found = true
				if len(o.Mounts) != c.mounts || o.Env["DEBIAN_FRONTEND"] != "noninteractive" || !strings.Contains(o.Shell, "rm -rf /var/lib/apt/lists/*") {
					t.Errorf("site %s: %d mounts, want %d; %+v", c.s.Name, len(o.Mounts), c.mounts, o)
				}
			case pipelines.Configure:
				if _, stays := o.Env["DEBIAN_FRONTEND"]; stays {
					t.Error("DEBIAN_FRONTEND stays")
				}
			}
		}
		if !found {
			t.Error("nothing is upgraded")
		}
	}
}
