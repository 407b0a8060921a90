// Package archivetest makes Debian archives to test against: signed ones on
// loopback with faults of every kind, and the mirrors that this machine uses.
package archivetest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cfbuild/cfbuild/internal/testneed"
	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/cfbuild/cfbuild/site"
)

// Machine gives a site with the Debian mirrors of this machine's apt sources
// ("debian" and "debian-security"), or skips the test.
func Machine(t testing.TB) site.Site {
	t.Helper()
	st := site.Site{Name: "machine", Mirrors: map[string][]site.Mirror{}}
	add := func(url string) {
		url = strings.TrimRight(url, "/")
		switch {
		case strings.HasSuffix(url, "/debian"):
			st.Mirrors["debian"] = append(st.Mirrors["debian"], site.Mirror{URL: url})
		case strings.HasSuffix(url, "/debian-security"):
			st.Mirrors["debian-security"] = append(st.Mirrors["debian-security"], site.Mirror{URL: url})
		}
	}
	files, _ := filepath.Glob("/etc/apt/sources.list.d/*.sources")
	for _, f := range files {
		data, _ := os.ReadFile(f)
		for line := range strings.Lines(string(data)) {
			if rest, ok := strings.CutPrefix(line, "URIs:"); ok {
				for _, url := range strings.Fields(rest) {
					add(url)
				}
			}
		}
	}
	files, _ = filepath.Glob("/etc/apt/sources.list.d/*.list")
	for _, f := range append(files, "/etc/apt/sources.list") {
		data, _ := os.ReadFile(f)
		for line := range strings.Lines(string(data)) {
			if w := strings.Fields(line); len(w) > 1 && w[0] == "deb" {
				for _, url := range w[1:] {
					add(url)
				}
			}
		}
	}
	if len(st.Mirrors["debian"]) == 0 || len(st.Mirrors["debian-security"]) == 0 {
		testneed.Skip(t, "needs mirrors of debian and debian-security in this machine's apt sources")
	}
	return st
}

// Debian gives the sources of a release: the suite, its updates and security.
// Old releases, whose metadata expire, are accepted.
func Debian(codename string) []pipelines.PackageSource {
	return []pipelines.PackageSource{
		{Repository: "debian", Suite: codename, AllowExpired: true},
		{Repository: "debian", Suite: codename + "-updates", AllowExpired: true},
		{Repository: "debian-security", Suite: codename + "-security", AllowExpired: true},
	}
}
