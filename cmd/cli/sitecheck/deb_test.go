package sitecheck

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/pem"
	"io"
	"log"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/cfbuild/cfbuild/bootstrap/deb/archivetest"
	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/cfbuild/cfbuild/site"
)

// now is the clock of these tests.
var now = time.Date(2026, 6, 10, 12, 0, 0, 0, time.UTC)

// pipeline has one target that bootstraps from a repository, and an older one.
func pipeline(method, repository, suite string) pipelines.Pipeline {
	amd64 := pipelines.Platform{OS: "linux", Architecture: "amd64"}
	target := func(name, suite, eol string) pipelines.Target {
		return pipelines.Target{Name: name, EndOfLife: eol, Platforms: []pipelines.Platform{amd64}, Build: func(p pipelines.Platform) pipelines.Image {
			return pipelines.From(p, pipelines.Bootstrap{Method: method, Sources: []pipelines.PackageSource{{Repository: repository, Suite: suite}}})
		}}
	}
	return pipelines.Pipeline{Targets: []pipelines.Target{target("example9", "old", ""), target("example10", suite, ""), target("example11", "dead", "2026-01-01")}}
}

// run checks a site with one repository.
func run(t *testing.T, in Input) Group {
	t.Helper()
	r := runAll(t, in)
	if len(r.Repositories) != 1 {
		t.Fatalf("%d repositories", len(r.Repositories))
	}
	return r.Repositories[0]
}

func runAll(t *testing.T, in Input) Result {
	t.Helper()
	in.Now, in.TempDir = func() time.Time { return now }, t.TempDir()
	if in.Timeout == 0 {
		in.Timeout = 12 * time.Second // long, as machines can be busy: what hangs costs a quarter of it
	}
	r, err := Run(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := json.Marshal(r); err != nil {
		t.Error(err)
	}
	return r
}

func mirrors(repository string, keys site.Keyring, urls ...string) site.Site {
	s := site.Site{Mirrors: map[string][]site.Mirror{}, Keyrings: map[string]site.Keyring{repository: keys}}
	for _, u := range urls {
		s.Mirrors[repository] = append(s.Mirrors[repository], site.Mirror{URL: u})
	}
	return s
}

// noise is a package that does not compress.
func noise(n int) []byte {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{1})
	_, _ = r.Read(b)
	return b
}

// hang accepts connections and says nothing.
func hang(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { c.Close() })
		}
	}()
	return "http://" + l.Addr().String()
}

