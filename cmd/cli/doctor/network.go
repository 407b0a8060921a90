package doctor

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/cfbuild/cfbuild/site"
	"golang.org/x/net/http/httpproxy"
)

// suite is one suite of one repository, as a target asks for it.
type suite struct {
	repository, name string
	urls             []string
}

// needs walks the targets for this machine's platform and collects suites and
// registry hosts.
func (m *machine) needs() (suites []suite, registries []endpoint) {
	add := func(e endpoint) {
		if e.host != "" && !slices.Contains(registries, e) {
			registries = append(registries, e)
		}
	}
	for _, t := range m.Pipeline.Targets {
		p := pipelines.HostPlatform()
		if len(t.Platforms) > 0 && !slices.Contains(t.Platforms, p) {
			p = t.Platforms[0]
		}
		g, err := t.Build(p).Graph()
		if err != nil {
			continue // list and show tell
		}
		for _, n := range g.Nodes {
			switch o := n.Op.(type) {
			case pipelines.Bootstrap:
				for _, s := range o.Sources {
					urls := s.Mirrors
					if len(urls) == 0 {
						urls = m.Site.URLs(s.Repository)
					}
					if !slices.ContainsFunc(suites, func(x suite) bool { return x.repository == s.Repository && x.name == s.Suite }) {
						suites = append(suites, suite{s.Repository, s.Suite, urls})
					}
				}
			case pipelines.Pull:
				add(m.registryOf(o.Ref))
			}
		}
	}
	for _, r := range m.Site.Registries {
		location := r.Location
		if location == "" {
			location = r.Prefix
		}
		add(endpointOf(location, r.Insecure))
		for _, mirror := range r.Mirrors {
			add(endpointOf(mirror.Location, mirror.Insecure))
		}
	}
	add(endpointOf(m.Getenv("CI_REGISTRY"), false))
	return suites, registries
}

type endpoint struct {
	host     string
	insecure bool
}

func endpointOf(location string, insecure bool) endpoint {
	host, _, _ := strings.Cut(location, "/")
	if host == "docker.io" {
		host = "registry-1.docker.io"
	}
	return endpoint{host, insecure}
}

// registryOf gives the registry of a reference; unqualified means docker.io.
func (m *machine) registryOf(ref string) endpoint {
	host, _, ok := strings.Cut(ref, "/")
	if !ok || (!strings.ContainsAny(host, ".:") && host != "localhost") {
		host = "docker.io"
	}
	for _, r := range m.Site.Registries {
		if r.Prefix == host && r.Location != "" {
			return endpointOf(r.Location, r.Insecure)
		}
	}
	return endpointOf(host, false)
}

// network gives the checks of mirrors and registries, and one of what CAs they
// showed.
func (m *machine) network() []func(context.Context) []Check {
	suites, registries := m.needs()
	if len(suites) == 0 && len(registries) == 0 {
		return nil
	}
	w := &wire{m: m}
	var out []func(context.Context) []Check
	var pending sync.WaitGroup
	for _, s := range suites {
		pending.Add(1)
		out = append(out, func(ctx context.Context) []Check {
			defer pending.Done()
			return []Check{w.suite(ctx, s)}
		})
	}
	for _, e := range registries {
		pending.Add(1)
		out = append(out, func(ctx context.Context) []Check {
			defer pending.Done()
			return []Check{w.registry(ctx, e)}
		})
	}
	return append(out, func(ctx context.Context) []Check {
		pending.Wait()
		return w.report()
	})
}

// wire remembers what was seen on connections.
type wire struct {
	m     *machine
	mu    sync.Mutex
	seen  []sighting
	skew  time.Duration
	dated bool
}

// client makes requests as the site says, and takes any certificate: what it is
// worth is judged apart, because a request that fails shows no issuer.
func (w *wire) client() *http.Client {
	get := func(name string) string { // both spellings, as programs take them
		if v := w.m.Getenv(name); v != "" {
			return v
		}
		return w.m.Getenv(strings.ToUpper(name))
	}
	proxy := &httpproxy.Config{HTTPProxy: get("http_proxy"), HTTPSProxy: get("https_proxy"), NoProxy: get("no_proxy")}
	if p := w.m.Site.Proxy; p != (site.Proxy{}) {
		proxy = &httpproxy.Config{HTTPProxy: p.HTTP, HTTPSProxy: p.HTTPS, NoProxy: p.No}
	}
	proxyFor := proxy.ProxyFunc()
	return &http.Client{
		Timeout: w.m.Timeout,
		Transport: &http.Transport{
			Proxy:             func(r *http.Request) (*url.URL, error) { return proxyFor(r.URL) },
			DialContext:       (&net.Dialer{Timeout: w.m.Timeout / 2}).DialContext,
			DisableKeepAlives: true,
			ForceAttemptHTTP2: true,
			TLSClientConfig: &tls.Config{InsecureSkipVerify: true, VerifyConnection: func(s tls.ConnectionState) error { //nolint:gosec // judged by saw
				w.saw(s)
				return nil
			}},
		},
	}
}

