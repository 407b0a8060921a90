package builderstest

import (
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cfbuild/cfbuild/builders"
	"github.com/cfbuild/cfbuild/internal/registrytest"
	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/cfbuild/cfbuild/site"
)

// outsideCache is a cache outside the machine, and how it is damaged.
type outsideCache struct {
	ref  builders.CacheRef
	site site.Site
	// spoil changes a byte of every layer of a cache in a directory.
	spoil func(t *testing.T)
}

func (c outsideCache) to(r *builders.Request) {
	r.Site.Registries, r.CacheTo = c.site.Registries, []builders.CacheRef{c.ref}
}

func (c outsideCache) from(r *builders.Request) {
	r.Site.Registries, r.CacheFrom = c.site.Registries, []builders.CacheRef{c.ref}
}

func outsideCaches(t *testing.T, s *suite) (map[string]outsideCache, *registrytest.Registry) {
	reg := registrytest.Start(t)
	dir := filepath.Join(t.TempDir(), "cache")
	keyed := func(r builders.CacheRef) builders.CacheRef { return r.Keyed("target", s.p, s.b.Name()) }
	return map[string]outsideCache{
		"local": {ref: keyed(builders.CacheRef{Type: builders.CacheLocal, Dir: dir}), spoil: func(t *testing.T) {
			check(t, filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
				if err != nil || d.IsDir() || filepath.Base(filepath.Dir(p)) != "sha256" {
					return err
				}
				b, err := os.ReadFile(p)
				if err != nil || len(b) < 20 || b[0] == '{' {
					return err
				}
				b[len(b)-9] ^= 1
				check(t, os.Remove(p)) // it may be the builder's own file too
				return os.WriteFile(p, b, 0o644)
			}))
		}},
		"registry": {ref: keyed(builders.CacheRef{Type: builders.CacheRegistry, Ref: reg.Host() + "/group/project/cache"}),
			site: site.Site{Registries: []site.Registry{{Prefix: reg.Host(), Insecure: true}}}},
	}, reg
}

// staged has a step that copies from another image, and steps with and without files.
func (s *suite) staged(last string) pipelines.Image {
	stage := s.image().Then(pipelines.Run{Shell: "mkdir /made; echo made > /made/file; chown 7:8 /made/file; rm -r /srv"})
	return s.image().Then(
		pipelines.Run{Shell: "echo $RANDOM > /etc/first; mkdir -p /data/sub; chmod 1777 /data; ln /etc/first /data/first"},
		pipelines.Run{Shell: "true"},
		pipelines.Copy{From: stage, Src: []string{"/made/"}, Dst: "/data/"},
		pipelines.Configure{Labels: map[string]string{"a": "b"}},
		pipelines.Run{Shell: "rm -r /srv /data/first; mkdir /srv; touch /srv/new"},
		pipelines.Run{Shell: last},
	)
}

var outsideCases = []testCase{
	{"results of steps travel", func(t *testing.T, s *suite) {
		caches, _ := outsideCaches(t, s)
		for name, c := range caches {
			t.Run(name, func(t *testing.T) {
				first := buildWith(t, s.open(t), s.staged("echo 1 > /end"), c.to)
				if first.Ran == 0 {
					t.Fatal("nothing ran in the first place")
				}
				// An empty machine: no step runs, and the random number is the same.
				b := s.open(t)
				second := buildWith(t, b, s.staged("echo 1 > /end"), c.from)
				second.sameAs(t, first, "from the cache, and as it was built")
				second.events.balanced(t)
				if second.Ran != 0 || second.Cached == 0 {
					t.Errorf("on an empty machine %d steps ran, %d were kept", second.Ran, second.Cached)
				}
				// One more step on top of what is only in the cache, and of what has come here.
				third := buildWith(t, s.open(t), s.staged("echo 2 > /end"), c.from)
				fourth := buildWith(t, b, s.staged("echo 2 > /end"), c.from)
				third.sameAs(t, fourth, "a step on top of what came from the cache")
				if third.Ran != 1 || fourth.Ran != 1 {
					t.Errorf("another last step: %d and %d steps ran, want 1", third.Ran, fourth.Ran)
				}
				third.content(t, "end", "2\n")
				third.want(t, "- data/first")
				third.events.balanced(t)
			})
		}
	}},
	{"bad caches cost no more than steps", func(t *testing.T, s *suite) {
		caches, reg := outsideCaches(t, s)
		img := s.image().Then(pipelines.Run{Shell: "echo 1 > /1"}, pipelines.Run{Shell: "echo 2 > /2"})
		want := buildWith(t, s.open(t), img)
		builds := func(t *testing.T, c outsideCache, warned bool) {
			t.Helper()
			got := buildWith(t, s.open(t), img, c.from)
			got.sameAs(t, want, "with a bad cache and without")
			if got.Ran != want.Ran {
				t.Errorf("%d steps ran, want %d", got.Ran, want.Ran)
			}
			said := false
			for _, e := range got.events.all() {
				said = said || e.Kind == pipelines.EventWarning && strings.Contains(e.Text, "cache")
			}
			if said != warned {
				t.Errorf("warned: %v, want %v", said, warned)
			}
		}
		for name, c := range caches {
			t.Run(name+" is not there", func(t *testing.T) { builds(t, c, false) })
		}
		for _, c := range caches {
			buildWith(t, s.open(t), img, c.to)
		}
		t.Run("local is corrupt", func(t *testing.T) {
			caches["local"].spoil(t)
			builds(t, caches["local"], true)
		})
		c := caches["registry"]
		for _, status := range []int{http.StatusUnauthorized, http.StatusForbidden, http.StatusInternalServerError} {
			t.Run("registry says "+http.StatusText(status), func(t *testing.T) {
				defer reg.Heal()
				reg.Fail(registrytest.Fault{Method: "GET", Path: "/manifests/", Status: status})
				builds(t, c, true)
			})
		}
		t.Run("registry lost the layers", func(t *testing.T) {
			defer reg.Heal()
			reg.Fail(registrytest.Fault{Method: "GET", Path: "/blobs/", Skip: 1, Status: http.StatusNotFound})
			builds(t, c, true)
		})
		t.Run("registry is down", func(t *testing.T) {
			reg.Close()
			builds(t, c, true)
			got := buildWith(t, s.open(t), img, c.to)
			got.sameAs(t, want, "with a cache that cannot be written and without")
		})
	}},
}
