package apk_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cfbuild/cfbuild/bootstrap/apk"
	"github.com/cfbuild/cfbuild/bootstrap/apk/resolve"
	"github.com/cfbuild/cfbuild/bootstrap/fetch"
	"github.com/cfbuild/cfbuild/internal/httpx"
	"github.com/cfbuild/cfbuild/internal/testrepo/apkrepo"
	"github.com/cfbuild/cfbuild/pipelines"
)

// quick is a client that does not wait long.
func quick(t testing.TB) apk.Options {
	t.Helper()
	c, err := httpx.New(httpx.Options{Stall: 300 * time.Millisecond, Backoff: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.CloseIdle)
	return apk.Options{HTTP: c, Grace: 300 * time.Millisecond}
}

// tool is a repository with one package of a version.
func tool(key *apkrepo.Key, version string, date time.Time) apkrepo.Repo {
	return apkrepo.Repo{Key: key, Date: date, Pkgs: []apkrepo.Pkg{
		{Name: "tool", Version: version, Built: date.Add(-time.Hour), Files: []apkrepo.Entry{apkrepo.File("etc/tool", version+strings.Repeat(" data", 2000)+"\n")}},
	}}
}

func only(suffix string, f http.HandlerFunc) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasSuffix(r.URL.Path, suffix) {
			return false
		}
		f(w, r)
		return true
	}
}

const indexName = "APKINDEX.tar.gz"

