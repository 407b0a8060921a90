package sitecheck

import (
	"cmp"
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/cfbuild/cfbuild/internal/httpx"
	"github.com/cfbuild/cfbuild/site"
)

// registryPlaces are where images of a prefix come from, in the order they are
// tried.
func registryPlaces(r site.Registry) []site.RegistryMirror {
	out := append([]site.RegistryMirror{}, r.Mirrors...)
	return append(out, site.RegistryMirror{Location: cmp.Or(r.Location, r.Prefix), Insecure: r.Insecure})
}

// registry asks for /v2/, which answers 200, or 401 where it wants a login (OCI
// distribution specification, "end-1").
func (c *checker) registry(ctx context.Context, insecure bool, m *Mirror) error {
	host, _, _ := strings.Cut(m.URL, "/")
	if host == "docker.io" {
		host = "registry-1.docker.io"
	}
	schemes := []string{"https"}
	if insecure {
		schemes = []string{"http", "https"}
	}
	var last error
	for _, scheme := range schemes {
		_, _, err := c.get(ctx, m, scheme+"://"+host+"/v2/", 1<<20)
		var he *httpx.Error
		errors.As(err, &he)
		switch {
		case err == nil:
			m.Answer = "answers"
			return nil
		case he != nil && he.Status == http.StatusUnauthorized:
			m.Answer = "answers, wants a login"
			return nil
		case he != nil && he.Status != 0 && (scheme == "https" || he.Status != http.StatusBadRequest): // 400: TLS is spoken there
			return findf("check the location: host[:port][/path] of a registry", "is no registry: /v2/ gives %d %s", he.Status, http.StatusText(he.Status))
		case he != nil && insecure && he.Kind == httpx.Untrusted:
			m.Reachable, m.Answer = true, "answers with a certificate that is not trusted, which insecure = true lets pass"
			return nil
		case strings.Contains(err.Error(), "server gave HTTP response to HTTPS client"):
			return findf("site file: insecure = true beside its location, if that is meant", "speaks plain HTTP")
		}
		last = cmp.Or(last, err)
	}
	return last
}

// proxies looks whether the proxies accept connections; what goes through them is
// seen by all the other probes.
func (c *checker) proxies(ctx context.Context) []Check {
	out := []Check{}
	for _, p := range []struct{ name, url string }{{"http", c.in.Site.Proxy.HTTP}, {"https", c.in.Site.Proxy.HTTPS}} {
		if p.url == "" {
			continue
		}
		raw := p.url
		if !strings.Contains(raw, "://") {
			raw = "http://" + raw
		}
		check := Check{Name: p.name, Status: OK}
		u, err := url.Parse(raw)
		if err != nil {
			check.Status, check.Text = Failed, "is not a URL"
			out = append(out, check)
			continue
		}
		host := u.Host
		if u.Port() == "" {
			host = net.JoinHostPort(u.Hostname(), map[string]string{"https": "443"}[u.Scheme])
			if u.Scheme != "https" {
				host = net.JoinHostPort(u.Hostname(), "80")
			}
		}
		d := net.Dialer{Timeout: c.in.Timeout / 4}
		conn, err := d.DialContext(ctx, "tcp", host)
		if err != nil {
			check.Status, check.Text = Failed, host+": "+err.Error()
			check.Fix = "mend [proxy] in the site file, or the *_proxy variables: nothing reaches the outside without it"
		} else {
			conn.Close()
			check.Text = host + " accepts connections"
		}
		out = append(out, check)
	}
	return out
}

// soon is how long before its end a certificate is warned about.
const soon = 30 * 24 * time.Hour

// authorities says how long each certificate authority is valid still.
func (c *checker) authorities() []Check {
	out := []Check{}
	now := c.in.Now()
	for _, ca := range c.in.Site.CAs {
		check := Check{Name: ca.Name, Status: OK}
		block, _ := pem.Decode(ca.PEM)
		if block == nil {
			continue // Load and Check refuse it
		}
		x, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			continue
		}
		left := x.NotAfter.Sub(now)
		days := int(left / (24 * time.Hour))
		check.DaysLeft = &days
		day := x.NotAfter.UTC().Format("2006-01-02")
		switch {
		case left < 0:
			check.Status, check.Text = Failed, fmt.Sprintf("%s expired on %s", x.Subject, day)
			check.Fix = "put the renewed certificate in its place"
		case left < soon:
			check.Status, check.Text = Warning, fmt.Sprintf("%s is valid for %d more days, until %s", x.Subject, days, day)
			check.Fix = "ask for the renewed certificate, and build the images that carry this one anew"
		default:
			check.Text = fmt.Sprintf("%s is valid for %d more days, until %s", x.Subject, days, day)
		}
		check.Text += "; mode " + ca.Mode()
		out = append(out, check)
	}
	return out
}
