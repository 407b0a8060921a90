package archive_test

import (
	"bytes"
	"crypto"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cfbuild/cfbuild/bootstrap/deb/archive"
	"github.com/cfbuild/cfbuild/bootstrap/deb/archivetest"
	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/cfbuild/cfbuild/site"
)

func TestLoadAndFetch(t *testing.T) {
	w := newWorld(t)
	s, pkgs, err := w.load(w.good.URL)
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"alpha=1", "beta=1", "gamma=1"}; !slices.Equal(sortedNames(pkgs), want) {
		t.Errorf("packages %v", sortedNames(pkgs))
	}
	if r := s.Release; r.Codename != suite || !r.Date.Equal(now.Add(-time.Hour)) || !r.ByHash || !strings.HasPrefix(r.Digest, "sha256:") || !slices.Equal(r.Architectures, []string{"amd64"}) {
		t.Errorf("release %+v", r)
	}
	got, err := w.fetch(pkgs)
	if err != nil {
		t.Fatal(err)
	}
	w.whole(got, "1")
	if said := w.heard(); said != "" || len(w.parts()) != 0 {
		t.Errorf("said %q, left %v", said, w.parts())
	}
	// A second run asks once whether the release changed, and nothing else.
	w.good.Asked()
	statuses := 0
	w.good.Fault(func(rw http.ResponseWriter, r *http.Request) bool {
		if r.Header.Get("If-Modified-Since") != "" {
			statuses++
		}
		return false
	})
	if _, pkgs, err = w.load(w.good.URL); err != nil {
		t.Fatal(err)
	}
	if got, err = w.fetch(pkgs); err != nil {
		t.Fatal(err)
	}
	w.whole(got, "1")
	if asked := w.good.Asked(); !slices.Equal(asked, []string{"dists/test/InRelease"}) || statuses != 1 {
		t.Errorf("asked for %v, %d of them conditionally", asked, statuses)
	}
}

// bad are mirrors that are of no use, and what is said of them.
var bad = []struct {
	name  string
	make  func(w *world) string
	want  error
	words string
}{
	{"down", func(w *world) string { return archivetest.Down(w.t) }, nil, "refused"},
	{"hangs", func(w *world) string {
		m := archivetest.Serve(w.t, w.dir)
		m.Fault(only("", hang))
		return m.URL
	}, nil, "stalled"},
	// RFC 6761: names below .invalid never resolve.
	{"unresolvable", func(w *world) string { return "http://mirror.invalid/debian" }, nil, "mirror.invalid"},
	{"drips", func(w *world) string {
		m := archivetest.Serve(w.t, w.dir)
		m.Fault(only("", drip))
		return m.URL
	}, nil, "stalled"},
	{"short signature", func(w *world) string {
		return altered(w, func(data []byte) []byte {
			armor := bytes.Index(data, []byte("-----BEGIN PGP SIGNATURE"))
			lines := bytes.SplitAfter(data[armor:], []byte("\n"))
			cut := append(bytes.Join(lines[:3], nil), "-----END PGP SIGNATURE-----\n"...)
			return append(bytes.Clone(data[:armor]), cut...)
		})
	}, archive.ErrSignature, ""},
	{"not found", func(w *world) string { return archivetest.Serve(w.t, w.t.TempDir()).URL }, nil, "404"},
	{"overloaded", func(w *world) string {
		m := archivetest.Serve(w.t, w.dir)
		m.Fault(only("", status(503)))
		return m.URL
	}, nil, "503"},
	{"HTML", func(w *world) string {
		m := archivetest.Serve(w.t, w.dir)
		m.Fault(only("", body("<!DOCTYPE html><html>please log in</html>")))
		return m.URL
	}, archive.ErrNotRelease, "HTML"},
	{"truncated", func(w *world) string {
		return altered(w, func(data []byte) []byte { return data[:len(data)/2] })
	}, archive.ErrNotRelease, "end is missing"},
	{"text before", func(w *world) string {
		return altered(w, func(data []byte) []byte { return append([]byte("Origin: Evil\n\n"), data...) })
	}, archive.ErrNotRelease, "no signature"},
	{"text behind", func(w *world) string {
		return altered(w, func(data []byte) []byte { return append(data, "Origin: Evil\n"...) })
	}, archive.ErrNotRelease, "follows"},
	{"changed", func(w *world) string {
		return altered(w, func(data []byte) []byte {
			return []byte(strings.Replace(string(data), "Origin: Test", "Origin: Evil", 1))
		})
	}, archive.ErrSignature, "bad"},
	{"another key", func(w *world) string {
		s := w.suite()
		s.Key = archivetest.NewKey(w.t, now.AddDate(0, -2, 0))
		return written(w, s)
	}, archive.ErrSignature, "not in the keyring"},
	{"key expired when it signed", func(w *world) string {
		s := w.suite()
		s.Key = archivetest.NewKey(w.t, now.AddDate(-3, 0, 0))
		w.keys.Keys = append(w.keys.Keys, s.Key.Public(w.t)...)
		return written(w, s)
	}, archive.ErrSignature, "expired"},
	{"expired", func(w *world) string {
		s := w.suite()
		s.Date, s.ValidUntil = now.AddDate(0, 0, -9), now.AddDate(0, 0, -2)
		return written(w, s)
	}, archive.ErrExpired, "valid until"},
	{"another suite", func(w *world) string {
		s := w.suite()
		s.Codename, s.Dir = "other", suite
		return written(w, s)
	}, archive.ErrMismatch, "not of test"},
	{"from the future", func(w *world) string {
		s := w.suite()
		s.Date, s.ValidUntil = now.AddDate(0, 0, 3), now.AddDate(0, 0, 9)
		return written(w, s)
	}, nil, "not valid yet"},
}