// What a first mirror can do wrong, and the second one makes good.
func TestMirrorFaults(t *testing.T) {
	key := apkrepo.NewKey(t, "test.rsa.pub")
	whole := func(t *testing.T, m *apkrepo.Mirror, r *http.Request) []byte {
		b, err := os.ReadFile(filepath.Join(m.Dir, r.URL.Path))
		if err != nil {
			t.Error(err)
		}
		return b
	}
	for _, c := range []struct {
		name string
		// bad gives the URL of the first mirror; nil: m with a fault.
		bad   func(t *testing.T, m *apkrepo.Mirror) string
		warns string
	}{
		{"refused", func(t *testing.T, m *apkrepo.Mirror) string { return apkrepo.Down(t) }, "connection refused"},
		{"unresolvable", func(t *testing.T, m *apkrepo.Mirror) string { return "http://mirror.invalid" }, "mirror.invalid"},
		{"hanging", func(t *testing.T, m *apkrepo.Mirror) string {
			m.Fault(func(w http.ResponseWriter, r *http.Request) bool { <-r.Context().Done(); return true })
			return m.URL
		}, ""},
		{"slow", func(t *testing.T, m *apkrepo.Mirror) string {
			m.Fault(func(w http.ResponseWriter, r *http.Request) bool {
				for _, b := range whole(t, m, r) {
					w.Write([]byte{b})
					w.(http.Flusher).Flush()
					select {
					case <-r.Context().Done():
						return true
					case <-time.After(20 * time.Millisecond):
					}
				}
				return true
			})
			return m.URL
		}, ""},
		{"404", func(t *testing.T, m *apkrepo.Mirror) string {
			m.Fault(func(w http.ResponseWriter, r *http.Request) bool { http.NotFound(w, r); return true })
			return m.URL
		}, "404"},
		{"503", func(t *testing.T, m *apkrepo.Mirror) string {
			m.Fault(func(w http.ResponseWriter, r *http.Request) bool { http.Error(w, "", 503); return true })
			return m.URL
		}, "503"},
		{"truncated index", func(t *testing.T, m *apkrepo.Mirror) string {
			m.Fault(only(indexName, func(w http.ResponseWriter, r *http.Request) {
				b := whole(t, m, r)
				w.Header().Set("Content-Length", fmt.Sprint(len(b)))
				w.Write(b[:len(b)/2])
			}))
			return m.URL
		}, "ended after"},
		{"short index", func(t *testing.T, m *apkrepo.Mirror) string {
			m.Fault(only(indexName, func(w http.ResponseWriter, r *http.Request) { b := whole(t, m, r); w.Write(b[:len(b)-20]) }))
			return m.URL
		}, "signature"},
		{"short signature", func(t *testing.T, m *apkrepo.Mirror) string {
			m.Fault(only(indexName, func(w http.ResponseWriter, r *http.Request) { b := whole(t, m, r); w.Write(b[:100]) }))
			return m.URL
		}, "malformed"},
		{"HTML", func(t *testing.T, m *apkrepo.Mirror) string {
			m.Fault(func(w http.ResponseWriter, r *http.Request) bool {
				fmt.Fprint(w, "<html><body>log in</body></html>")
				return true
			})
			return m.URL
		}, "not signed metadata"},
		{"stale", func(t *testing.T, m *apkrepo.Mirror) string {
			dir := t.TempDir()
			tool(key, "1.0-r0", now.Add(-48*time.Hour)).Write(t, dir)
			return apkrepo.Serve(t, dir, "127.0.0.1").URL
		}, "stale"},
		{"version 3", func(t *testing.T, m *apkrepo.Mirror) string {
			m.Fault(only(indexName, func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "ADB.indx\x00\x00") }))
			return m.URL
		}, "format of apk-tools 3"},
		{"corrupt package", func(t *testing.T, m *apkrepo.Mirror) string {
			m.Fault(only(".apk", func(w http.ResponseWriter, r *http.Request) {
				b := bytes.Clone(whole(t, m, r))
				b[len(b)-30] ^= 1
				w.Write(b)
			}))
			return m.URL
		}, ""},
		{"truncated package", func(t *testing.T, m *apkrepo.Mirror) string {
			m.Fault(only(".apk", func(w http.ResponseWriter, r *http.Request) { b := whole(t, m, r); w.Write(b[:len(b)/2]) }))
			return m.URL
		}, ""},
		{"HTML package", func(t *testing.T, m *apkrepo.Mirror) string {
			m.Fault(only(".apk", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "<html>") }))
			return m.URL
		}, ""},
		{"package missing", func(t *testing.T, m *apkrepo.Mirror) string {
			m.Fault(only(".apk", http.NotFound))
			return m.URL
		}, ""},
		{"index before its packages", func(t *testing.T, m *apkrepo.Mirror) string {
			dir := t.TempDir()
			tool(key, "3.0-r0", now.Add(-time.Minute)).Write(t, dir)
			os.Remove(filepath.Join(dir, "v3.24/main/x86_64/tool-3.0-r0.apk"))
			return apkrepo.Serve(t, dir, "127.0.0.1").URL
		}, "older indexes are tried"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			tool(key, "2.0-r0", now.Add(-time.Hour)).Write(t, dir)
			good, bad := apkrepo.Serve(t, dir, "127.0.0.1"), apkrepo.Serve(t, dir, "127.0.0.1")
			r := request(t, key, []string{c.bad(t, bad), good.URL}, "tool")
			var log strings.Builder
			var mu sync.Mutex
			r.Events = func(e pipelines.Event) {
				mu.Lock()
				defer mu.Unlock()
				if e.Kind == pipelines.EventWarning {
					log.WriteString(e.Text + "\n")
				}
			}
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute) // bounded
			defer cancel()
			root, err := apk.New(quick(t)).Make(ctx, r)
			if err != nil {
				t.Fatal(err)
			}
			if root.Packages[0].Version != "2.0-r0" {
				t.Errorf("got %v", root.Packages)
			}
			mu.Lock()
			defer mu.Unlock()
			if !strings.Contains(log.String(), c.warns) {
				t.Errorf("no warning with %q: %s", c.warns, log.String())
			}
		})
	}
}

