package site

import (
	"fmt"
	"net/url"
	"regexp"
	"strings"
)

// cleanMirror checks the base URL of a package repository and gives it without a
// trailing slash.
func cleanMirror(s string) (string, *fault) {
	u, bad := parseURL(s)
	if bad != nil {
		return "", bad
	}
	if u.User != nil {
		return "", &fault{fmt.Sprintf("%q holds credentials", u.Redacted()),
			"a site is shown, logged and written into images: use a mirror that needs no password, such as a cache inside the site"}
	}
	if u.RawQuery != "" || u.Fragment != "" || u.ForceQuery {
		u.RawQuery, u.Fragment = "", "" // a query may be a token
		return "", &fault{fmt.Sprintf("%q has a query or fragment", u), "a mirror is a directory, such as http://ftp.debian.org/debian"}
	}
	if base, _, is := strings.Cut(u.Path+"/", "/dists/"); is {
		u.Path = base
		return "", &fault{fmt.Sprintf("%q is inside a repository", s),
			fmt.Sprintf("name the directory that holds dists/ and pool/: %s", u)}
	}
	if bad := inside(s); bad != nil {
		return "", bad
	}
	return strings.TrimRight(s, "/"), nil
}

// inside says which part of a package repository a URL points into: its suite, its
// metadata, or a variable that the recipe fills.
func inside(s string) *fault {
	const fix = "name the base, such as https://dl.rockylinux.org/pub/rocky: release and architecture are added by the recipe"
	for _, v := range []string{"$", "%7b", "%7B", "{"} {
		if strings.Contains(s, v) {
			return &fault{fmt.Sprintf("%q holds a variable", s), fix}
		}
	}
	for _, part := range []string{"/repodata", "/APKINDEX"} {
		if strings.Contains(s, part) {
			return &fault{fmt.Sprintf("%q is inside a repository", s), fix}
		}
	}
	return nil
}

// cleanIndex checks the base URL of a language index and gives it without a
// trailing slash.
func cleanIndex(kind, s string) (string, *fault) {
	u, bad := parseURL(s)
	if bad != nil {
		return "", bad
	}
	if u.User != nil {
		return "", &fault{fmt.Sprintf("%q holds credentials", u.Redacted()),
			"a site is shown, logged and written into images: use an index that needs no password, such as a cache inside the site"}
	}
	if u.RawQuery != "" || u.Fragment != "" || u.ForceQuery {
		u.RawQuery, u.Fragment = "", "" // a query may be a token
		return "", &fault{fmt.Sprintf("%q has a query or fragment", u), fmt.Sprintf("an index is a directory, such as %s", Public().IndexURLs(kind)[0])}
	}
	for _, file := range map[string][]string{"cran": {"/src/contrib"}, "cpan": {"/modules/02packages", "/authors"}, "conda": {"/repodata.json", "/noarch", "/linux-64"}}[kind] {
		if base, _, is := strings.Cut(s, file); is {
			return "", &fault{fmt.Sprintf("%q is inside an index", s), "name the directory above it: " + base}
		}
	}
	return strings.TrimRight(s, "/"), nil
}

// parseURL takes absolute http and https URLs. Messages never hold a password.
func parseURL(s string) (*url.URL, *fault) {
	const fix = "write it as https://HOST/PATH or http://HOST/PATH"
	if s == "" {
		return nil, &fault{"is empty", fix}
	}
	if strings.ContainsAny(s, " \t\r\n") {
		return nil, &fault{"a URL cannot hold white space", fix}
	}
	u, err := url.Parse(s)
	if err != nil {
		// url.Error repeats the text, which may hold a password.
		why := "is not a URL"
		if e, ok := err.(*url.Error); ok && !strings.Contains(s, "@") {
			why = fmt.Sprintf("%q is not a URL: %v", s, e.Err)
		}
		return nil, &fault{why, fix}
	}
	switch {
	case u.Scheme == "" || u.Opaque != "":
		return nil, &fault{fmt.Sprintf("%q is not an absolute URL", u.Redacted()), fix}
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, &fault{fmt.Sprintf("%q has scheme %s, not http or https", u.Redacted(), u.Scheme), fix}
	case u.Hostname() == "":
		return nil, &fault{fmt.Sprintf("%q names no host", u.Redacted()), fix}
	}
	return u, nil
}

// redact hides the password and user of a URL, for people's eyes.
func redact(s string) string {
	u, err := url.Parse(s)
	if err != nil || u.User == nil {
		if _, after, has := strings.Cut(s, "@"); has {
			return "***@" + after
		}
		return s
	}
	u.User = nil
	return strings.Replace(u.String(), "//", "//***@", 1)
}

var locationRE = regexp.MustCompile(`^(\[[0-9a-fA-F:]+\]|[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?)(:[0-9]{1,5})?(/[a-z0-9]([a-z0-9._/-]*[a-z0-9])?)?$`)

// checkLocation takes host[:port][/path], as references begin.
func checkLocation(s string) *fault {
	if strings.Contains(s, "@") {
		return &fault{"holds credentials or a digest", "log in with docker login or podman login instead; write host[:port][/path]"}
	}
	if scheme, rest, is := strings.Cut(s, "://"); is {
		fix := "write it without the scheme: " + rest
		if scheme == "http" {
			fix += ", and insecure = true beside it"
		}
		return &fault{fmt.Sprintf("%q is a URL, not host[:port][/path]", s), fix}
	}
	if !locationRE.MatchString(s) {
		return &fault{fmt.Sprintf("%q is not host[:port][/path]", s), "write it as references begin: registry.example.org:5000/mirror"}
	}
	return nil
}

// checkProxy takes http and https URLs and host:port.
func checkProxy(s string) *fault {
	if !strings.Contains(s, "://") {
		s = "http://" + s
	}
	_, bad := parseURL(s)
	return bad
}
