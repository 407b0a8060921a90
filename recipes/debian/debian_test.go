package debian_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/cfbuild/cfbuild/internal/golden"
	"github.com/cfbuild/cfbuild/internal/recipetest"
	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/cfbuild/cfbuild/recipes/common"
	"github.com/cfbuild/cfbuild/recipes/debian"
	"github.com/cfbuild/cfbuild/site"
)

var amd64 = pipelines.Platform{OS: "linux", Architecture: "amd64"}

func lab() site.Site { return recipetest.Lab() }

func text(t *testing.T, img pipelines.Image) []byte { return recipetest.Text(t, img) }

func TestGolden(t *testing.T) {
	golden.Check(t, "debian11-public.txt", text(t, debian.Debian11(site.Public(), amd64)))
	golden.Check(t, "debian12-public.txt", text(t, debian.Debian12(site.Public(), amd64)))
	golden.Check(t, "debian13-ornl.txt", text(t, debian.Debian13(site.ORNL(), amd64)))
	golden.Check(t, "debian13-lab.txt", text(t, debian.Debian13(lab(), amd64)))
	golden.Check(t, "sid-options.txt", text(t, debian.New(debian.Options{
		Suite: "sid", Variant: "apt", Components: []string{"main", "contrib"}, Include: []string{"git", "ca-certificates"}, Exclude: []string{"tzdata"},
		Recommends: true, NoTrust: true, Labels: map[string]string{"org.opencontainers.image.title": "Mine"},
	})(lab(), amd64)))
	golden.Check(t, "trust.txt", text(t, pipelines.From(amd64, pipelines.Pull{Ref: "docker.io/library/debian:12"}).With(debian.Trust(lab().ImageCAs()))))

	// The machine readable form, as generators and other programs see it.
	g, err := debian.Debian12(lab(), amd64).Graph()
	if err != nil {
		t.Fatal(err)
	}
	golden.Check(t, "debian12-lab.json", recipetest.JSON(t, g))
}

// The site "host" says where bytes come from; its images are the public ones.
func TestHostImagesArePublic(t *testing.T) {
	s := lab()
	for repo := range s.Mirrors {
		for i := range s.Mirrors[repo] {
			s.Mirrors[repo][i].BuildOnly = true
		}
	}
	for kind := range s.Indexes {
		for i := range s.Indexes[kind] {
			s.Indexes[kind][i].BuildOnly = true
		}
	}
	for i := range s.CAs {
		s.CAs[i].BuildOnly = true
	}
	s.Keyrings["debian"] = site.Keyring{Keys: []byte("x"), BuildOnly: true}
	host, err := debian.Debian12(s, amd64).Graph()
	if err != nil {
		t.Fatal(err)
	}
	public, _ := debian.Debian12(site.Public(), amd64).Graph()
	if host.ID() != public.ID() {
		t.Error("an image for the site host differs from the public one")
	}
}

// What the order is for: anchors and sources are one run of files, the first
// command is the one that makes the bundle, and it needs no network.
func TestOrder(t *testing.T) {
	g, err := debian.Debian12(lab(), amd64).Graph()
	if err != nil {
		t.Fatal(err)
	}
	var kinds []string
	for _, n := range g.Nodes {
		switch o := n.Op.(type) {
		case pipelines.Bootstrap:
			kinds = append(kinds, "bootstrap")
		case pipelines.File:
			if len(kinds) == 0 || kinds[len(kinds)-1] != "files" {
				kinds = append(kinds, "files")
			}
		case pipelines.Run:
			kinds = append(kinds, "run "+string(o.Network))
		case pipelines.Configure:
			kinds = append(kinds, "configure "+o.Labels[common.LabelCA])
		}
	}
	if got, want := strings.Join(kinds, "; "), "bootstrap; files; run none; configure lab-root,other"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// A recipe is a pure function: using it once changes nothing for the next use.
func TestRecipesArePure(t *testing.T) {
	r := debian.New(debian.Options{Suite: "bookworm", Include: make([]string, 0, 8)})
	before, err := r(site.Public(), amd64).Graph()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r(lab(), amd64).Graph(); err != nil {
		t.Fatal(err)
	}
	after, _ := r(site.Public(), amd64).Graph()
	if before.ID() != after.ID() {
		t.Error("a recipe remembers the site it was used with")
	}
}

func TestNoSuite(t *testing.T) {
	_, err := debian.New(debian.Options{})(site.Public(), amd64).Graph()
	var e *pipelines.InvalidError
	if !errors.As(err, &e) || !strings.Contains(err.Error(), "has no suite") {
		t.Errorf("got %v", err)
	}
}

func TestEssentialHasNoAPT(t *testing.T) {
	o := debian.Options{Suite: "bookworm", Variant: "essential"}
	for _, f := range debian.Files(o, site.ORNL(), amd64) {
		if strings.HasPrefix(f.Path, "/etc/apt") {
			t.Errorf("a file for apt: %s", f.Path)
		}
	}
	g, err := debian.New(o)(site.ORNL(), amd64).Graph()
	if err != nil || len(g.Base().Op.(pipelines.Bootstrap).Include) != 0 {
		t.Errorf("%v, includes %v", err, g.Base().Op)
	}
}
