package rpm_test

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cfbuild/cfbuild/internal/testrepo/rpmrepo"
	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/cfbuild/cfbuild/site"
)

// refuse breaks the connection off.
func refuse(w http.ResponseWriter, r *http.Request) bool { panic(http.ErrAbortHandler) }

// hang answers nothing until the client is tired of it.
func hang(w http.ResponseWriter, r *http.Request) bool { <-r.Context().Done(); return true }

func status(code int) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, r *http.Request) bool { http.Error(w, "no", code); return true }
}

// only applies a fault to paths that hold a part.
func only(part string, f func(http.ResponseWriter, *http.Request) bool) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, r *http.Request) bool {
		return strings.Contains(r.URL.Path, part) && f(w, r)
	}
}

// altered serves files with their content changed.
func altered(dir string, f func([]byte) []byte) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, r *http.Request) bool {
		b, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(r.URL.Path)))
		if err != nil {
			return false
		}
		w.Write(f(b))
		return true
	}
}

// TestMirrorFaults: with a bad mirror first and a good one second, the freshest
// signed content is taken, whatever the first one does.
func TestMirrorFaults(t *testing.T) {
	html := func(w http.ResponseWriter, r *http.Request) bool {
		io.WriteString(w, "<!DOCTYPE html><html><body>Please log in</body></html>")
		return true
	}
	short := func(n int) func([]byte) []byte { return func(b []byte) []byte { return b[:len(b)/n] } }
	for _, c := range []struct {
		name  string
		fault func(dir string) func(http.ResponseWriter, *http.Request) bool // nil: refused
		url   string
		warn  string // "" when the fault shows only at a package
	}{
		{name: "refused", url: "down", warn: "refused"},
		{name: "unresolvable", url: "http://mirror.invalid", warn: "mirror.invalid"},
		{name: "broken off", fault: func(string) func(http.ResponseWriter, *http.Request) bool { return refuse }, warn: "EOF"},
		{name: "hanging", fault: func(string) func(http.ResponseWriter, *http.Request) bool { return hang }, warn: "did not answer in time"},
		{name: "slow", fault: func(dir string) func(http.ResponseWriter, *http.Request) bool {
			return func(w http.ResponseWriter, r *http.Request) bool {
				for { // a byte now and then
					io.WriteString(w, "<")
					w.(http.Flusher).Flush()
					select {
					case <-r.Context().Done():
						return true
					case <-time.After(50 * time.Millisecond):
					}
				}
			}
		}, warn: "did not answer in time"},
		{name: "404", fault: func(string) func(http.ResponseWriter, *http.Request) bool { return status(404) }, warn: "404"},
		{name: "503", fault: func(string) func(http.ResponseWriter, *http.Request) bool { return status(503) }, warn: "503"},
		{name: "truncated", fault: func(dir string) func(http.ResponseWriter, *http.Request) bool {
			return only("repomd.xml", altered(dir, short(2)))
		}, warn: "not signed metadata"},
		{name: "HTML for everything", fault: func(string) func(http.ResponseWriter, *http.Request) bool { return html }, warn: "it is an HTML page"},
		{name: "HTML for the index", fault: func(string) func(http.ResponseWriter, *http.Request) bool { return only("primary", html) }},
		{name: "short signature", fault: func(dir string) func(http.ResponseWriter, *http.Request) bool {
			return only(".asc", altered(dir, short(3)))
		}, warn: "repomd.xml.asc"},
		{name: "HTML for the signature", fault: func(string) func(http.ResponseWriter, *http.Request) bool { return only(".asc", html) }, warn: "repomd.xml.asc"},
		{name: "package corrupt", fault: func(dir string) func(http.ResponseWriter, *http.Request) bool {
			return only("/Packages/", altered(dir, func(b []byte) []byte { b[len(b)/2] ^= 1; return b }))
		}},
		{name: "package truncated", fault: func(dir string) func(http.ResponseWriter, *http.Request) bool {
			return only("/Packages/", altered(dir, short(2)))
		}},
		{name: "package is HTML", fault: func(string) func(http.ResponseWriter, *http.Request) bool { return only("/Packages/", html) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newSmall(t)
			bad := c.url
			switch {
			case bad == "down":
				bad = rpmrepo.Down(t)
			case bad == "":
				m := rpmrepo.Serve(t, w.mirror.Dir)
				m.Fault(c.fault(m.Dir))
				bad = m.URL
			}
			w.req.Site.Mirrors["centos-stream"] = []site.Mirror{{URL: bad}, {URL: w.mirror.URL}}
			root, err := w.make(t)
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(names(root), "app-1-1") {
				t.Errorf("packages: %s", names(root))
			}
			if warnings := strings.Join(w.ev.texts(pipelines.EventWarning), "\n"); !strings.Contains(warnings, c.warn) {
				t.Errorf("warnings %q, want %q", warnings, c.warn)
			}
		})
	}
}

