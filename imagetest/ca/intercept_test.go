package ca

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cfbuild/cfbuild/internal/testneed"
	"github.com/cfbuild/cfbuild/site"
)

// start starts an origin and an interceptor before it.
func start(t *testing.T, now time.Time) (*Authority, *Origin, *Interceptor) {
	t.Helper()
	a, err := NewAuthority(now)
	if err != nil {
		t.Fatal(err)
	}
	o, err := NewOrigin(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = o.Close() })
	i, err := Intercept(a, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = i.Close() })
	return a, o, i
}

func client(pool *x509.CertPool, change func(*http.Transport)) *http.Client {
	tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, DisableKeepAlives: true}
	if change != nil {
		change(tr)
	}
	return &http.Client{Transport: tr}
}

func get(c *http.Client, url string) (string, *http.Response, error) {
	r, err := c.Get(url)
	if err != nil {
		return "", nil, err
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	return string(b), r, err
}

func TestInterceptor(t *testing.T) {
	a, o, i := start(t, time.Now())
	trusting := client(a.pool(), nil)
	text, _, err := get(trusting, i.URL("one")+"/file")
	if err != nil || text != answer {
		t.Fatalf("%q, %v", text, err)
	}
	// By address, where no name is sent.
	if text, _, err := get(trusting, fmt.Sprintf("https://127.0.0.1:%d/two/file", i.Port)); err != nil || text != answer {
		t.Errorf("by address: %q, %v", text, err)
	}
	// As a proxy, for a host that resolves nowhere; the leaf is for that host.
	via := client(a.pool(), func(tr *http.Transport) {
		tr.Proxy = http.ProxyURL(&url.URL{Scheme: "http", Host: fmt.Sprintf("127.0.0.1:%d", i.Port)})
	})
	text, r, err := get(via, "https://mirror.example.org/three/file")
	if err != nil || text != answer {
		t.Fatalf("CONNECT: %q, %v", text, err)
	}
	if leaf := r.TLS.PeerCertificates[0]; leaf.VerifyHostname("mirror.example.org") != nil || leaf.IsCA || leaf.Issuer.String() != a.cert.Subject.String() {
		t.Errorf("leaf %s of %s", leaf.Subject, leaf.Issuer)
	}
	// Who does not trust the authority gets nothing, and nothing of it is read.
	for name, pool := range map[string]*x509.CertPool{"no authority": x509.NewCertPool(), "the origin's own": o.public.pool()} {
		var unknown x509.UnknownAuthorityError
		if _, _, err := get(client(pool, nil), i.URL("four")+"/file"); !errors.As(err, &unknown) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, r, err := get(trusting, i.URL("five")+"/nothing"); err != nil || r.StatusCode != http.StatusNotFound {
		t.Errorf("what is not there: %v, %v", r, err)
	}
	served := i.Served()
	for client, n := range map[string]int{"one": 1, "two": 1, "three": 1, "four": 0, "five": 1} {
		if served[client] != n {
			t.Errorf("%s: %d requests, want %d", client, served[client], n)
		}
	}
}

func TestInterceptorRefuses(t *testing.T) {
	a, _, i := start(t, time.Now())
	address := fmt.Sprintf("127.0.0.1:%d", i.Port)
	old := &tls.Config{RootCAs: a.pool(), ServerName: "localhost", MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}
	if c, err := tls.Dial("tcp", address, old); err == nil {
		c.Close()
		t.Error("TLS 1.1 is spoken")
	}
	// A plain request is not forwarded.
	r, err := http.Get("http://" + address + "/plain/file")
	if err != nil {
		t.Fatal(err)
	}
	r.Body.Close()
	if r.StatusCode != http.StatusBadRequest || i.Served()["plain"] != 0 {
		t.Errorf("plain HTTP: %s, %d requests", r.Status, i.Served()["plain"])
	}
	// A connection on which nothing comes does not keep it from ending.
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := i.Close(); err != nil {
		t.Error(err)
	}
	if c, err := net.Dial("tcp", address); err == nil {
		c.Close()
		t.Error("it listens after its end")
	}
}

// An authority that has expired is one that clients refuse, and that a site refuses.
func TestExpiredAuthority(t *testing.T) {
	a, _, i := start(t, time.Now().Add(-48*time.Hour))
	var invalid x509.CertificateInvalidError
	if _, _, err := get(client(a.pool(), nil), i.URL("x")+"/file"); !errors.As(err, &invalid) || invalid.Reason != x509.Expired {
		t.Errorf("Go's client: %v", err)
	}
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, a.PEM(), 0o644); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(testneed.Program(t, "openssl"), "s_client", "-verify_return_error", "-CAfile", file, "-connect", fmt.Sprintf("127.0.0.1:%d", i.Port), "-servername", "localhost").CombinedOutput()
	if err == nil || !strings.Contains(string(out), "expired") {
		t.Errorf("openssl: %v\n%s", err, out)
	}
	toml := filepath.Join(filepath.Dir(file), "site.toml")
	if err := os.WriteFile(toml, []byte("ca = [\"ca.pem\"]\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := site.Load(toml, site.LoadOptions{Getenv: func(string) string { return "" }, Now: time.Now(), Dir: filepath.Dir(file)}); err == nil || !strings.Contains(err.Error(), "expired") {
		t.Errorf("site: %v", err)
	}
}

// Authorities of two runs have nothing in common, and none signs another authority.
func TestAuthority(t *testing.T) {
	a, err := NewAuthority(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	b, err := NewAuthority(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if a.cert.Subject.String() == b.cert.Subject.String() || a.key.Equal(b.key) {
		t.Error("two authorities are alike")
	}
	if !a.cert.MaxPathLenZero || a.cert.NotAfter.Sub(time.Now()) > lifetime {
		t.Errorf("it is good for more than a day of leaves: %+v", a.cert)
	}
	for mode, want := range map[string][2]bool{ModeBoth: {}, ModeBuildOnly: {true, false}, ModeBaked: {false, true}} {
		if c := a.Certificate(mode); c.BuildOnly != want[0] || c.ImageOnly != want[1] {
			t.Errorf("%s: %+v", mode, c)
		}
	}
}

// What the origin has is what real clients take: git clones, curl gets every path.
func TestOrigin(t *testing.T) {
	a, o, i := start(t, time.Now())
	git := testneed.Program(t, "git")
	dir := t.TempDir()
	pem := filepath.Join(dir, "ca.pem")
	if err := os.WriteFile(pem, a.PEM(), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(git, "clone", i.URL("git")+"/git", filepath.Join(dir, "clone"))
	cmd.Env = append(os.Environ(), "GIT_SSL_CAINFO="+pem, "no_proxy=localhost")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if out, err := exec.Command(git, "-C", filepath.Join(dir, "clone"), "fsck", "--strict").CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
	if b, _ := os.ReadFile(filepath.Join(dir, "clone", "file")); string(b) != answer {
		t.Errorf("the clone holds %q", b)
	}
	c := client(a.pool(), nil)
	for path, says := range map[string]string{
		"npm/cfbuild-proof":          i.URL("c") + "/npm/cfbuild-proof.tgz",
		"simple/cfbuild-proof/":      "cfbuild_proof-1.0-py3-none-any.whl#sha256=",
		"conda/noarch/repodata.json": `"cfbuild-proof"`,
		"cran/src/contrib/PACKAGES":  "Package: cfbuildproof",
		"rpm/repodata/repomd.xml":    "repodata/primary.xml.gz",
		"apt/dists/proof/InRelease":  "BEGIN PGP SIGNED MESSAGE",
		"apk/x86_64/APKINDEX.tar.gz": "\x1f\x8b",
	} {
		if text, r, err := get(c, i.URL("c")+"/"+path); err != nil || r.StatusCode != 200 || !strings.Contains(text, says) {
			t.Errorf("%s: %v, %.100q", path, err, text)
		}
	}
	if !strings.Contains(string(o.Key), "PUBLIC KEY") || strings.Contains(string(o.Key), "PRIVATE") {
		t.Error("the key of the apt repository is not a public one")
	}
}
