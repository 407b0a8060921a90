package dind

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/cfbuild/cfbuild/site"
)

// Paths in our container.
const (
	binDir    = "/usr/bin"
	configDir = "/etc/cfbuild-buildkitd"
	stateDir  = "/var/lib/buildkit"
	socket    = "unix:///run/buildkit/buildkitd.sock"
)

// settings are the files of a site in our container, by path from the root.
func settings(s site.Site) map[string][]byte {
	files := map[string][]byte{configDir[1:] + "/buildkitd.toml": toml(s)}
	if cas := s.BuildCAs(); len(cas) > 0 {
		files[configDir[1:]+"/ca/site.pem"] = site.Bundle(cas)
	}
	return files
}

// toml is buildkitd.toml (docs/buildkitd.toml.md of BuildKit). Its registries are hosts:
// what a site says of a path below one is not for it.
func toml(s site.Site) []byte {
	var b bytes.Buffer
	// The network of a step is the container's own, which is the daemon's: what the daemon
	// reaches, a step reaches.
	b.WriteString("insecure-entitlements = [\"network.host\"]\n")
	type registry struct {
		mirrors  []string
		insecure bool // plain HTTP or an unverified certificate: buildkitd tries both
	}
	all := map[string]registry{}
	plain := func(location string) {
		host, _, _ := strings.Cut(location, "/")
		r := all[host]
		r.insecure = true
		all[host] = r
	}
	for _, r := range s.Registries {
		if strings.Contains(r.Prefix, "/") || r.Prefix == "" {
			continue
		}
		e := all[r.Prefix]
		for _, m := range r.Mirrors {
			e.mirrors = append(e.mirrors, m.Location)
		}
		if r.Location != "" && r.Location != r.Prefix {
			e.mirrors = append(e.mirrors, r.Location)
		}
		all[r.Prefix] = e
		for _, m := range r.Mirrors {
			if m.Insecure {
				plain(m.Location)
			}
		}
		if r.Insecure {
			location := r.Location
			if location == "" {
				location = r.Prefix
			}
			plain(location)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		r := all[name]
		fmt.Fprintf(&b, "[registry.%q]\n", name)
		if len(r.mirrors) > 0 {
			quoted := make([]string, len(r.mirrors))
			for i, m := range r.mirrors {
				quoted[i] = fmt.Sprintf("%q", m)
			}
			fmt.Fprintf(&b, "  mirrors = [%s]\n", strings.Join(quoted, ", "))
		}
		// Said for all: what it does not know and takes for loopback it asks without TLS.
		fmt.Fprintf(&b, "  http = %v\n  insecure = %v\n", r.insecure, r.insecure)
	}
	return b.Bytes()
}

// env is the environment of our container.
func env(s site.Site) []string {
	out := []string{"PATH=" + binDir,
		// Go reads the usual bundle and, in these directories, all files.
		"SSL_CERT_DIR=/etc/ssl/certs:" + configDir + "/ca"}
	for _, v := range []struct{ name, value string }{{"HTTP_PROXY", s.Proxy.HTTP}, {"HTTPS_PROXY", s.Proxy.HTTPS}, {"NO_PROXY", s.Proxy.No}} {
		if v.value != "" {
			out = append(out, v.name+"="+v.value, strings.ToLower(v.name)+"="+v.value)
		}
	}
	return out
}