// tampered serves a repository with a change to one file.
func tampered(t *testing.T, key *apkrepo.Key, name string, change func([]byte) []byte) *apkrepo.Mirror {
	t.Helper()
	dir := t.TempDir()
	tool(key, "2.0-r0", now.Add(-time.Hour)).Write(t, dir)
	path := filepath.Join(dir, "v3.24/main/x86_64", name)
	b, err := os.ReadFile(path)
	if err == nil {
		err = os.WriteFile(path, change(b), 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
	return apkrepo.Serve(t, dir, "127.0.0.1")
}

// What is not what was signed is refused, with what is wrong and what to do.
func TestRefused(t *testing.T) {
	key, other := apkrepo.NewKey(t, "test.rsa.pub"), apkrepo.NewKey(t, "other-77.rsa.pub")
	sha256 := apkrepo.NewKey(t, "new.rsa.pub")
	sha256.SHA256 = true
	signed := tool(key, "2.0-r0", now.Add(-time.Hour))
	built := signed.Pkgs[0].Build(t, key)
	lies := signed.Pkgs[0]
	lies.Wrong = true
	wrong := lies.Build(t, key)
	flip := func(b []byte) []byte { b = bytes.Clone(b); b[len(b)-25] ^= 4; return b }
	hasIndex := func(r apkrepo.Repo, b apkrepo.Built) func([]byte) []byte {
		return func([]byte) []byte { return r.Index(t, []apkrepo.Built{b}) }
	}
	for _, c := range []struct {
		name, file string
		change     func([]byte) []byte
		is         error
		says, hint string
	}{
		{"index changed", indexName, flip, fetch.ErrSignature, "no good signature", "do not use this mirror"},
		{"index with another's signature", indexName, func(b []byte) []byte {
			other := tool(key, "9.0-r0", now).Index(t, []apkrepo.Built{built})
			return append(other[:len(other)-len(other)/2:len(other)-len(other)/2], b...)
		}, nil, "", ""},
		{"unknown key", indexName, hasIndex(apkrepo.Repo{Key: other}, built), fetch.ErrSignature, "signed with other-77.rsa.pub", "get other-77.rsa.pub from who runs it"},
		{"unsigned", indexName, hasIndex(apkrepo.Repo{}, built), fetch.ErrSignature, "it is not signed", "add that key to the site's keyrings"},
		{"no list in the index", indexName, func([]byte) []byte {
			m := apkrepo.Gzip(t, apkrepo.Tar(t, []apkrepo.Entry{apkrepo.File("DESCRIPTION", "x")}, false, true))
			return append(key.Sign(t, m), m...)
		}, fetch.ErrMalformed, "it holds no APKINDEX", "try again or name another mirror"},
		{"strange index", indexName, hasIndex(apkrepo.Repo{Key: key, Stanzas: "P:../../etc\nV:1\nC:" + "Q1AAAAAAAAAAAAAAAAAAAAAAAAAAA=\n"}, built), fetch.ErrMalformed, "is no package name", "name another mirror"},
		{"package changed", built.File, flip, fetch.ErrMismatch, "the hash of its data is not the one of its control part", "try again or name another mirror"},
		{"control part changed", built.File, func([]byte) []byte {
			control := bytes.Clone(built.Parts[1])
			control[4] ^= 1 // the time stamp of gzip: what unpacks is the same
			return bytes.Join([][]byte{built.Parts[0], control, built.Parts[2]}, nil)
		}, fetch.ErrMismatch, "the hash of its control part is not the one of the index", "name another mirror"},
		{"data of another package", built.File, func([]byte) []byte {
			p := signed.Pkgs[0]
			p.Files = []apkrepo.Entry{apkrepo.File("etc/tool", "2.0-r0"+strings.Repeat(" evil", 2000)+"\n")}
			return bytes.Join([][]byte{built.Parts[0], built.Parts[1], p.Build(t, key).Parts[2]}, nil)
		}, fetch.ErrMismatch, "", "name another mirror"},
		{"control part that lies", indexName, hasIndex(apkrepo.Repo{Key: key}, wrong), fetch.ErrMismatch, "", "name another mirror"},
		{"version 3 package", built.File, func(b []byte) []byte { return append([]byte("ADBd"), b[4:]...) }, fetch.ErrNotMetadata, "format of apk-tools 3", "version 2"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := tampered(t, key, c.file, c.change)
			_, err := apk.New(quick(t)).Make(context.Background(), request(t, key, []string{m.URL}, "tool"))
			if err == nil {
				t.Fatal("it was taken")
			}
			if c.is != nil && !errors.Is(err, c.is) || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), "bootstrap v3.24 for linux/amd64: ") {
				t.Errorf("got %v", err)
			}
			if h := hint(err); !strings.Contains(h, c.hint) {
				t.Errorf("hint %q", h)
			}
		})
	}
	// SHA-256 signatures are read too.
	dir := t.TempDir()
	tool(sha256, "2.0-r0", now).Write(t, dir)
	makeRoot(t, request(t, sha256, []string{apkrepo.Serve(t, dir, "127.0.0.1").URL}, "tool"))
}

