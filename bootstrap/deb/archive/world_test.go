package archive_test

import (
	"bytes"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cfbuild/cfbuild/bootstrap/deb/archive"
	"github.com/cfbuild/cfbuild/bootstrap/deb/archivetest"
	"github.com/cfbuild/cfbuild/internal/httpx"
	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/cfbuild/cfbuild/site"
)

var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

const suite = "test"

var src = pipelines.PackageSource{Repository: "example", Suite: suite}

// world is a good archive, its mirror and a client.
type world struct {
	t    *testing.T
	key  *archivetest.Key
	keys site.Keyring
	dir  string // the archive
	good *archivetest.Mirror
	c    *archive.Client

	mu   sync.Mutex
	said []string
}

// packages with enough bytes to break in the middle of.
func packages(version string) []archivetest.Package {
	var out []archivetest.Package
	for _, n := range []string{"alpha", "beta", "gamma"} {
		out = append(out, archivetest.Package{Name: n, Version: version, Data: bytes.Repeat([]byte(n+version+" "), 60_000)})
	}
	return out
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, key: archivetest.NewKey(t, now.AddDate(0, -2, 0)), dir: t.TempDir()}
	w.keys = w.key.Keyring(t)
	w.suite().Write(t, w.dir)
	w.good = archivetest.Serve(t, w.dir)
	w.c = w.client(t.TempDir())
	return w
}

func (w *world) suite() archivetest.Suite {
	return archivetest.Suite{Codename: suite, Date: now.Add(-time.Hour), ValidUntil: now.AddDate(0, 0, 7), Packages: packages("1"), Key: w.key, ByHash: true}
}

func (w *world) client(cache string) *archive.Client {
	w.t.Helper()
	h, err := httpx.New(httpx.Options{Stall: 200 * time.Millisecond, Backoff: time.Millisecond, Attempts: 3})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(h.CloseIdle)
	return &archive.Client{HTTP: h, CacheDir: cache, Grace: 300 * time.Millisecond}
}

func (w *world) hear(e pipelines.Event) {
	if e.Kind == pipelines.EventWarning {
		w.mu.Lock()
		w.said = append(w.said, e.Text)
		w.mu.Unlock()
	}
}

func (w *world) heard() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := strings.Join(w.said, "\n")
	w.said = nil
	return s
}

func (w *world) load(mirrors ...string) (*archive.Suite, []*archive.Package, error) {
	w.t.Helper()
	st := site.Site{Mirrors: map[string][]site.Mirror{}, Keyrings: map[string]site.Keyring{"example": w.keys}}
	for _, m := range mirrors {
		st.Mirrors["example"] = append(st.Mirrors["example"], site.Mirror{URL: m})
	}
	suites, pkgs, err := w.c.Load(w.t.Context(), []pipelines.PackageSource{src}, st, "amd64", now, w.hear)
	if err != nil {
		return nil, nil, err
	}
	return suites[0], pkgs, nil
}

// fetch gives the files' contents by package name, and checks that each is whole.
func (w *world) fetch(pkgs []*archive.Package) (map[string]string, error) {
	var mu sync.Mutex
	got := map[string]string{}
	err := w.c.Fetch(w.t.Context(), pkgs, w.hear, func(p *archive.Package, path string) error {
		data, err := os.ReadFile(path)
		mu.Lock()
		got[p.Name] = string(data)
		mu.Unlock()
		return err
	})
	return got, err
}

// whole says that everything is there, in one version.
func (w *world) whole(got map[string]string, version string) {
	w.t.Helper()
	for _, p := range packages(version) {
		if got[p.Name] != string(p.Data) {
			w.t.Errorf("package %s: %d bytes, not those of the archive", p.Name, len(got[p.Name]))
		}
	}
}

// only answers requests whose path ends in suffix.
func only(suffix string, f http.HandlerFunc) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasSuffix(r.URL.Path, suffix) {
			return false
		}
		f(w, r)
		return true
	}
}

func status(n int) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(n) }
}

func body(s string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) { w.Write([]byte(s)) }
}

func hang(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() }

func (w *world) parts() []string {
	w.t.Helper()
	files, _ := filepath.Glob(filepath.Join(w.c.CacheDir, "blobs", "sha256", "*.part"))
	return files
}

func sortedNames(pkgs []*archive.Package) []string {
	var out []string
	for _, p := range pkgs {
		out = append(out, p.String())
	}
	slices.Sort(out)
	return out
}