// ask makes one request and gives its status.
func (w *wire) ask(ctx context.Context, method, u string) (int, error) {
	req, err := http.NewRequestWithContext(ctx, method, u, nil)
	if err != nil {
		return 0, err
	}
	resp, err := w.client().Do(req)
	if err != nil {
		var ue *url.Error
		if errors.As(err, &ue) {
			err = ue.Err
		}
		return 0, err
	}
	resp.Body.Close()
	if t, err := http.ParseTime(resp.Header.Get("Date")); err == nil {
		w.mu.Lock()
		w.dated, w.skew = true, w.m.Now().Sub(t)
		w.mu.Unlock()
	}
	return resp.StatusCode, nil
}

// suite asks every mirror for its signed index.
func (w *wire) suite(ctx context.Context, s suite) Check {
	c := Check{Area: areaMirrors, Name: s.repository + " " + s.name, Status: Failed}
	if len(s.urls) == 0 {
		c.Text = fmt.Sprintf("site %s names no mirror of %s", w.m.Site.Name, s.repository)
		c.Fix = []string{fmt.Sprintf("site file: [mirrors] %s = [\"https://…\"]", s.repository)}
		return c
	}
	answers := make([]string, len(s.urls))
	good := make([]bool, len(s.urls))
	var wg sync.WaitGroup
	for i, base := range s.urls {
		wg.Go(func() {
			u := strings.TrimSuffix(base, "/") + "/dists/" + s.name + "/InRelease"
			switch code, err := w.ask(ctx, http.MethodHead, u); {
			case err != nil:
				answers[i] = fmt.Sprintf("%s: %v", redacted(base), err)
			case code == http.StatusOK:
				answers[i], good[i] = redacted(base)+": answers", true
			default:
				answers[i] = fmt.Sprintf("%s: %d %s", redacted(base), code, http.StatusText(code))
			}
		})
	}
	wg.Wait()
	c.Text = strings.Join(answers, "\n")
	switch n := slices.Index(good, true); {
	case !slices.Contains(good, false):
		c.Status = OK
	case n >= 0:
		c.Status = Warning
		c.Fix = []string{"the others are used; take the dead mirror out of the site file, or put it last"}
	default:
		c.Fix = []string{"name a site whose mirrors can be reached: --site host, or a site file with [mirrors]",
			"behind a proxy: set https_proxy, or [proxy] in the site file"}
	}
	return c
}

// redacted hides a password in a mirror's address.
func redacted(base string) string {
	u, err := url.Parse(base)
	if err != nil {
		return base
	}
	return u.Redacted()
}

// registry asks for /v2/, which answers 200 or 401 (distribution spec, "end-1").
func (w *wire) registry(ctx context.Context, e endpoint) Check {
	c := Check{Area: areaRegistry, Name: e.host, Status: OK}
	scheme := "https"
	if e.insecure {
		scheme = "http"
	}
	code, err := w.ask(ctx, http.MethodGet, scheme+"://"+e.host+"/v2/")
	switch {
	case err != nil && !e.insecure && strings.Contains(err.Error(), "server gave HTTP response to HTTPS client"):
		c.Status, c.Text = Failed, "speaks plain HTTP"
		c.Fix = []string{fmt.Sprintf("site file: [[registry]] prefix = %q, insecure = true", e.host)}
	case err != nil:
		c.Status, c.Text = Warning, err.Error()
		c.Fix = []string{"site file: [[registry]] with a mirror that can be reached"}
	case code == http.StatusOK:
		c.Text = "answers"
	case code == http.StatusUnauthorized:
		c.Text = "answers, wants a login"
	default:
		c.Status, c.Text = Warning, fmt.Sprintf("is no registry: /v2/ gives %d %s", code, http.StatusText(code))
	}
	return c
}
