package site

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Check says whether a site made in code can be used: mirrors, indexes and
// registries are well formed, certificates parse, are authorities and, unless now is zero, are
// valid at now, under names that are safe and unique. Sites from [Load] pass. The
// error is an [InvalidError].
func (s Site) Check(now time.Time) error {
	fail := func(f *fault, format string, args ...any) error { return f.at("", 0, fmt.Sprintf(format, args...)) }
	for _, repo := range slices.Sorted(maps.Keys(s.Mirrors)) {
		if !repositoryRE.MatchString(repo) {
			return fail(&fault{"is not a repository name", "use lower-case letters, digits, '.', '+' and '-'"}, "repository %q", repo)
		}
		for i, m := range s.Mirrors[repo] {
			if bad := m.check(cleanMirror); bad != nil {
				return fail(bad, "mirrors.%s[%d]", repo, i)
			}
		}
	}
	for _, kind := range slices.Sorted(maps.Keys(s.Indexes)) {
		if !slices.Contains(IndexKinds(), kind) {
			return fail(&fault{"is not a kind of index", "kinds are " + strings.Join(IndexKinds(), ", ")}, "index %q", kind)
		}
		for i, m := range s.Indexes[kind] {
			if bad := m.check(func(u string) (string, *fault) { return cleanIndex(kind, u) }); bad != nil {
				return fail(bad, "indexes.%s[%d]", kind, i)
			}
		}
	}
	seen := map[string]int{}
	for i, c := range s.CAs {
		if c.Name != safeName(c.Name) {
			return fail(&fault{fmt.Sprintf("name %q is not a file name", c.Name), "use letters, digits, '.', '_' and '-'"}, "ca[%d]", i)
		}
		if first, twice := seen[strings.ToLower(c.Name)]; twice {
			return fail(&fault{fmt.Sprintf("name %q is that of ca[%d] too", c.Name, first), "give each authority its own name"}, "ca[%d]", i)
		}
		seen[strings.ToLower(c.Name)] = i
		if c.BuildOnly && c.ImageOnly {
			return fail(&fault{"is both BuildOnly and ImageOnly", "set neither: it is used for both then"}, "ca[%d] %s", i, c.Name)
		}
		all, bad := readPEM(c.PEM)
		if bad == nil && len(all) != 1 {
			bad = &fault{fmt.Sprintf("holds %d certificates", len(all)), "make one Certificate of each"}
		}
		if bad == nil {
			bad = all[0].judge(now)
		}
		if bad != nil {
			return fail(bad, "ca[%d] %s", i, c.Name)
		}
	}
	for _, repo := range slices.Sorted(maps.Keys(s.Keyrings)) {
		if len(s.Keyrings[repo].Keys) == 0 {
			return fail(&fault{"holds no key", ""}, "keyrings.%s", repo)
		}
		if holdsSecretKey(s.Keyrings[repo].Keys) {
			return fail(&fault{"holds a private key", "keep it to yourself, and give the public key"}, "keyrings.%s", repo)
		}
	}
	for i, r := range s.Registries {
		for _, l := range append([]string{r.Prefix}, locations(r)...) {
			if bad := checkLocation(l); bad != nil {
				return fail(bad, "registry[%d]", i)
			}
		}
	}
	for _, p := range []struct{ key, url string }{{"http", s.Proxy.HTTP}, {"https", s.Proxy.HTTPS}} {
		if p.url != "" {
			if bad := checkProxy(p.url); bad != nil {
				return fail(bad, "proxy.%s", p.key)
			}
		}
	}
	return nil
}

// check says why a mirror cannot be used, nil if it can.
func (m Mirror) check(clean func(string) (string, *fault)) *fault {
	if m.BuildOnly && m.ImageOnly {
		return &fault{"is both BuildOnly and ImageOnly", "set neither: it is used for both then"}
	}
	_, bad := clean(m.URL)
	return bad
}

func locations(r Registry) []string {
	var out []string
	if r.Location != "" {
		out = append(out, r.Location)
	}
	for _, m := range r.Mirrors {
		out = append(out, m.Location)
	}
	return out
}
