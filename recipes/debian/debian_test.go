package debian_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/cfbuild/cfbuild/internal/golden"
	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/cfbuild/cfbuild/recipes/common"
	"github.com/cfbuild/cfbuild/recipes/debian"
	"github.com/cfbuild/cfbuild/site"
)

var amd64 = pipelines.Platform{OS: "linux", Architecture: "amd64"}

// lab is a site with everything a recipe looks at. The certificates are text here;
// that they are sound is the site's business.
func lab() site.Site {
	pem := func(fill string) []byte {
		return []byte("-----BEGIN CERTIFICATE-----\n" + strings.Repeat(fill, 64) + "\nshort\n-----END CERTIFICATE-----\n")
	}
	s := site.Public()
	s.Mirrors["debian"] = append([]site.Mirror{{URL: "https://near.example/debian"}, {URL: "http://build.example/debian", BuildOnly: true}}, s.Mirrors["debian"]...)
	s.CAs = []site.Certificate{{Name: "lab-root", PEM: pem("A")}, {Name: "other", PEM: pem("B")}, {Name: "quiet", PEM: pem("C"), BuildOnly: true}}
	s.Keyrings = map[string]site.Keyring{
		"debian":          {Keys: []byte("-----BEGIN PGP PUBLIC KEY BLOCK-----\n"), Replace: true},
		"debian-security": {Keys: []byte("build"), BuildOnly: true},
	}
	return s
}

// text is a graph for reading: operations in order, files with their content.
func text(t *testing.T, img pipelines.Image) []byte {
	t.Helper()
	g, err := img.Graph()
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	for _, n := range g.Nodes {
		switch o := n.Op.(type) {
		case pipelines.File:
			mode := o.Mode
			if mode == 0 {
				mode = 0o644
			}
			fmt.Fprintf(&b, "file %s %04o\n", o.Path, mode)
			for line := range strings.Lines(string(o.Data)) {
				b.WriteString("  | " + strings.ReplaceAll(line, "\t", "\\t"))
			}
		case pipelines.Run:
			fmt.Fprintf(&b, "run %s, network %s\n", n.Name, o.Network)
			for line := range strings.Lines(o.Shell) {
				b.WriteString("  | " + line)
			}
		default:
			j, _ := json.MarshalIndent(o, "", "  ")
			fmt.Fprintf(&b, "%s\n%s\n", n.Name, j)
		}
	}
	return b.Bytes()
}

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
	for i := range g.Nodes {
		g.Nodes[i].Where = pipelines.Position{}
	}
	j, err := json.MarshalIndent(g, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	golden.Check(t, "debian12-lab.json", append(j, '\n'))
}

// The site "host" says where bytes come from; its images are the public ones.
func TestHostImagesArePublic(t *testing.T) {
	s := lab()
	for repo := range s.Mirrors {
		for i := range s.Mirrors[repo] {
			s.Mirrors[repo][i].BuildOnly = true
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
	if f := debian.Files(o, site.ORNL()); len(f) != 0 {
		t.Errorf("files for apt: %v", f)
	}
	g, err := debian.New(o)(site.ORNL(), amd64).Graph()
	if err != nil || len(g.Base().Op.(pipelines.Bootstrap).Include) != 0 {
		t.Errorf("%v, includes %v", err, g.Base().Op)
	}
}
