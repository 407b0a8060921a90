package oci

import (
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cfbuild/cfbuild/internal/registrytest"
	"github.com/cfbuild/cfbuild/publishers"
	"github.com/cfbuild/cfbuild/site"
)

const secret = "s3cret-that-must-not-appear"

func authFile(t testing.TB, host, user, password string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "auth.json")
	auth := base64.StdEncoding.EncodeToString([]byte(user + ":" + password))
	b, _ := json.Marshal(map[string]any{"auths": map[string]any{host: map[string]string{"auth": auth}}})
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestCredentials(t *testing.T) {
	layout := makeBundle(t, "gzip", 100, "linux/amd64", "linux/arm64")
	for name, opt := range map[string]registrytest.Option{
		"Basic": registrytest.Basic("robot", secret), "Bearer": registrytest.Token("robot", secret),
	} {
		t.Run(name, func(t *testing.T) {
			r := registrytest.Start(t, opt)
			value := func(password string) map[string]publishers.Credential {
				return map[string]publishers.Credential{r.Host(): {User: "robot", Password: password, From: "CI_REGISTRY_PASSWORD"}}
			}
			helper := t.TempDir()
			os.WriteFile(filepath.Join(helper, "docker-credential-cfbuildtest"), []byte("#!/bin/sh\ncat >/dev/null\n"+
				`echo '{"ServerURL":"x","Username":"robot","Secret":"`+secret+`"}'`+"\n"), 0o755)
			helperFile := filepath.Join(helper, "config.json")
			os.WriteFile(helperFile, []byte(fmt.Sprintf(`{"credHelpers":{%q:"cfbuildtest"}}`, r.Host())), 0o600)
			t.Setenv("PATH", helper+":"+os.Getenv("PATH"))
			broken := filepath.Join(helper, "broken.json")
			os.WriteFile(broken, []byte("{"), 0o600)
			for _, c := range []struct {
				name string
				set  func(*Options)
				hint string // empty: it works
			}{
				{"value", func(o *Options) { o.Credentials = value(secret) }, ""},
				{"auth file", func(o *Options) { o.AuthFile = authFile(t, r.Host(), "robot", secret) }, ""},
				{"helper", func(o *Options) { o.AuthFile = helperFile }, ""},
				{"a value wins over the file", func(o *Options) {
					o.Credentials, o.AuthFile = value(secret), authFile(t, r.Host(), "robot", "old")
				}, ""},
				{"wrong value", func(o *Options) { o.Credentials = value(secret + "x") }, "CI_REGISTRY_PASSWORD"},
				{"wrong file", func(o *Options) { o.AuthFile = authFile(t, r.Host(), "robot", secret+"x") }, "auth.json"},
				{"another registry's", func(o *Options) { o.AuthFile = authFile(t, "other.example.org", "robot", secret) }, "podman login " + r.Host()},
				{"broken file", func(o *Options) { o.AuthFile = broken }, "broken.json"},
			} {
				t.Run(c.name, func(t *testing.T) {
					o := fast(plain(r))
					c.set(&o)
					var ev eventLog
					r.Forget()
					_, err := New(o).Push(t.Context(), layout, "base", r.Host()+"/base", []string{"t"}, V2S2, ev.sink)
					if c.hint == "" {
						if err != nil {
							t.Fatal(err)
						}
						if q := r.Requests(); q[len(q)-1].Auth != name {
							t.Errorf("last request %+v", q[len(q)-1])
						}
						return
					}
					pe := publishError(t, err)
					if pe.Stage != "connect" || !strings.Contains(pe.Hint(), c.hint) {
						t.Errorf("stage %q, hint %q, error %v", pe.Stage, pe.Hint(), err)
					}
					if all := fmt.Sprintf("%v %+v %q %s", err, pe, pe.Hint(), ev.text()); strings.Contains(all, secret) {
						t.Errorf("the password is in %s", all)
					}
				})
			}
			t.Run("mount", func(t *testing.T) {
				o := fast(plain(r))
				o.Credentials, o.MountFrom = value(secret), []string{r.Host() + "/base"}
				r.Forget()
				if _, err := New(o).Push(t.Context(), layout, "base", r.Host()+"/copy", nil, V2S2, nil); err != nil {
					t.Fatal(err)
				}
				if n := r.Count("PATCH", "", ""); n != 0 {
					t.Errorf("%d blobs were sent that could be mounted", n)
				}
			})
		})
	}
}

