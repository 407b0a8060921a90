package alpine_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/cfbuild/cfbuild/internal/golden"
	"github.com/cfbuild/cfbuild/internal/recipetest"
	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/cfbuild/cfbuild/recipes/alpine"
	"github.com/cfbuild/cfbuild/recipes/common"
	"github.com/cfbuild/cfbuild/site"
)

var amd64 = pipelines.Platform{OS: "linux", Architecture: "amd64"}

func lab() site.Site {
	s := recipetest.Lab()
	s.Keyrings["alpine"] = site.Keyring{Keys: []byte("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"), Name: "lab-1a.rsa.pub"}
	return s
}

func TestGolden(t *testing.T) {
	golden.Check(t, "alpine3.24-public.txt", recipetest.Text(t, alpine.New(alpine.Options{Release: "3.24"})(site.Public(), amd64)))
	golden.Check(t, "alpine3.24-lab.txt", recipetest.Text(t, alpine.New(alpine.Options{Release: "3.24"})(lab(), amd64)))
	golden.Check(t, "alpine3.23-upstream-lab.txt", recipetest.Text(t, alpine.New(alpine.Options{Release: "3.23", Source: common.FromImage, Include: []string{"git"}})(lab(), amd64)))
	golden.Check(t, "edge-options.txt", recipetest.Text(t, alpine.New(alpine.Options{
		Release: "edge", Components: []string{"main", "testing"}, Include: []string{"git"}, Exclude: []string{"busybox-suid"},
		NoTrust: true, Languages: common.NoIndexes, Labels: map[string]string{"org.opencontainers.image.title": "Mine"},
	})(lab(), amd64)))
	golden.Check(t, "trust.txt", recipetest.Text(t, pipelines.From(amd64, pipelines.Pull{Ref: "docker.io/library/alpine:3.24"}).With(alpine.Trust(lab().ImageCAs()))))
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
	k := s.Keyrings["alpine"]
	k.BuildOnly = true
	s.Keyrings["alpine"] = k
	r := alpine.New(alpine.Options{Release: "3.24"})
	host, err := r(s, amd64).Graph()
	if err != nil {
		t.Fatal(err)
	}
	public, _ := r(site.Public(), amd64).Graph()
	if host.ID() != public.ID() {
		t.Error("an image for the site host differs from the public one")
	}
}

// Anchors and sources are one run of files, the first command is the one that makes
// the bundle, and it needs no network; an image that is pulled is upgraded after it.
func TestOrder(t *testing.T) {
	for source, want := range map[common.Source]string{
		common.FromPackages: "bootstrap; files; run none; configure lab-root,other",
		// The second files are those that apk is shown while it upgrades.
		common.FromImage: "pull; files; run none; files; run ; configure lab-root,other",
	} {
		g, err := alpine.New(alpine.Options{Release: "3.24", Source: source})(lab(), amd64).Graph()
		if err != nil {
			t.Fatal(err)
		}
		var kinds []string
		for _, n := range g.Nodes {
			switch o := n.Op.(type) {
			case pipelines.Bootstrap:
				kinds = append(kinds, "bootstrap")
			case pipelines.Pull:
				kinds = append(kinds, "pull")
			case pipelines.File:
				if len(kinds) > 0 && kinds[len(kinds)-1] != "files" {
					kinds = append(kinds, "files")
				}
			case pipelines.Run:
				kinds = append(kinds, "run "+string(o.Network))
			case pipelines.Configure:
				kinds = append(kinds, "configure "+o.Labels[common.LabelCA])
			}
		}
		if got := strings.Join(kinds, "; "); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

// Options that make no sense, with the line that has them.
func TestOptions(t *testing.T) {
	for _, c := range []struct {
		o    alpine.Options
		says string
	}{
		{alpine.Options{}, "has no release"},
		{alpine.Options{Release: "v3.24"}, `does not know the release "v3.24"`},
		{alpine.Options{Release: "3.24.1"}, "without the third number"},
		{alpine.Options{Release: "3.24", Source: "iso"}, `does not know the source "iso"`},
		{alpine.Options{Release: "3.24", Image: "x"}, "has an Image, but is made from packages"},
		{alpine.Options{Release: "3.24", Source: common.FromImage, Exclude: []string{"a"}}, "has Exclude, but starts from an image"},
		{alpine.Options{Release: "3.24", Components: []string{"universe"}}, `has the component "universe"`},
		{alpine.Options{Release: "3.24", Components: []string{"main", "testing"}}, "which only edge has"},
		{alpine.Options{Release: "3.24", Exclude: []string{"busybox"}}, "excludes busybox, which it includes"},
		{alpine.Options{Release: "3.24", Include: []string{"git=2"}}, `names the package "git=2"`},
		{alpine.Options{Release: "3.24", Languages: "some"}, "does not know the language configuration"},
	} {
		_, err := alpine.New(c.o)(site.Public(), amd64).Graph()
		var e *pipelines.InvalidError
		if !errors.As(err, &e) || !strings.Contains(err.Error()+e.Hint(), c.says) || !strings.Contains(err.Error(), "alpine_test.go:") {
			t.Errorf("%+v: %v", c.o, err)
		}
	}
}

// Several keys in one text, each under its name.
func TestKeys(t *testing.T) {
	s := lab()
	pem := func(fill string) string {
		return "-----BEGIN PUBLIC KEY-----\n" + fill + "\n-----END PUBLIC KEY-----\n"
	}
	s.Keyrings["alpine"] = site.Keyring{Name: "first.rsa.pub", Keys: []byte(pem("AAAA") + "# second@lab-2.rsa.pub\n" + pem("BBBB") + pem("CCCC"))}
	var got []string
	for _, f := range alpine.Files(alpine.Options{Release: "3.24"}, s) {
		if name, ok := strings.CutPrefix(f.Path, "/etc/apk/keys/"); ok {
			got = append(got, name+" "+strings.Split(string(f.Data), "\n")[1])
		}
	}
	if want := "first.rsa.pub AAAA, second@lab-2.rsa.pub BBBB, site-3.rsa.pub CCCC"; strings.Join(got, ", ") != want {
		t.Errorf("got %s, want %s", strings.Join(got, ", "), want)
	}
}

func TestTargets(t *testing.T) {
	names := map[string]string{}
	for _, target := range alpine.Targets(site.Public()) {
		if len(target.Tests) < 10 || target.EndOfLife == "" {
			t.Errorf("%s: %d tests, end %q", target.Name, len(target.Tests), target.EndOfLife)
		}
		for _, a := range target.Aliases {
			names[a] = target.Name
		}
	}
	for alias, want := range map[string]string{"alpine": "alpine3.24", "alpine3": "alpine3.24", "alpine-3.23": "alpine3.23", "alpine-upstream": "alpine3.24-upstream", "alpine-3.23-upstream": "alpine3.23-upstream"} {
		if names[alias] != want {
			t.Errorf("%s is %q, want %s", alias, names[alias], want)
		}
	}
}