// TestStale: an older state is passed over though its signature is good.
func TestStale(t *testing.T) {
	w := newSmall(t)
	stale := rpmrepo.Serve(t, w.mirror.Dir)
	fresh := filepath.Join(t.TempDir(), "fresh")
	repo := filepath.Join(fresh, "9-stream/BaseOS/x86_64/os")
	list := append(tiny(w.key), rpmrepo.RPM{Name: "app", Version: "2", Key: w.key})
	rpmrepo.Write(t, repo, w.key, rpmrepo.Made.Add(24*time.Hour), list...)
	w.req.Site.Mirrors["centos-stream"] = []site.Mirror{{URL: stale.URL}, {URL: rpmrepo.Serve(t, fresh).URL}}
	root, err := w.make(t)
	if err != nil || !strings.Contains(names(root), "app-2-1") {
		t.Errorf("%s, %v", names(root), err)
	}
	if warnings := strings.Join(w.ev.texts(pipelines.EventWarning), "\n"); !strings.Contains(warnings, "stale: what it has is of 2026-03-01") {
		t.Errorf("warnings: %s", warnings)
	}
}

// TestOlderState: where no mirror has the newest state's index, an older one does.
func TestOlderState(t *testing.T) {
	w := newSmall(t)
	fresh := filepath.Join(t.TempDir(), "fresh")
	repo := filepath.Join(fresh, "9-stream/BaseOS/x86_64/os")
	rpmrepo.Write(t, repo, w.key, rpmrepo.Made.Add(24*time.Hour), append(tiny(w.key), rpmrepo.RPM{Name: "app", Version: "2", Key: w.key})...)
	half := rpmrepo.Serve(t, fresh)
	half.Fault(only("primary", status(404)))
	w.req.Site.Mirrors["centos-stream"] = []site.Mirror{{URL: half.URL}, {URL: w.mirror.URL}}
	root, err := w.make(t)
	if err != nil || !strings.Contains(names(root), "app-1-1") {
		t.Errorf("%s, %v", names(root), err)
	}
}

// TestAllDown: every mirror is named with its reason.
func TestAllDown(t *testing.T) {
	w := newSmall(t)
	down := rpmrepo.Down(t)
	html, gone := rpmrepo.Serve(t, t.TempDir()), rpmrepo.Serve(t, t.TempDir())
	html.Fault(func(w http.ResponseWriter, r *http.Request) bool { io.WriteString(w, "<html>"); return true })
	gone.Fault(status(404))
	w.req.Site.Mirrors["centos-stream"] = []site.Mirror{{URL: down}, {URL: html.URL}, {URL: gone.URL}}
	_, err := w.make(t)
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{"none of 3 mirrors has it", down + ": ", "refused", html.URL + ": not signed metadata: it is an HTML page", gone.URL + ": ", "404"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error lacks %q: %v", want, err)
		}
	}
}

// regzip replaces texts in a gzip file.
func regzip(t *testing.T, b []byte, pairs ...string) []byte {
	t.Helper()
	z, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	plain, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	strings.NewReplacer(pairs...).WriteString(w, string(plain))
	w.Close()
	return out.Bytes()
}

// fixRepomd makes repomd.xml fit a primary.xml.gz that was changed, and signs it.
func fixRepomd(t *testing.T, w *small) {
	t.Helper()
	files, _ := filepath.Glob(filepath.Join(w.dir, "repodata/*-primary.xml.gz"))
	data, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	old := strings.TrimSuffix(filepath.Base(files[0]), "-primary.xml.gz")
	rpmrepo.Edit(t, w.dir, "repodata/repomd.xml", func(b []byte) []byte {
		s := strings.Replace(string(b), `<checksum type="sha256">`+old, fmt.Sprintf(`<checksum type="sha256">%x`, sha256.Sum256(data)), 1)
		i := strings.Index(s, "<size>")
		j := strings.Index(s, "</size>")
		return []byte(s[:i] + fmt.Sprintf("<size>%d", len(data)) + s[j:])
	})
	rpmrepo.Sign(t, w.dir, w.key)
}