func hint(err error) string {
	var h interface{ Hint() string }
	if errors.As(err, &h) {
		return h.Hint()
	}
	return ""
}

// All mirrors down: each with its reason.
func TestAllDown(t *testing.T) {
	key := apkrepo.NewKey(t, "test.rsa.pub")
	dir := t.TempDir()
	html, gone := apkrepo.Serve(t, dir, "127.0.0.1"), apkrepo.Serve(t, dir, "127.0.0.1")
	html.Fault(func(w http.ResponseWriter, r *http.Request) bool { fmt.Fprint(w, "<html>"); return true })
	gone.Fault(func(w http.ResponseWriter, r *http.Request) bool { http.Error(w, "", 503); return true })
	_, err := apk.New(quick(t)).Make(context.Background(), request(t, key, []string{apkrepo.Down(t), html.URL, gone.URL, "http://mirror.invalid"}, "tool"))
	var e *fetch.MirrorsError
	if !errors.As(err, &e) || len(e.Faults) != 4 {
		t.Fatalf("got %v", err)
	}
	for _, s := range []string{"index v3.24/main/x86_64: none of 4 mirrors has it", "connection refused", "not signed metadata", "503", "mirror.invalid"} {
		if !strings.Contains(err.Error(), s) {
			t.Errorf("the error lacks %q: %v", s, err)
		}
	}
}

// A branch, component or architecture that is not there: what there is.
func TestNotThere(t *testing.T) {
	key := apkrepo.NewKey(t, "test.rsa.pub")
	dir := t.TempDir()
	for _, branch := range []string{"v3.9", "v3.10", "v3.24", "edge"} {
		r := tool(key, "1.0-r0", now)
		r.Branch = branch
		r.Write(t, dir)
	}
	m := apkrepo.Serve(t, dir, "127.0.0.1")
	for _, c := range []struct {
		branch, comp string
		platform     pipelines.Platform
		says, hint   string
	}{
		{"v3.99", "main", amd64, "branch v3.99: no mirror has it; there is edge, v3.9, v3.10, v3.24", "use one of: "},
		{"v3.24", "contrib", amd64, "component contrib of v3.24: no mirror has it; there is main", "main"},
		{"v3.24", "main", arm64, "architecture aarch64 of v3.24/main: no mirror has it; there is x86_64", "x86_64"},
		{"../x", "main", amd64, "is no branch", ""},
	} {
		r := request(t, key, []string{apkrepo.Down(t), m.URL}, "tool")
		r.Op.Sources[0].Suite, r.Op.Sources[0].Components, r.Platform = c.branch, []string{c.comp}, c.platform
		_, err := apk.New(quick(t)).Make(context.Background(), r)
		if err == nil || !strings.Contains(err.Error(), c.says) || !strings.Contains(hint(err), c.hint) || !errors.Is(err, pipelines.ErrInvalid) {
			t.Errorf("%s %s: %v, hint %q", c.branch, c.comp, err, hint(err))
		}
	}
	r := request(t, key, []string{m.URL}, "toool")
	_, err := apk.New(quick(t)).Make(context.Background(), r)
	var missing *resolve.MissingError
	if !errors.As(err, &missing) || !errors.Is(err, pipelines.ErrInvalid) || hint(err) != "near it: tool" {
		t.Errorf("got %v", err)
	}
	for _, op := range []pipelines.Bootstrap{{}, {Sources: r.Op.Sources}, {Sources: r.Op.Sources, Include: []string{"a"}, Variant: "minbase"}} {
		r.Op = op
		if _, err := apk.New(quick(t)).Make(context.Background(), r); !errors.Is(err, pipelines.ErrInvalid) {
			t.Errorf("%+v: %v", op, err)
		}
	}
	r = request(t, key, nil, "tool")
	if _, err := apk.New(quick(t)).Make(context.Background(), r); !errors.Is(err, pipelines.ErrInvalid) || !strings.Contains(err.Error(), "has no mirror") {
		t.Errorf("got %v", err)
	}
	r = request(t, key, []string{m.URL}, "tool")
	r.Platform = pipelines.Platform{OS: "linux", Architecture: "mips64le"}
	if _, err := apk.New(quick(t)).Make(context.Background(), r); !errors.Is(err, pipelines.ErrInvalid) {
		t.Errorf("got %v", err)
	}
}