// Every fault a mirror of Debian's kind can have, beside one that has none.
func TestDebFaults(t *testing.T) {
	key, other := archivetest.NewKey(t, now.AddDate(0, -1, 0)), archivetest.NewKey(t, now.AddDate(0, -1, 0))
	small := archivetest.Package{Name: "small", Version: "1", Data: noise(100)}
	suite := archivetest.Suite{Codename: "new", Date: now.Add(-time.Hour), Key: key, Packages: []archivetest.Package{
		{Name: "large", Version: "2", Data: noise(5000)}, small}}
	write := func(s archivetest.Suite) *archivetest.Mirror {
		dir := t.TempDir()
		s.Write(t, dir)
		return archivetest.Serve(t, dir)
	}
	with := func(change func(*archivetest.Suite)) string {
		s := suite
		change(&s)
		return write(s).URL
	}
	faulty := func(f func(w http.ResponseWriter, r *http.Request) bool) string {
		m := write(suite)
		m.Fault(f)
		return m.URL
	}
	status := func(code int) string {
		return faulty(func(w http.ResponseWriter, r *http.Request) bool { http.Error(w, "no", code); return true })
	}
	on := func(part string, f func(w http.ResponseWriter)) string {
		return faulty(func(w http.ResponseWriter, r *http.Request) bool {
			if !strings.Contains(r.URL.Path, part) {
				return false
			}
			f(w)
			return true
		})
	}
	tls := httptest.NewUnstartedServer(http.NotFoundHandler())
	tls.Config.ErrorLog = log.New(io.Discard, "", 0)
	tls.StartTLS()
	t.Cleanup(tls.Close)
	good := write(suite).URL

	for _, c := range []struct {
		name, url  string
		status     Status
		reachable  bool
		says, hint string
	}{
		{"good", good, OK, true, "signed 2026-06-10 11:00 UTC; ", ""},
		{"down", archivetest.Down(t), Failed, false, "connection refused", "check the network"},
		{"unresolvable", "http://mirror.invalid/debian", Failed, false, "mirror.invalid does not resolve", "check the network"},
		{"hangs", hang(t), Failed, false, "takes the connection and then sends nothing", "check the network"},
		{"404", status(404), Failed, true, "404 Not Found", "check the URL in the site file"},
		{"503", status(503), Failed, true, "503 Service Unavailable", ""},
		{"403", status(403), Failed, true, "403 Forbidden", "does not let this machine in"},
		{"web page", faulty(func(w http.ResponseWriter, r *http.Request) bool {
			io.WriteString(w, "<!DOCTYPE html><html>log in</html>")
			return true
		}), Failed, true, "not a signed release file", "login page"},
		{"release cut off", on("InRelease", func(w http.ResponseWriter) { io.WriteString(w, "-----BEGIN PGP SIGNED MESSAGE-----\n") }), Failed, true, "not a signed release file", ""},
		{"index breaks off", on("Packages", func(w http.ResponseWriter) {
			w.Header().Set("Content-Length", "10000")
			io.WriteString(w, "abc")
		}), Failed, true, "incomplete: ", ""},
		{"index is another", on("Packages", func(w http.ResponseWriter) { io.WriteString(w, "abc") }), Failed, true, "incomplete: ", "being updated"},
		{"index drips", on("Packages", func(w http.ResponseWriter) {
			for range 200 {
				if _, err := io.WriteString(w, "a"); err != nil {
					return
				}
				w.(http.Flusher).Flush()
				time.Sleep(50 * time.Millisecond)
			}
		}), Warning, true, "slow: ", "behind the faster"},
		{"package missing", on("pool", func(w http.ResponseWriter) { w.WriteHeader(404) }), Failed, true, "incomplete: package small=1", ""},
		{"package changed", on("pool", func(w http.ResponseWriter) { w.Write(noise(101)[1:]) }), Failed, true, "incomplete: package small=1", "being updated"},
		{"stale", with(func(s *archivetest.Suite) { s.Date = now.AddDate(0, 0, -9) }), Warning, true, "stale: 8 days behind " + good, "synchronised"},
		{"a little behind", with(func(s *archivetest.Suite) { s.Date = now.Add(-5 * time.Hour) }), OK, true, "4 hours behind", ""},
		{"expired", with(func(s *archivetest.Suite) { s.Date, s.ValidUntil = now.AddDate(0, 0, -9), now.AddDate(0, 0, -2) }), Failed, true, "expired: it was valid until 2026-06-08", "up to date"},
		{"another key", with(func(s *archivetest.Suite) { s.Key = other }), Failed, true, "no good signature by a trusted key", "keyrings"},
		{"unknown authority", tls.URL, Failed, false, "signed by an authority that is not known here: O=Acme Co", `ca = ["FILE.pem"]`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			g := run(t, Input{Site: mirrors("example", key.Keyring(t), c.url, good), Pipeline: pipeline("deb", "example", "new")})
			if g.Kind != "deb" || g.Probed != "suite new, amd64" || g.Because != "target example10 uses it" || !g.Usable {
				t.Errorf("group %+v", g)
			}
			m := g.Mirrors[0]
			if m.Status != c.status || m.Reachable != c.reachable || !strings.Contains(m.text(), c.says) || !strings.Contains(m.Fix, c.hint) {
				t.Errorf("got %s, reachable %v: %s\n> %s\nwant %s, %v: %s\n> %s", m.Status, m.Reachable, m.text(), m.Fix, c.status, c.reachable, c.says, c.hint)
			}
			if ok := g.Mirrors[1]; ok.Status != OK || ok.Package != "small=1" || ok.BytesPerSecond == 0 || ok.Signature != "verified" {
				t.Errorf("the good mirror: %s %s", ok.Status, ok.text())
			}
		})
	}
}