func TestCredentialPrintsNoSecret(t *testing.T) {
	c := publishers.Credential{User: "robot", Password: secret}
	j, _ := json.Marshal(map[string]any{"c": c, "o": Options{Credentials: map[string]publishers.Credential{"h": c}}.Credentials})
	for _, s := range []string{fmt.Sprint(c), fmt.Sprintf("%+v %#v %q %s", c, c, c, &c), fmt.Sprintf("%+v", Options{Credentials: map[string]publishers.Credential{"h": c}}), string(j)} {
		if strings.Contains(s, secret) {
			t.Errorf("printed as %s", s)
		}
	}
}

func TestCredentialOfDockerHub(t *testing.T) {
	p := New(Options{Credentials: map[string]publishers.Credential{"index.docker.io": {User: "robot"}}})
	for ref, want := range map[string]bool{"debian": true, "docker.io/robot/x": true, "ghcr.io/robot/x": false} {
		repo, err := parseRepository(ref)
		if err != nil {
			t.Fatal(err)
		}
		if _, got := p.credential(repo); got != want {
			t.Errorf("%s: a credential was found: %v, want %v", ref, got, want)
		}
	}
}

func TestTLS(t *testing.T) {
	r := registrytest.Start(t, registrytest.TLS())
	layout := makeBundle(t, "gzip", 100, "linux/amd64")
	push := func(s site.Site) error {
		_, err := New(fast(s)).Push(t.Context(), layout, "base", r.Host()+"/base", []string{"t"}, V2S2, nil)
		return err
	}
	if err := push(site.Site{CAs: []site.Certificate{{Name: "test", PEM: r.CA()}}}); err != nil {
		t.Errorf("with the site's CA: %v", err)
	}
	if err := push(site.Site{CAs: []site.Certificate{{Name: "test", PEM: r.CA(), ImageOnly: true}}}); err == nil {
		t.Error("a CA that is for images alone was trusted")
	}
	if err := push(plain(r)); err != nil {
		t.Errorf("marked insecure: %v", err)
	}
	pe := publishError(t, push(site.Site{}))
	if pe.Stage != "connect" || !strings.Contains(pe.Hint(), "site's CAs") {
		t.Errorf("unknown authority: stage %q, hint %q, error %v", pe.Stage, pe.Hint(), pe)
	}
	// Another registry's leave to be insecure does not count.
	if err := push(site.Site{Registries: []site.Registry{{Prefix: "127.0.0.1", Insecure: true}, {Prefix: r.Host() + "/bas", Insecure: true}}}); err == nil {
		t.Error("pushed without verification to a registry the site does not mark insecure")
	}
	pe = publishError(t, push(site.Site{CAs: []site.Certificate{{Name: "bad", PEM: []byte("x")}}}))
	if !strings.Contains(pe.Error(), `"bad"`) {
		t.Errorf("bad CA: %v", pe)
	}
	h := registrytest.Start(t)
	_, err := New(fast(site.Site{})).Push(t.Context(), layout, "base", h.Host()+"/base", nil, V2S2, nil)
	if pe := publishError(t, err); !strings.Contains(pe.Hint(), "insecure = true") || len(h.Requests()) != 0 {
		t.Errorf("plain HTTP: hint %q, error %v, %d requests", pe.Hint(), err, len(h.Requests()))
	}
}

// The public roots stay trusted beside the site's CAs.
func TestRootsAreKept(t *testing.T) {
	ca := registrytest.Start(t, registrytest.TLS()).CA()
	repo, err := parseRepository("registry.example.org/x")
	if err != nil {
		t.Fatal(err)
	}
	sys, err := New(fast(site.Site{CAs: []site.Certificate{{Name: "own", PEM: ca}}})).system(repo, false)
	if err != nil {
		t.Fatal(err)
	}
	public, err := x509.SystemCertPool()
	if err != nil {
		t.Fatal(err)
	}
	if sys.BaseTLSConfig.RootCAs.Equal(public) {
		t.Error("the site's CA is not trusted")
	}
	public.AppendCertsFromPEM(ca)
	if !sys.BaseTLSConfig.RootCAs.Equal(public) {
		t.Error("the roots are not the public ones and the site's")
	}
	if sys, err := New(fast(site.Site{})).system(repo, false); err != nil || sys.BaseTLSConfig != nil {
		t.Errorf("without CAs the roots are %v, %v", sys.BaseTLSConfig, err)
	}
}
