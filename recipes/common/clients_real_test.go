package common_test

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/cfbuild/cfbuild/internal/testneed"
	"github.com/cfbuild/cfbuild/recipes/common"
	"github.com/cfbuild/cfbuild/site"
)

// index is a language index on loopback. Each has another address: clients take
// two on one address for one.
type index struct {
	url string
	mu  sync.Mutex
	got []string
}

func serve(t *testing.T, address string, files map[string][]byte) *index {
	t.Helper()
	x := &index{}
	l, err := net.Listen("tcp", address+":0")
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		data, ok := files[r.URL.Path]
		if !ok {
			http.NotFound(w, r)
			return
		}
		if r.Method == http.MethodGet {
			x.mu.Lock()
			x.got = append(x.got, r.URL.Path)
			x.mu.Unlock()
		}
		if strings.HasSuffix(r.URL.Path, "/") {
			w.Header().Set("Content-Type", "text/html")
		}
		w.Write(data)
	}))
	s.Listener.Close()
	s.Listener = l
	s.Start()
	t.Cleanup(s.Close)
	x.url = s.URL
	return x
}

// served says whether a file whose path ends so was fetched.
func (x *index) served(suffix string) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, p := range x.got {
		if strings.HasSuffix(p, suffix) {
			return true
		}
	}
	return false
}

const refused = "http://127.0.0.3:9" // nothing listens on the discard port

// client is one language's package manager, asked to get the package "hello".
type client struct {
	kind, path string // of the site's index, and below the mirror's address
	file       string // the configuration that Languages writes
	files      map[string][]byte
	artifact   string // end of the path of the package
	get        func(t *testing.T, home, config string) (string, error)
	fallsBack  bool
}

func clients(t *testing.T) map[string]client {
	return map[string]client{
		"pip":  {"pypi", "/simple", "/etc/pip.conf", pypi(t), ".whl", pip, true},
		"R":    {"cran", "", "/etc/R/Rprofile.site", cran(t), "hello_1.0.tar.gz", r, true},
		"cpan": {"cpan", "", "/root/.cpan/CPAN/MyConfig.pm", cpan(t), "Hello-1.0.tar.gz", perl, true},
		"npm":  {"npm", "", "/etc/npmrc", npmRegistry(t), "/hello", npm, false},
	}
}

// What the files do, with the real clients: the site's index is preferred, and when
// it is down the public one is used, by those that can. docs/recipes.md has the
// same table.
func TestClientsPreferTheSiteAndFallBack(t *testing.T) {
	for name, c := range clients(t) {
		t.Run(name, func(t *testing.T) {
			near, public := serve(t, "127.0.0.1", c.files), serve(t, "127.0.0.2", c.files)
			run := func(first string) (string, error) {
				home := t.TempDir()
				s := site.Site{Indexes: map[string][]site.Mirror{c.kind: {{URL: first + c.path}, {URL: public.url + c.path}}}}
				at := paths
				at.Bundle = "" // this machine's own
				for _, f := range common.Languages(s, at) {
					if f.Path == c.file {
						config := filepath.Join(home, ".cpan/CPAN", path.Base(c.file))
						if err := os.MkdirAll(filepath.Dir(config), 0o755); err != nil {
							t.Fatal(err)
						}
						if err := os.WriteFile(config, f.Data, 0o644); err != nil {
							t.Fatal(err)
						}
						return c.get(t, home, config)
					}
				}
				t.Fatalf("no file %s", c.file)
				return "", nil
			}
			if out, err := run(near.url); err != nil || !near.served(c.artifact) || public.served(c.artifact) {
				t.Errorf("both up: %v; from the site %v, from the public one %v\n%s", err, near.served(c.artifact), public.served(c.artifact), out)
			}
			out, err := run(refused)
			if fell := err == nil && public.served(c.artifact); fell != c.fallsBack {
				t.Errorf("the first is down: %v; from the public one %v, want %v\n%s", err, public.served(c.artifact), c.fallsBack, out)
			}
		})
	}
}

func command(dir string, env []string, name string, args ...string) (string, error) {
	c := exec.Command(name, args...)
	c.Dir = dir
	c.Env = append([]string{"PATH=/usr/local/bin:/usr/bin:/bin", "HOME=" + dir, "LC_ALL=C.UTF-8", "no_proxy=*"}, env...)
	out, err := c.CombinedOutput()
	return string(out), err
}

func pip(t *testing.T, home, config string) (string, error) {
	testneed.Program(t, "/usr/bin/pip3")
	return command(home, []string{"PIP_CONFIG_FILE=" + config}, "/usr/bin/pip3", "download", "--no-cache-dir", "--no-deps", "hello")
}

func r(t *testing.T, home, config string) (string, error) {
	testneed.Program(t, "Rscript")
	out, err := command(home, []string{"R_PROFILE=" + config}, "Rscript", "-e", `install.packages("hello", lib = "."); stopifnot(library(hello, lib.loc = ".", logical.return = TRUE))`)
	return out, err
}

func perl(t *testing.T, home, _ string) (string, error) {
	testneed.Program(t, "make")
	env := []string{"PERL_MM_OPT=INSTALL_BASE=" + home + "/perl5", "PERL5LIB=" + home + "/perl5/lib/perl5"}
	out, err := command(home, env, "perl", "-MCPAN", "-e", `CPAN::Shell->install("Hello")`)
	if err != nil {
		return out, err
	}
	more, err := command(home, env, "perl", "-MHello", "-e", "print Hello->VERSION")
	return out + more, err
}

