package archive

import (
	"context"
	"errors"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/cfbuild/cfbuild/bootstrap/fetch"
	"github.com/cfbuild/cfbuild/internal/httpx"
	"github.com/cfbuild/cfbuild/pipelines"
)

// maxListing bounds the page a mirror shows for a directory.
const maxListing = 1 << 20

// knownSuites are the releases each repository has, for mirrors that do not show
// what they hold.
func knownSuites() map[string][]string {
	return map[string][]string{
		"debian":                  {"bullseye", "bookworm", "trixie", "forky", "sid"},
		"debian-security":         {"bullseye-security", "bookworm-security", "trixie-security", "forky-security"},
		"debian-archive":          {"jessie", "stretch", "buster"},
		"debian-archive-security": {"jessie/updates", "stretch/updates", "buster/updates"},
		"ubuntu":                  {"bionic", "focal", "jammy", "noble", "resolute"},
		"ubuntu-ports":            {"bionic", "focal", "jammy", "noble", "resolute"},
		"ubuntu-old-releases":     {"cosmic", "disco", "eoan", "groovy", "hirsute", "impish", "kinetic", "lunar", "mantic", "oracular", "plucky"},
	}
}

// whatThereIs replaces the hint of an error that says no mirror has a suite by the
// suites there are: as a mirror lists them, or as this program knows them.
func (c *Client) whatThereIs(ctx context.Context, src pipelines.PackageSource, err error) {
	var e *MirrorsError
	if !errors.As(err, &e) || c.Offline {
		return
	}
	for _, f := range e.Faults {
		if !fetch.NotFound(f.Err) {
			continue
		}
		if there := c.listed(ctx, f.Mirror); len(there) > 0 {
			e.Missing = choice("there is", src.Suite, there) + " at " + httpx.Redact(f.Mirror) + "/dists"
			return
		}
	}
	known := knownSuites()
	base, _, _ := strings.Cut(src.Suite, "-")
	for _, repo := range slices.Sorted(maps.Keys(known)) {
		if repo != src.Repository && slices.ContainsFunc([]string{src.Suite, base}, func(s string) bool { return slices.Contains(known[repo], s) }) &&
			!slices.Contains(known[src.Repository], base) && !slices.Contains(known[src.Repository], src.Suite) {
			e.Missing = base + " is in the repository " + repo + "; " + missing
			return
		}
	}
	if there := known[src.Repository]; len(there) > 0 && !slices.Contains(there, src.Suite) {
		e.Missing = choice("the releases of "+src.Repository+" are", src.Suite, there) + "; " + missing
	}
}

// choice names the suites nearest to what was asked for, then all of them.
func choice(intro, suite string, there []string) string {
	text := intro + " " + strings.Join(there, ", ")
	if near := pipelines.Nearest(suite, there, 3); len(near) > 0 && near[0] != suite {
		text = "did you mean " + strings.Join(near, ", ") + "? " + text
	}
	return text
}

var (
	linkRE  = regexp.MustCompile(`(?i)href="(?:\./)?([a-z][a-z0-9.+_-]*)/?"`)
	extraRE = regexp.MustCompile(`-(updates|backports|backports-sloppy|proposed-updates|proposed)$`)
	aliasRE = regexp.MustCompile(`^(oldoldstable|oldstable|stable|testing|unstable|rc-buggy|devel|experimental|Debian[0-9.]*|Debian.*|README)`)
)

// listed are the suites in the page a mirror shows for dists/, sorted: names of
// releases, without their updates and aliases; nil where it shows none.
func (c *Client) listed(ctx context.Context, mirror string) []string {
	page, _, err := c.HTTP.ReadAll(ctx, httpx.Request{URL: fetch.Join(mirror, "dists/"), Limit: maxListing, Attempts: 1})
	if err != nil {
		return nil
	}
	var out []string
	for _, m := range linkRE.FindAllSubmatch(page, -1) {
		name := string(m[1])
		if !extraRE.MatchString(name) && !aliasRE.MatchString(name) && !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}