// drip sends a byte now and then, so that a mere time-out between bytes never ends
// it.
func drip(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Length", "100000")
	for {
		if _, err := w.Write([]byte("x")); err != nil {
			return
		}
		w.(http.Flusher).Flush()
		select {
		case <-r.Context().Done():
			return
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// altered serves the good archive with another InRelease.
func altered(w *world, f func([]byte) []byte) string {
	data, err := os.ReadFile(filepath.Join(w.dir, "dists", suite, "InRelease"))
	if err != nil {
		w.t.Fatal(err)
	}
	m := archivetest.Serve(w.t, w.dir)
	m.Fault(only("/InRelease", body(string(f(data)))))
	return m.URL
}

func written(w *world, s archivetest.Suite) string {
	dir := w.t.TempDir()
	s.Write(w.t, dir)
	return archivetest.Serve(w.t, dir).URL
}

func TestBadMirrorCostsTimeOnly(t *testing.T) {
	for _, tt := range bad {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			url := tt.make(w)
			_, pkgs, err := w.load(url, w.good.URL)
			if err != nil {
				t.Fatalf("with a good second mirror: %v", err)
			}
			if said := w.heard(); !strings.Contains(said, url) || (!strings.Contains(said, tt.words) && !strings.Contains(said, "in time")) {
				t.Errorf("said %q, want %s and %q", said, url, tt.words)
			}
			got, err := w.fetch(pkgs)
			if err != nil {
				t.Fatal(err)
			}
			w.whole(got, "1")

			w.c.CacheDir = t.TempDir()
			_, _, err = w.load(url, archivetest.Down(t))
			var me *archive.MirrorsError
			if !errors.As(err, &me) || len(me.Faults) != 2 || !strings.Contains(err.Error(), tt.words) || !strings.Contains(err.Error(), "refused") || me.Hint() == "" {
				t.Errorf("with a dead second mirror: %v", err)
			}
			if tt.want != nil && !errors.Is(err, tt.want) {
				t.Errorf("error %v is not %v", err, tt.want)
			}
		})
	}
}

func TestFreshestWins(t *testing.T) {
	w := newWorld(t)
	newer := w.suite()
	newer.Date, newer.Packages = now.Add(-time.Minute), packages("2")
	fresh := written(w, newer)
	_, pkgs, err := w.load(w.good.URL, fresh)
	if err != nil {
		t.Fatal(err)
	}
	if sortedNames(pkgs)[0] != "alpha=2" {
		t.Errorf("got %v", sortedNames(pkgs))
	}
	if said := w.heard(); !strings.Contains(said, w.good.URL) || !strings.Contains(said, "stale") {
		t.Errorf("said %q", said)
	}
	got, err := w.fetch(pkgs)
	if err != nil {
		t.Fatal(err)
	}
	w.whole(got, "2")
	// What was seen is not forgotten, even if the mirror goes back.
	newer.Date, newer.Packages = now.Add(-2*time.Hour), packages("0")
	back := w.c.CacheDir
	w.c = w.client(back)
	dir := t.TempDir()
	one := w.suite()
	one.Write(t, dir)
	m := archivetest.Serve(t, dir)
	if _, _, err := w.load(m.URL); err != nil {
		t.Fatal(err)
	}
	newer.Write(t, dir)
	old, err := os.ReadFile(filepath.Join(dir, "dists", suite, "InRelease"))
	if err != nil {
		t.Fatal(err)
	}
	// A server that ignores conditions, or says that it did not change.
	m.Fault(only("/InRelease", body(string(old))))
	s, pkgs, err := w.load(m.URL)
	if err != nil || sortedNames(pkgs)[0] != "alpha=1" || !s.Release.Date.Equal(one.Date) {
		t.Errorf("got %v, %v", sortedNames(pkgs), err)
	}
	if said := w.heard(); !strings.Contains(said, "stale") {
		t.Errorf("said %q", said)
	}
}

func TestDetachedSignature(t *testing.T) {
	w := newWorld(t)
	s := w.suite()
	s.Detached = true
	_, pkgs, err := w.load(written(w, s))
	if err != nil || len(pkgs) != 3 {
		t.Errorf("%d packages, %v", len(pkgs), err)
	}
}

func TestOneGoodSignatureIsEnough(t *testing.T) {
	w := newWorld(t)
	stranger := archivetest.NewKey(t, now.AddDate(0, -2, 0))
	url := altered(w, func(data []byte) []byte {
		text := strings.Split(strings.SplitN(string(data), "\n\n", 2)[1], "-----BEGIN PGP SIGNATURE")[0]
		return archivetest.Inline(t, []byte(text), now.Add(-time.Hour), crypto.SHA256, stranger, w.key)
	})
	s, _, err := w.load(url)
	if err != nil {
		t.Fatal(err)
	}
	if got := s.Release.SignedBy; len(got) != 40 {
		t.Errorf("signed by %q", got)
	}
}

func TestKeyThatExpiredSince(t *testing.T) {
	w := newWorld(t)
	// Signed within the key's year, read after it: as archives and snapshots are.
	old := archivetest.NewKey(t, now.AddDate(-2, 0, 0))
	w.keys = old.Keyring(t)
	s := w.suite()
	s.Key, s.Date, s.ValidUntil = old, now.AddDate(-2, 1, 0), time.Time{}
	if _, _, err := w.load(written(w, s)); err != nil {
		t.Error(err)
	}
}

func TestAllowExpired(t *testing.T) {
	w := newWorld(t)
	s := w.suite()
	s.Date, s.ValidUntil = now.AddDate(0, 0, -9), now.AddDate(0, 0, -2)
	allowed := src
	allowed.AllowExpired = true
	if _, err := w.c.Open(t.Context(), allowed, []string{written(w, s)}, w.keys, now, nil); err != nil {
		t.Error(err)
	}
}

func TestOffline(t *testing.T) {
	w := newWorld(t)
	w.c.Offline = true
	if _, _, err := w.load(w.good.URL); !errors.Is(err, archive.ErrOffline) {
		t.Errorf("empty cache: %v", err)
	}
	w.c.Offline = false
	_, pkgs, err := w.load(w.good.URL)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.fetch(pkgs[:1]); err != nil {
		t.Fatal(err)
	}
	w.good.Asked()
	w.c.Offline = true
	_, pkgs, err = w.load(w.good.URL)
	if err != nil || len(pkgs) != 3 {
		t.Fatalf("%d packages, %v", len(pkgs), err)
	}
	if _, err := w.fetch(pkgs[:1]); err != nil {
		t.Error(err)
	}
	if _, err := w.fetch(pkgs); !errors.Is(err, archive.ErrOffline) {
		t.Errorf("package that is not there: %v", err)
	}
	if asked := w.good.Asked(); len(asked) != 0 {
		t.Errorf("asked for %v", asked)
	}
}

func TestBadSource(t *testing.T) {
	w := newWorld(t)
	for _, s := range []string{"", "/", "../x", "a/../b", "./", "a b", "stable/"} {
		_, err := w.c.Open(t.Context(), pipelines.PackageSource{Repository: "example", Suite: s}, []string{w.good.URL}, w.keys, now, nil)
		if !errors.Is(err, pipelines.ErrInvalid) {
			t.Errorf("suite %q: %v", s, err)
		}
	}
	if _, err := w.c.Open(t.Context(), src, nil, w.keys, now, nil); !errors.Is(err, pipelines.ErrInvalid) {
		t.Errorf("no mirror: %v", err)
	}
	for name, k := range map[string]site.Keyring{"none": {}, "garbage": {Keys: []byte("no key"), Replace: true}} {
		if _, err := w.c.Open(t.Context(), src, []string{w.good.URL}, k, now, nil); err == nil || !strings.Contains(err.Error(), "keyring") {
			t.Errorf("keyring %s: %v", name, err)
		}
	}
	s, err := w.c.Open(t.Context(), pipelines.PackageSource{Repository: "example", Suite: suite, Components: []string{"contrib"}}, []string{w.good.URL}, w.keys, now, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err = w.c.Packages(t.Context(), s, "amd64", nil); !errors.Is(err, archive.ErrNoComponent) {
		t.Errorf("component: %v", err)
	}
}

func TestArchitectures(t *testing.T) {
	for in, want := range map[string]string{
		"linux/amd64": "amd64", "linux/amd64/v3": "amd64", "linux/arm64": "arm64", "linux/arm64/v9": "arm64", "linux/arm/v7": "armhf",
		"linux/arm/v5": "armel", "linux/386": "i386", "linux/ppc64le": "ppc64el", "linux/mips64le": "mips64el", "linux/arm/v8": "armhf",
	} {
		p, err := pipelines.ParsePlatform(in)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := archive.Architecture(p); got != want || err != nil {
			t.Errorf("%s: %q, %v", in, got, err)
		}
	}
	if _, err := archive.Architecture(pipelines.Platform{OS: "linux", Architecture: "arm", Variant: "v6"}); !errors.Is(err, pipelines.ErrInvalid) {
		t.Errorf("v6: %v", err)
	}
	for _, deb := range []string{"amd64", "armhf", "mipsel", "s390x"} {
		p, ok := archive.Platform(deb)
		if back, err := archive.Architecture(p); !ok || back != deb || err != nil {
			t.Errorf("%s: %v, %q, %v", deb, p, back, err)
		}
	}
}

func TestHTTPForChecksCAs(t *testing.T) {
	if _, err := archive.HTTPFor(site.Site{CAs: []site.Certificate{{Name: "x", PEM: []byte("no")}}}); err == nil {
		t.Error("a CA that is none was accepted")
	}
	if _, err := archive.HTTPFor(site.Site{CAs: []site.Certificate{{Name: "x", PEM: []byte("no"), ImageOnly: true}}}); err != nil {
		t.Errorf("a CA that is for images alone was read: %v", err)
	}
}
