package sitecheck

import (
	"crypto/md5"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/cfbuild/cfbuild/bootstrap/deb/archivetest"
	"github.com/cfbuild/cfbuild/site"
)

// Each kind of index: whole, with its package gone, changed, and a web page.
func TestLanguageIndexes(t *testing.T) {
	data := noise(500)
	integrity := sha512.Sum512(data)
	kinds := map[string]struct {
		index, file string
		text        []byte
		pkg         string
	}{
		"pypi": {"/six/", "/files/six-1.whl", []byte(fmt.Sprintf(`<html><body><a href="../files/none.whl">none</a><a href="../files/six-1.whl#sha256=%x">six-1.whl</a></body></html>`, sha256.Sum256(data))), "six-1.whl"},
		"conda": {"/conda-forge/noarch/current_repodata.json", "/conda-forge/noarch/b-1.conda",
			[]byte(fmt.Sprintf(`{"packages":{"a-1.tar.bz2":{"sha256":"00","size":9999}},"packages.conda":{"b-1.conda":{"sha256":"%x","size":500}}}`, sha256.Sum256(data))), "b-1.conda"},
		"cran": {"/src/contrib/PACKAGES.gz", "/src/contrib/R6_2.5.tar.gz", gz([]byte(fmt.Sprintf("Package: A3\nVersion: 1\nMD5sum: 00\n\nPackage: R6\nVersion: 2.5\nMD5sum: %x\n", md5.Sum(data)))), "R6_2.5.tar.gz"},
		"cpan": {"/modules/02packages.details.txt.gz", "/authors/id/A/AB/ABC/Try-Tiny-1.tar.gz",
			gz([]byte("File: 02packages.details.txt\nLast-Updated: Tue, 09 Jun 2026 06:41:03 GMT\n\nA::B 1 A/AB/ABC/A-B-1.tar.gz\nTry::Tiny 1 A/AB/ABC/Try-Tiny-1.tar.gz\n")), "Try-Tiny-1.tar.gz"},
		"npm": {"/isarray", "/isarray/-/isarray-2.tgz", []byte(`{"dist-tags":{"latest":"2"},"versions":{"2":{"dist":{"tarball":"BASE/isarray/-/isarray-2.tgz","integrity":"sha512-` +
			base64.StdEncoding.EncodeToString(integrity[:]) + `"}}}}`), "isarray-2.tgz"},
	}
	for kind, k := range kinds {
		file := data
		if kind == "cpan" {
			file = gz(data)
		}
		check := func(name string, status Status, says string, files map[string][]byte) {
			t.Run(kind+", "+name, func(t *testing.T) {
				var base string
				srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					f, there := files[r.URL.Path]
					if !there {
						http.NotFound(w, r)
						return
					}
					io.WriteString(w, strings.ReplaceAll(string(f), "BASE", base))
				}))
				t.Cleanup(srv.Close)
				base = srv.URL
				r := runAll(t, Input{Site: site.Site{Indexes: map[string][]site.Mirror{kind: {{URL: base, BuildOnly: true}}}}})
				m := r.Indexes[0].Mirrors[0]
				if m.Status != status || !m.Reachable || !strings.Contains(m.text(), says) || !strings.Contains(m.text(), "build-only") {
					t.Errorf("%s: %s\n> %s", m.Status, m.text(), m.Fix)
				}
			})
		}
		check("whole", OK, k.pkg+" is right", map[string][]byte{k.index: k.text, k.file: file})
		check("package missing", Failed, "incomplete: ", map[string][]byte{k.index: k.text})
		check("package changed", Failed, "incomplete: ", map[string][]byte{k.index: k.text, k.file: []byte("other")})
		check("nothing", Failed, "404 Not Found", nil)
		if kind != "pypi" {
			check("web page", Failed, "web page", map[string][]byte{k.index: []byte("<!doctype html><p>log in")})
		} else {
			check("web page", Failed, "no page of a simple index", map[string][]byte{k.index: []byte("<!doctype html><p>log in")})
		}
	}
}

func TestRegistriesAndProxies(t *testing.T) {
	registry := func(code int) string {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/v2/" {
				code = http.StatusTeapot
			}
			w.WriteHeader(code)
		}))
		t.Cleanup(s.Close)
		return strings.TrimPrefix(s.URL, "http://")
	}
	secure := httptest.NewUnstartedServer(http.NotFoundHandler())
	secure.Config.ErrorLog = log.New(io.Discard, "", 0)
	secure.StartTLS()
	t.Cleanup(secure.Close)
	down := strings.TrimPrefix(archivetest.Down(t), "http://")
	proxy := registry(200)
	s := site.Site{
		Registries: []site.Registry{
			{Prefix: "docker.io", Location: registry(200), Insecure: true, Mirrors: []site.RegistryMirror{{Location: down, Insecure: true}, {Location: registry(401) + "/cache", Insecure: true}}},
			{Prefix: registry(200), Mirrors: []site.RegistryMirror{{Location: registry(404), Insecure: true}, {Location: strings.TrimPrefix(secure.URL, "https://")}}},
		},
		Proxy: site.Proxy{HTTP: "http://bob:hunter2@" + proxy, HTTPS: "http://bob:hunter2@" + down, No: "127.0.0.1"},
	}
	r := runAll(t, Input{Site: s})
	want := []struct {
		status Status
		says   string
	}{
		{Failed, "connection refused"}, {OK, "answers, wants a login"}, {OK, "answers"},
		{Failed, "is no registry: /v2/ gives 404 Not Found"}, {Failed, "signed by an authority that is not known here"}, {Failed, "speaks plain HTTP"},
	}
	var got []Mirror
	for _, g := range r.Registries {
		got = append(got, g.Mirrors...)
	}
	for i, w := range want {
		if got[i].Status != w.status || !strings.Contains(got[i].text(), w.says) {
			t.Errorf("%s: %s: %s, want %s: %s", got[i].URL, got[i].Status, got[i].text(), w.status, w.says)
		}
	}
	if !r.Registries[0].Usable || r.Registries[1].Usable {
		t.Errorf("usable: %v %v", r.Registries[0].Usable, r.Registries[1].Usable)
	}
	if len(r.Proxies) != 2 || r.Proxies[0].Status != OK || r.Proxies[1].Status != Failed {
		t.Errorf("proxies %+v", r.Proxies)
	}
	var text strings.Builder
	if err := r.Write(&text); err != nil || strings.Contains(text.String()+fmt.Sprint(r), "hunter2") {
		t.Errorf("%v\n%s", err, text.String())
	}
}
