package lint

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/cfbuild/cfbuild/site"
)

// ref is a reference taken apart: docker.io/library/debian, 12, sha256:….
type ref struct{ name, tag, digest string }

// parseRef reads a reference as docker pull does: no registry means docker.io.
func parseRef(s string) ref {
	s = strings.TrimPrefix(s, "docker://")
	var r ref
	s, r.digest, _ = strings.Cut(s, "@")
	r.name = s
	if i := strings.LastIndexByte(s, ':'); i > strings.LastIndexByte(s, '/') {
		r.name, r.tag = s[:i], s[i+1:]
	}
	host, _, ok := strings.Cut(r.name, "/")
	switch {
	case !ok:
		r.name = "docker.io/library/" + r.name
	case !strings.ContainsAny(host, ".:") && host != "localhost":
		r.name = "docker.io/" + r.name
	}
	return r
}

// inSite says whether a reference is in a registry of the site or is pulled through
// its caches. A site that names no registry allows all.
func (r ref) inSite(s site.Site) bool {
	if len(s.Registries) == 0 {
		return true
	}
	for _, g := range s.Registries {
		places := []string{g.Prefix, g.Location}
		for _, m := range g.Mirrors {
			places = append(places, m.Location)
		}
		for _, p := range places {
			if p = strings.TrimSuffix(p, "/"); p != "" && (r.name == p || strings.HasPrefix(r.name, p+"/")) {
				return true
			}
		}
	}
	return false
}

var (
	// versionTag: a semantic version, shortened or with a suffix (1.2.3, v1.2, 12,
	// 3.22-slim), or a release's name with its number (stream9, noble-20260101).
	versionTag = regexp.MustCompile(`^(?:[a-z]+[-_]?)?v?\d+(?:\.\d+){0,3}(?:[-_.+][0-9A-Za-z.+_-]+)?$`)
	commitTag  = regexp.MustCompile(`^(?:[a-z0-9._-]+-)?[0-9a-f]{7,64}$`)
	dateTag    = regexp.MustCompile(`(?:^|[-_.])20\d{2}-?[01]\d-?[0-3]\d(?:$|[-_.T])`)
)

// Reference looks at the name of an image that is used or published.
func Reference(name string, s site.Site) []Finding {
	c := newCollector(name, pipelines.Platform{})
	r := parseRef(name)
	add := func(rule, subject, format string, args ...any) {
		c.add(rule, Finding{Subject: subject, Message: fmt.Sprintf(format, args...)})
	}
	switch {
	case r.digest != "":
	case r.tag == "" || r.tag == "latest":
		add(LatestAlone, "tag", "the tag latest says neither which version this is nor that it stays the same")
	case !versionTag.MatchString(r.tag) && !commitTag.MatchString(r.tag) && !dateTag.MatchString(r.tag):
		add(TagNotVersion, "tag", "the tag %q is neither a version nor a date nor a commit", r.tag)
	}
	if !r.inSite(s) {
		add(ReferenceElsewhere, "registry", "%s is not in a registry that the site names", r.name)
	}
	return c.out
}
