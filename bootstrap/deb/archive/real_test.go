package archive

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/cfbuild/cfbuild/internal/testneed"
	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/cfbuild/cfbuild/site"
)

// machine gives a site with the Debian mirrors that this machine's apt uses.
func machine(t testing.TB) site.Site {
	t.Helper()
	st := site.Site{Mirrors: map[string][]site.Mirror{}}
	data, _ := os.ReadFile("/etc/apt/sources.list.d/debian.sources")
	for line := range strings.Lines(string(data)) {
		if f := strings.Fields(line); len(f) == 2 && f[0] == "URIs:" {
			repo := "debian"
			if strings.Contains(f[1], "security") {
				repo = "debian-security"
			}
			st.Mirrors[repo] = append(st.Mirrors[repo], site.Mirror{URL: f[1]})
		}
	}
	if len(st.Mirrors["debian"]) == 0 || len(st.Mirrors["debian-security"]) == 0 {
		testneed.Skip(t, "needs Debian mirrors in /etc/apt/sources.list.d/debian.sources")
	}
	return st
}

func sources(suite string) []pipelines.PackageSource {
	return []pipelines.PackageSource{
		{Repository: "debian", Suite: suite},
		{Repository: "debian", Suite: suite + "-updates"},
		{Repository: "debian-security", Suite: suite + "-security"},
	}
}

func TestMachineMirror(t *testing.T) {
	st := machine(t)
	h, err := HTTPFor(st)
	if err != nil {
		t.Fatal(err)
	}
	c := &Client{HTTP: h, CacheDir: t.TempDir()}
	for _, suite := range []string{"bullseye", "bookworm", "trixie"} {
		for range 2 {
			start := time.Now()
			srcs := sources(suite)
			for i := range srcs {
				srcs[i].AllowExpired = true
			}
			suites, pkgs, err := c.Load(t.Context(), srcs, st, "amd64", time.Now(), func(e pipelines.Event) { t.Log(e.Text) })
			if err != nil {
				t.Fatal(err)
			}
			t.Log(suite, len(suites), len(pkgs), time.Since(start), suites[0].Release.SignedBy, suites[0].Release.Platforms())
		}
	}
}