// With the authority known, the same mirror is reached; the site's BuildCAs count,
// those that are only baked do not.
func TestAuthority(t *testing.T) {
	key := archivetest.NewKey(t, now.AddDate(0, -1, 0))
	dir := t.TempDir()
	archivetest.Suite{Codename: "new", Date: now, Key: key, Packages: []archivetest.Package{{Name: "a", Version: "1", Data: []byte("x")}}}.Write(t, dir)
	srv := httptest.NewUnstartedServer(http.FileServer(http.Dir(dir)))
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	srv.StartTLS()
	t.Cleanup(srv.Close)
	s := mirrors("example", key.Keyring(t), srv.URL)
	ca := site.Certificate{Name: "lab", PEM: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw})}
	for _, baked := range []bool{false, true} {
		ca.ImageOnly = baked
		s.CAs = []site.Certificate{ca}
		in := Input{Site: s, Pipeline: pipeline("deb", "example", "new")}
		if g := run(t, in); g.Usable == baked {
			t.Errorf("image only %v: %s", baked, g.Mirrors[0].text())
		}
		r := runAll(t, in)
		mode := map[bool]string{false: "both", true: "baked"}[baked]
		if len(r.CAs) != 1 || r.CAs[0].DaysLeft == nil || !strings.HasSuffix(r.CAs[0].Text, "mode "+mode) {
			t.Errorf("authorities %+v", r.CAs)
		}
	}
}

// A check that is interrupted ends at once and says so.
func TestInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	m := hang(t)
	time.AfterFunc(100*time.Millisecond, cancel)
	_, err := Run(ctx, Input{Site: mirrors("example", site.Keyring{}, m), Now: time.Now, TempDir: t.TempDir()})
	if err != context.Canceled {
		t.Errorf("got %v", err)
	}
}

// Of a repository that no recipe uses, only whether something answers is known.
func TestUnknownKind(t *testing.T) {
	g := run(t, Input{Site: mirrors("lab", site.Keyring{}, archivetest.Down(t), serve(t, nil))})
	if g.Kind != "" || g.Mirrors[0].Status != Failed || g.Mirrors[1].Status != OK || g.Mirrors[1].text() != "answers" {
		t.Errorf("%+v", g)
	}
}

func TestOnly(t *testing.T) {
	s := mirrors("example", site.Keyring{}, archivetest.Down(t))
	s.Mirrors["other"] = s.Mirrors["example"]
	s.Indexes = map[string][]site.Mirror{"pypi": s.Mirrors["example"]}
	r := runAll(t, Input{Site: s, Only: []string{"other", "ca"}})
	if len(r.Repositories) != 1 || r.Repositories[0].Name != "other" || len(r.Indexes) != 0 {
		t.Errorf("%+v", r)
	}
	var b bytes.Buffer
	if err := r.Write(&b); err != nil || !strings.Contains(b.String(), "0 of 1 can be used. Without a usable mirror: other.") {
		t.Errorf("%v\n%s", err, b.String())
	}
	_, err := Run(t.Context(), Input{Site: s, Only: []string{"pipi"}, Now: time.Now, TempDir: t.TempDir()})
	if e, is := err.(*UnknownError); !is || !strings.Contains(e.Hint(), "pypi") {
		t.Errorf("got %v", err)
	}
}

// The Debian mirrors of this machine, as site host has them.
func TestRealMirror(t *testing.T) {
	s := archivetest.Machine(t)
	in := Input{Site: s, Now: time.Now, TempDir: t.TempDir(), Timeout: time.Minute, Only: []string{"debian", "debian-security"}}
	r, err := Run(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range r.Repositories {
		for _, m := range g.Mirrors {
			if m.Status == Failed || m.Signature != "verified" || m.Date == nil || m.Status == OK && m.Package == "" {
				t.Errorf("%s: %s: %s", g.Name, m.Status, strings.ReplaceAll(m.text(), m.URL, "MIRROR"))
			}
		}
	}
	if usable, all := r.Usable(); usable != 2 || all != 2 {
		t.Errorf("%d of %d can be used", usable, all)
	}
}
