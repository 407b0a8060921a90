package oci

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/url"
	"strings"

	"github.com/cfbuild/cfbuild/publishers"
	"github.com/cfbuild/cfbuild/site"
	"go.podman.io/image/v5/docker/reference"
	"go.podman.io/image/v5/pkg/docker/config"
	"go.podman.io/image/v5/types"
	"golang.org/x/net/http/httpproxy"
)

// nowhere is a directory that does not exist: the machine's own registries.conf
// and registries.d do not decide where images are published; the site does.
const nowhere = "/proc/none"

// system says how to talk to the registry of a repository.
func (p *Publisher) system(repo reference.Named, insecure bool) (*types.SystemContext, error) {
	sys := &types.SystemContext{
		SystemRegistriesConfPath:          "/dev/null",
		SystemRegistriesConfDirPath:       nowhere,
		RegistriesDirPath:                 nowhere,
		AuthFilePath:                      p.o.AuthFile,
		DockerRegistryUserAgent:           "cfbuild",
		DockerDisableDestSchema1MIMETypes: true,
		DockerInsecureSkipTLSVerify:       types.NewOptionalBool(insecure),
	}
	if len(p.o.Site.BuildCAs()) > 0 {
		roots, err := x509.SystemCertPool()
		if err != nil {
			roots = x509.NewCertPool()
		}
		for _, ca := range p.o.Site.BuildCAs() {
			if !roots.AppendCertsFromPEM(ca.PEM) {
				return nil, fmt.Errorf("site: certificate authority %q: not a PEM certificate", ca.Name)
			}
		}
		sys.BaseTLSConfig = &tls.Config{RootCAs: roots}
	}
	if px := p.o.Site.Proxy; px != (site.Proxy{}) {
		proxy := (&httpproxy.Config{HTTPProxy: px.HTTP, HTTPSProxy: px.HTTPS, NoProxy: px.No}).ProxyFunc()
		sys.DockerProxy = func(u *url.URL) (*url.URL, error) { return proxy(u) }
	}
	if c, ok := p.credential(repo); ok {
		sys.DockerAuthConfig = &types.DockerAuthConfig{Username: c.User, Password: c.Password}
	}
	return sys, nil
}

// credential finds the credential given as a value for a repository's registry.
func (p *Publisher) credential(repo reference.Named) (publishers.Credential, bool) {
	host := reference.Domain(repo)
	names := []string{host, strings.TrimSuffix(host, ":443"), host + ":443"}
	if host == "docker.io" {
		names = append(names, "index.docker.io", "registry-1.docker.io")
	}
	for _, h := range names {
		if c, ok := p.o.Credentials[h]; ok {
			return c, true
		}
	}
	return publishers.Credential{}, false
}

// loginHint says how to mend a refused login.
func (p *Publisher) loginHint(repo reference.Named, sys *types.SystemContext) string {
	host := reference.Domain(repo)
	if c, ok := p.credential(repo); ok {
		from := c.From
		if from == "" {
			from = "the given credentials"
		}
		return fmt.Sprintf("%s refused user %q (%s): check that it is current and may push to %s", host, c.User, from, reference.Path(repo))
	}
	where := "the usual auth files"
	if p.o.AuthFile != "" {
		where = p.o.AuthFile
	}
	auth, err := config.GetCredentialsForRef(sys, repo)
	switch {
	case err != nil:
		return fmt.Sprintf("the credentials for %s could not be read from %s: mend it, or log in again with \"podman login %s\"", host, where, host)
	case auth == (types.DockerAuthConfig{}):
		return fmt.Sprintf("no credentials for %s in %s: run \"podman login %s\" or \"docker login %s\", set REGISTRY_AUTH_FILE, or in a GitLab job CI_REGISTRY, CI_REGISTRY_USER and CI_REGISTRY_PASSWORD",
			host, where, host, host)
	}
	return fmt.Sprintf("%s refused the credentials in %s for %s: log in again with \"podman login %s\" as a user who may push there", host, where, reference.Path(repo), host)
}

// registryOf finds the site's entry with the longest prefix of a repository.
func registryOf(s site.Site, repo string) (site.Registry, bool) {
	var best site.Registry
	found := false
	for _, r := range s.Registries {
		if under(repo, r.Prefix) && (!found || len(r.Prefix) > len(best.Prefix)) {
			best, found = r, true
		}
	}
	return best, found
}

// insecure says whether the site allows plain HTTP or an unverified certificate
// for a repository, by its prefix, its location or that of a mirror.
func insecure(s site.Site, repo string) bool {
	if r, ok := registryOf(s, repo); ok && r.Location == "" {
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
