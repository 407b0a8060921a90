package alpine_test

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cfbuild/cfbuild/internal/testneed"
	"github.com/cfbuild/cfbuild/internal/testrepo/apkrepo"
	"github.com/cfbuild/cfbuild/recipes/alpine"
	"github.com/cfbuild/cfbuild/site"
)

// What apk does in a finished image when the first mirror of its site is bad, by the
// files that the recipe writes: docs/site.md, "What apk survives", is this table. The
// apk is that of the image of Alpine that the run names; the table was written for 2.10.
func TestWhatApkSurvives(t *testing.T) {
	tool := apkrepo.NewApk(t)
	testneed.Root(t)
	key := apkrepo.NewKey(t, "lab-1.rsa.pub")
	date := time.Date(2026, 11, 29, 0, 0, 0, 0, time.UTC)
	repo := func(t *testing.T, version string) string {
		dir := t.TempDir()
		for _, c := range []string{"main", "community"} {
			r := apkrepo.Repo{Key: key, Date: date, Component: c}
			if c == "main" {
				r.Pkgs = []apkrepo.Pkg{{Name: "tool", Version: version, Files: []apkrepo.Entry{apkrepo.File("etc/tool", version+strings.Repeat(" data", 500))}}}
			}
			r.Write(t, dir)
		}
		return dir
	}
	file := func(m *apkrepo.Mirror, r *http.Request) []byte {
		b, err := os.ReadFile(filepath.Join(m.Dir, r.URL.Path))
		if err != nil {
			t.Error(err)
		}
		return b
	}
	all := func(f func(m *apkrepo.Mirror, w http.ResponseWriter, r *http.Request)) func(*testing.T, *apkrepo.Mirror) string {
		return func(t *testing.T, m *apkrepo.Mirror) string {
			m.Fault(func(w http.ResponseWriter, r *http.Request) bool { f(m, w, r); return true })
			return m.URL
		}
	}
	some := func(suffix string, f func(m *apkrepo.Mirror, w http.ResponseWriter, r *http.Request)) func(*testing.T, *apkrepo.Mirror) string {
		return func(t *testing.T, m *apkrepo.Mirror) string {
			m.Fault(func(w http.ResponseWriter, r *http.Request) bool {
				if !strings.HasSuffix(r.URL.Path, suffix) {
					return false
				}
				f(m, w, r)
				return true
			})
			return m.URL
		}
	}
	for _, c := range []struct {
		name string
		bad  func(*testing.T, *apkrepo.Mirror) string
		// update and add are the exit codes of apk update and apk add tool.
		update, add int
	}{
		{"refused", func(t *testing.T, m *apkrepo.Mirror) string { return apkrepo.Down(t) }, 2, 0},
		{"unresolvable", func(*testing.T, *apkrepo.Mirror) string { return "http://mirror.invalid" }, 2, 0},
		{"404", all(func(_ *apkrepo.Mirror, w http.ResponseWriter, r *http.Request) { http.NotFound(w, r) }), 2, 0},
		{"503", all(func(_ *apkrepo.Mirror, w http.ResponseWriter, r *http.Request) { http.Error(w, "", 503) }), 2, 0},
		{"HTML", all(func(_ *apkrepo.Mirror, w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "<html>") }), 2, 0},
		{"truncated index", some("APKINDEX.tar.gz", func(m *apkrepo.Mirror, w http.ResponseWriter, r *http.Request) {
			b := file(m, r)
			w.Header().Set("Content-Length", fmt.Sprint(len(b)))
			w.Write(b[:len(b)/2])
		}), 2, 0},
		{"index of another key", some("APKINDEX.tar.gz", func(_ *apkrepo.Mirror, w http.ResponseWriter, r *http.Request) {
			w.Write(apkrepo.Repo{Key: apkrepo.NewKey(t, "other.rsa.pub"), Date: date}.Index(t, nil))
		}), 2, 0},
		{"stale", func(t *testing.T, m *apkrepo.Mirror) string {
			return apkrepo.Serve(t, repo(t, "1.0-r0"), "127.0.0.1").URL
		}, 0, 0},
		// What remains: apk fetches a package from the first line whose index has it,
		// and from no other.
		{"package missing", some(".apk", func(_ *apkrepo.Mirror, w http.ResponseWriter, r *http.Request) { http.NotFound(w, r) }), 0, 1},
		{"package truncated", some(".apk", func(m *apkrepo.Mirror, w http.ResponseWriter, r *http.Request) { w.Write(file(m, r)[:300]) }), 0, 1},
		{"package corrupt", some(".apk", func(m *apkrepo.Mirror, w http.ResponseWriter, r *http.Request) {
			b := bytes.Clone(file(m, r))
			b[len(b)-30] ^= 1
			w.Write(b)
		}), 0, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := repo(t, "2.0-r0")
			// Another address for the good one: nothing of the bad one's sticks to it.
			bad, good := apkrepo.Serve(t, dir, "127.0.0.1"), apkrepo.Serve(t, dir, "127.0.0.2")
			s := site.Site{Keyrings: map[string]site.Keyring{"alpine": {Keys: key.Public(t), Name: key.Name}},
				Mirrors: map[string][]site.Mirror{"alpine": {{URL: c.bad(t, bad)}, {URL: good.URL}}}}
			root := t.TempDir()
			for _, f := range alpine.Files(alpine.Options{Release: "3.24"}, s) {
				put(t, filepath.Join(root, f.Path), string(f.Data))
			}
			if out, err := tool.Run("--root", root, "--initdb", "--arch", "x86_64", "add"); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			code := func(args ...string) (int, string) {
				out, err := tool.Run(append([]string{"--root", root, "--no-progress"}, args...)...)
				if exit, ok := err.(*exec.ExitError); ok {
					return exit.ExitCode(), out
				} else if err != nil {
					t.Fatal(err)
				}
				return 0, out
			}
			update := c.update
			if tool.Major("3") {
				update = min(update, 1)
			}
			if got, out := code("update"); got != update {
				t.Errorf("apk update: exit code %d, the table says %d\n%s", got, update, out)
			}
			got, out := code("add", "tool")
			if got != c.add {
				t.Errorf("apk add: exit code %d, the table says %d\n%s", got, c.add, out)
			}
			content, _ := os.ReadFile(filepath.Join(root, "etc/tool"))
			if fresh := strings.HasPrefix(string(content), "2.0-r0 "); fresh != (c.add == 0) {
				t.Errorf("installed: %.20q\n%s", content, out)
			}
			if c.add == 0 {
				return
			}
			// What mends it.
			if got, out := code("--repositories-file", "/dev/null", "-X", good.URL+"/v3.24/main", "add", "tool"); got != 0 {
				t.Errorf("with the good mirror named: exit code %d\n%s", got, out)
			}
		})
	}
}
