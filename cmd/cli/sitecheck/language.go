package sitecheck

import (
	"cmp"
	"context"
	"crypto/sha1" //nolint:gosec // npm's older packages have nothing else
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"net/url"
	"path"
	"regexp"
	"strings"

	"github.com/cfbuild/cfbuild/internal/httpx"
)

// language probes one language index.
func (c *checker) language(ctx context.Context, kind string, m *Mirror) error {
	switch kind {
	case "pypi":
		return c.pypi(ctx, m)
	case "conda":
		return c.conda(ctx, m)
	case "cran":
		return c.cran(ctx, m)
	case "cpan":
		return c.cpan(ctx, m)
	case "npm":
		return c.npm(ctx, m)
	}
	_, _, err := c.get(ctx, m, m.URL+"/", 8<<20)
	return err
}

// maxPackage bounds a package that is fetched whole.
const maxPackage = 4 << 20

var (
	anchor = regexp.MustCompile(`(?i)<a\s[^>]*href\s*=\s*["']([^"']+)["']`)
	// pypiProjects are small, old and used by everybody.
	pypiProjects = [...]string{"six", "pip", "requests"}
)

// pypi reads the simple page of a project (PEP 503) and fetches a file it links to
// with a hash.
func (c *checker) pypi(ctx context.Context, m *Mirror) error {
	var first error
	for _, project := range pypiProjects {
		page := m.URL + "/" + project + "/"
		data, _, err := c.index(ctx, m, page)
		if err != nil {
			first = cmp.Or(first, err)
			if m.Reachable {
				continue
			}
			return err
		}
		links := anchor.FindAllSubmatch(data, -1)
		if len(links) == 0 {
			return findf("name the index that ends in /simple", "%s/ is no page of a simple index (PEP 503)", project)
		}
		for _, l := range links {
			u, err := url.Parse(page)
			if err == nil {
				u, err = u.Parse(html.UnescapeString(string(l[1])))
			}
			if err != nil {
				continue
			}
			want, hashed := strings.CutPrefix(u.Fragment, "sha256=")
			u.Fragment = ""
			if !hashed {
				continue
			}
			name := path.Base(u.Path)
			file, _, err := c.get(ctx, m, u.String(), maxPackage)
			if tooLarge(err) {
				continue
			}
			if err != nil {
				return incomplete("file "+name, err)
			}
			if err := (sum{"sha256", want}).check(file, 0); err != nil {
				return findf(fixBroken, "incomplete: file %s: %v", name, err)
			}
			m.Package = name
			return nil
		}
		m.Answer = "answers; no small file with a hash to try"
		return nil
	}
	return first
}

func tooLarge(err error) bool {
	var he *httpx.Error
	return errors.As(err, &he) && he.Kind == httpx.TooLarge
}

// npm reads the document of a small package and fetches its newest version.
func (c *checker) npm(ctx context.Context, m *Mirror) error {
	const name = "isarray"
	data, _, err := c.index(ctx, m, m.URL+"/"+name)
	if err != nil {
		return err
	}
	var doc struct {
		Tags struct {
			Latest string `json:"latest"`
		} `json:"dist-tags"`
		Versions map[string]struct {
			Dist struct {
				Tarball   string `json:"tarball"`
				Integrity string `json:"integrity"`
				SHA1      string `json:"shasum"`
			} `json:"dist"`
		} `json:"versions"`
	}
	if err := json.Unmarshal(data, &doc); err != nil {
		if webPage(data) {
			return findf(fixInside, "the document of %s is a web page", name)
		}
		return findf(fixBroken, "the document of %s cannot be read: %v", name, err)
	}
	dist := doc.Versions[doc.Tags.Latest].Dist
	if dist.Tarball == "" {
		return findf(fixBroken, "the document of %s names no tarball", name)
	}
	what := fmt.Sprintf("%s-%s.tgz", name, doc.Tags.Latest)
	file, _, err := c.get(ctx, m, dist.Tarball, maxPackage)
	if err != nil {
		return incomplete("package "+what, err)
	}
	ok := false
	if want, is := strings.CutPrefix(dist.Integrity, "sha512-"); is {
		got := sha512.Sum512(file)
		ok = base64.StdEncoding.EncodeToString(got[:]) == want
	} else {
		got := sha1.Sum(file) //nolint:gosec // compared
		ok = hex.EncodeToString(got[:]) == dist.SHA1
	}
	if !ok {
		return findf(fixBroken, "incomplete: package %s: its checksum is not the one that the index says", what)
	}
	m.Package = what
	return nil
}