func npm(t *testing.T, home, config string) (string, error) {
	bin := testneed.Program(t, "npm")
	return command(home, []string{"npm_config_globalconfig=" + config, "npm_config_fetch_retries=0", "npm_config_userconfig=" + home + "/none"}, bin, "view", "hello", "version")
}

// pypi is a simple index (PEP 503) with one wheel (PEP 427).
func pypi(t *testing.T) map[string][]byte {
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for _, f := range [][2]string{
		{"hello.py", "text = 'hello'\n"},
		{"hello-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: hello\nVersion: 1.0\n"},
		{"hello-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"},
		{"hello-1.0.dist-info/RECORD", ""},
	} {
		w, err := z.Create(f[0])
		if err != nil {
			t.Fatal(err)
		}
		w.Write([]byte(f[1]))
	}
	z.Close()
	return map[string][]byte{
		"/simple/hello/": []byte(fmt.Sprintf("<!DOCTYPE html><html><body><a href=\"hello-1.0-py3-none-any.whl#sha256=%x\">hello-1.0-py3-none-any.whl</a></body></html>", sha256.Sum256(b.Bytes()))),
		"/simple/hello/hello-1.0-py3-none-any.whl": b.Bytes(),
	}
}

// cran is a repository with one source package (R documentation, ?available.packages).
func cran(t *testing.T) map[string][]byte {
	return map[string][]byte{
		"/src/contrib/PACKAGES": []byte("Package: hello\nVersion: 1.0\nLicense: GPL-3\nNeedsCompilation: no\n"),
		"/src/contrib/hello_1.0.tar.gz": tarball(t, "hello/", map[string]string{
			"DESCRIPTION": "Package: hello\nVersion: 1.0\nTitle: Test\nDescription: A test.\nLicense: GPL-3\nAuthor: A B\nMaintainer: A B <a@example.org>\nNeedsCompilation: no\nPackaged: 2026-01-01 00:00:00 UTC; x\n",
			"NAMESPACE":   "export(hello)\n",
			"R/hello.R":   "hello <- function() 'hello'\n",
		}),
	}
}

// cpan is a mirror with one distribution (perldoc CPAN, "The urllist parameter").
func cpan(t *testing.T) map[string][]byte {
	dist := tarball(t, "Hello-1.0/", map[string]string{
		"Makefile.PL":  "use ExtUtils::MakeMaker; WriteMakefile(NAME => 'Hello', VERSION_FROM => 'lib/Hello.pm');\n",
		"MANIFEST":     "Makefile.PL\nMANIFEST\nlib/Hello.pm\nt/a.t\n",
		"lib/Hello.pm": "package Hello;\nour $VERSION = '1.0';\n1;\n",
		"t/a.t":        "use Test::More tests => 1; use_ok('Hello');\n",
	})
	sums := fmt.Sprintf("$cksum = {\n  'Hello-1.0.tar.gz' => { 'sha256' => '%x', 'size' => %d, 'cpan_path' => 'T/TE/TEST' },\n};\n", sha256.Sum256(dist), len(dist))
	details := "File: 02packages.details.txt\nURL: http://www.cpan.org/modules/02packages.details.txt\nDescription: Package names\nColumns: package name, version, path\nIntended-For: Automated fetch routines\nWritten-By: test\nLine-Count: 1\nLast-Updated: Thu, 01 Jan 2026 00:00:00 GMT\n\nHello 1.0 T/TE/TEST/Hello-1.0.tar.gz\n"
	return map[string][]byte{
		"/authors/01mailrc.txt.gz":               gz([]byte("alias TEST \"A Test <test@example.org>\"\n")),
		"/modules/02packages.details.txt.gz":     gz([]byte(details)),
		"/modules/03modlist.data.gz":             gz([]byte("File: 03modlist.data\nDate: Thu, 01 Jan 2026 00:00:00 GMT\n\npackage CPAN::Modulelist;\nsub data { return {} }\n1;\n")),
		"/authors/id/T/TE/TEST/CHECKSUMS":        []byte(sums),
		"/authors/id/T/TE/TEST/Hello-1.0.tar.gz": dist,
	}
}

func npmRegistry(t *testing.T) map[string][]byte {
	return map[string][]byte{"/hello": []byte(`{"name":"hello","dist-tags":{"latest":"1.0.0"},"versions":{"1.0.0":{"name":"hello","version":"1.0.0","dist":{"tarball":"http://127.0.0.1/hello.tgz"}}}}`)}
}

func gz(b []byte) []byte {
	var z bytes.Buffer
	w := gzip.NewWriter(&z)
	w.Write(b)
	w.Close()
	return z.Bytes()
}

func tarball(t *testing.T, prefix string, files map[string]string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for name, data := range files {
		if err := w.WriteHeader(&tar.Header{Name: prefix + name, Mode: 0o644, Size: int64(len(data))}); err != nil {
			t.Fatal(err)
		}
		w.Write([]byte(data))
	}
	w.Close()
	return gz(b.Bytes())
}
