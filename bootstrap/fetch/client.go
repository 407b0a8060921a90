package fetch

import (
	"slices"
	"strings"
	"time"

	"github.com/cfbuild/cfbuild/internal/httpx"
	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/cfbuild/cfbuild/site"
)

// Client fetches. It may be used by several goroutines at once, and several
// processes may share CacheDir. HTTP and CacheDir must be set; nothing is changed by
// its methods.
type Client struct {
	HTTP *httpx.Client
	// CacheDir holds metadata (dists/) and content-addressed files
	// (blobs/sha256/). It is created where missing.
	CacheDir string
	// Offline uses the cache only: metadata as it was last seen.
	Offline bool
	// Jobs is how many files are downloaded at once, default 8.
	Jobs int
	// Grace is how long the other mirrors are waited for once one has answered
	// well, default 1 s: the freshest answer wins.
	Grace time.Duration
}

// HTTPFor gives a client that trusts the site's CAs for building and uses its
// proxies. Keep one for a whole run: connections are reused.
func HTTPFor(s site.Site) (*httpx.Client, error) {
	o := httpx.Options{Proxy: httpx.Proxy(s.Proxy)}
	for _, ca := range s.BuildCAs() {
		o.CAs = append(o.CAs, ca.PEM)
	}
	return httpx.New(o)
}

// Join makes a URL of a base, without a trailing slash, and a relative path.
func Join(base, path string) string { return base + "/" + path }

// Bases cleans mirror URLs: no trailing slash, none empty, none twice.
func Bases(mirrors []string) []string {
	var out []string
	for _, m := range mirrors {
		if m = strings.TrimRight(m, "/"); m != "" && !slices.Contains(out, m) {
			out = append(out, m)
		}
	}
	return out
}

// MirrorsOf gives the base URLs of a source: its own, or the site's for its
// repository.
func MirrorsOf(src pipelines.PackageSource, st site.Site) []string {
	if len(src.Mirrors) > 0 {
		return src.Mirrors
	}
	return st.URLs(src.Repository)
}
