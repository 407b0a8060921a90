// Package registries says how to talk to a registry at a site: its authorities, its
// proxies, whether it may be insecure, and a login. The machine's own
// registries.conf and registries.d decide nothing; its auth files may be read.
package registries

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/url"
	"strings"

	"github.com/cfbuild/cfbuild/site"
	"go.podman.io/image/v5/docker/reference"
	"go.podman.io/image/v5/types"
	"golang.org/x/net/http/httpproxy"
)

// nowhere is a directory that does not exist.
const nowhere = "/proc/none"

// System says how to talk to a registry of a site. authFile is a docker or podman
// auth file; empty: their usual places. auth, when not nil, wins over it.
func System(s site.Site, insecure bool, authFile string, auth *types.DockerAuthConfig) (*types.SystemContext, error) {
	sys := &types.SystemContext{
		SystemRegistriesConfPath:          "/dev/null",
		SystemRegistriesConfDirPath:       nowhere,
		RegistriesDirPath:                 nowhere,
		AuthFilePath:                      authFile,
		DockerAuthConfig:                  auth,
		DockerRegistryUserAgent:           "cfbuild",
		DockerDisableDestSchema1MIMETypes: true,
		DockerInsecureSkipTLSVerify:       types.NewOptionalBool(insecure),
	}
	if len(s.BuildCAs()) > 0 {
		roots, err := x509.SystemCertPool()
		if err != nil {
			roots = x509.NewCertPool()
		}
		for _, ca := range s.BuildCAs() {
			if !roots.AppendCertsFromPEM(ca.PEM) {
				return nil, fmt.Errorf("site: certificate authority %q: not a PEM certificate", ca.Name)
			}
		}
		sys.BaseTLSConfig = &tls.Config{RootCAs: roots}
	}
	if px := s.Proxy; px != (site.Proxy{}) {
		proxy := (&httpproxy.Config{HTTPProxy: px.HTTP, HTTPSProxy: px.HTTPS, NoProxy: px.No}).ProxyFunc()
		sys.DockerProxy = func(u *url.URL) (*url.URL, error) { return proxy(u) }
	}
	return sys, nil
}

// Credential finds what was given for a repository's registry, by host and with or
// without the port of https.
func Credential[C any](all map[string]C, repo reference.Named) (c C, ok bool) {
	host := reference.Domain(repo)
	names := []string{host, strings.TrimSuffix(host, ":443"), host + ":443"}
	if host == "docker.io" {
		names = append(names, "index.docker.io", "registry-1.docker.io")
	}
	for _, h := range names {
		if c, ok := all[h]; ok {
			return c, true
		}
	}
	return c, false
}

// Of finds the site's entry with the longest prefix of a repository.
func Of(s site.Site, repo string) (site.Registry, bool) {
	var best site.Registry
	found := false
	for _, r := range s.Registries {
		if under(repo, r.Prefix) && (!found || len(r.Prefix) > len(best.Prefix)) {
			best, found = r, true
		}
	}
	return best, found
}

// Insecure says whether the site allows plain HTTP or an unverified certificate
// for a repository, by its prefix, its location or that of a mirror.
func Insecure(s site.Site, repo string) bool {
	if r, ok := Of(s, repo); ok && r.Location == "" {
		return r.Insecure
	}
	for _, r := range s.Registries {
		if r.Insecure && r.Location != "" && under(repo, r.Location) {
			return true
		}
		for _, m := range r.Mirrors {
			if m.Insecure && under(repo, m.Location) {
				return true
			}
		}
	}
	return false
}

// under says whether a repository is prefix or below it, at whole components.
func under(repo, prefix string) bool {
	prefix = strings.TrimSuffix(prefix, "/")
	return prefix != "" && (repo == prefix || strings.HasPrefix(repo, prefix+"/"))
}
