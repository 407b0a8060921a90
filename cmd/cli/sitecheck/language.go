package sitecheck

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"crypto/md5"  //nolint:gosec // CRAN has nothing else
	"crypto/sha1" //nolint:gosec // npm's older packages have nothing else
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"net/http"
	"net/url"
	"path"
	"regexp"
	"strings"
	"time"

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

// conda reads the index of a channel's noarch packages. current_repodata.json has
// the newest of each and is a tenth of the size.
func (c *checker) conda(ctx context.Context, m *Mirror) error {
	var first error
	for _, channel := range []string{"conda-forge", "main", "pkgs/main"} {
		for _, file := range []string{"current_repodata.json", "repodata.json.zst", "repodata.json"} {
			base := m.URL + "/" + channel + "/noarch"
			data, resp, err := c.index(ctx, m, base+"/"+file)
			if err != nil {
				first = cmp.Or(first, err)
				var he *httpx.Error
				if errors.As(err, &he) && he.Status == http.StatusNotFound {
					continue
				}
				return err
			}
			m.modified(resp)
			return c.condaPackage(ctx, m, base, path.Ext(file), data)
		}
	}
	return first
}

func (c *checker) condaPackage(ctx context.Context, m *Mirror, base, ext string, data []byte) error {
	type entry struct {
		SHA256 string `json:"sha256"`
		Size   int64  `json:"size"`
	}
	var index struct {
		Packages map[string]entry `json:"packages"`
		Conda    map[string]entry `json:"packages.conda"`
	}
	r, err := unpack(ext, data)
	if err == nil {
		err = json.NewDecoder(r).Decode(&index)
	}
	if err != nil {
		if webPage(data) {
			return findf(fixInside, "the index of noarch packages is a web page")
		}
		return findf(fixBroken, "the index of noarch packages cannot be read: %v", err)
	}
	small, size := "", entry{}
	for _, list := range []map[string]entry{index.Packages, index.Conda} {
		for name, e := range list {
			if e.Size > 0 && e.SHA256 != "" && (small == "" || e.Size < size.Size || e.Size == size.Size && name < small) {
				small, size = name, e
			}
		}
	}
	if small == "" {
		m.Answer = "the index is empty"
		return nil
	}
	file, _, err := c.get(ctx, m, base+"/"+small, size.Size+1)
	if err != nil {
		return incomplete("package "+small, err)
	}
	if err := (sum{"sha256", size.SHA256}).check(file, size.Size); err != nil {
		return findf(fixBroken, "incomplete: package %s: %v", small, err)
	}
	m.Package = small
	return nil
}

// modified takes an index's date from the server, where the index has none itself.
func (m *Mirror) modified(resp *httpx.Response) {
	if t, err := http.ParseTime(resp.LastModified); err == nil {
		m.dated(t)
	}
}

// cran reads src/contrib/PACKAGES.gz and fetches a package; its sizes are not in
// the index.
func (c *checker) cran(ctx context.Context, m *Mirror) error {
	data, resp, err := c.index(ctx, m, m.URL+"/src/contrib/PACKAGES.gz")
	if err != nil {
		return err
	}
	text, err := plainText(data, "PACKAGES.gz")
	if err != nil {
		return err
	}
	m.modified(resp)
	type entry struct{ name, version, md5 string }
	var all []entry
	var e entry
	s := bufio.NewScanner(text)
	s.Buffer(nil, 4<<20)
	for s.Scan() {
		key, value, ok := strings.Cut(s.Text(), ":")
		value = strings.TrimSpace(value)
		switch {
		case s.Text() == "":
			all, e = append(all, e), entry{}
		case ok && key == "Package":
			e.name = value
		case ok && key == "Version":
			e.version = value
		case ok && key == "MD5sum":
			e.md5 = value
		}
	}
	if err := s.Err(); err != nil {
		return findf(fixBroken, "PACKAGES.gz cannot be read: %v", err)
	}
	all = append(all, e)
	tries := 0
	for _, known := range []bool{true, false} { // R6 is small and everywhere
		for _, e := range all {
			if e.md5 == "" || known != (e.name == "R6") || tries == 5 {
				continue
			}
			tries++
			name := e.name + "_" + e.version + ".tar.gz"
			file, _, err := c.get(ctx, m, m.URL+"/src/contrib/"+name, maxPackage)
			if tooLarge(err) {
				continue
			}
			if err != nil {
				return incomplete("package "+name, err)
			}
			if got := md5.Sum(file); hex.EncodeToString(got[:]) != e.md5 { //nolint:gosec // compared
				return findf(fixBroken, "incomplete: package %s: its MD5 is not the one that the index says", name)
			}
			m.Package = name
			return nil
		}
	}
	m.Answer = "answers; no small package with a checksum to try"
	return nil
}

// plainText unpacks a gzip index.
func plainText(data []byte, name string) (*bufio.Reader, error) {
	r, err := unpack(".gz", data)
	if err != nil {
		if webPage(data) {
			return nil, findf(fixInside, "%s is a web page", name)
		}
		return nil, findf(fixBroken, "%s cannot be read: %v", name, err)
	}
	return bufio.NewReader(r), nil
}

// cpan reads modules/02packages.details.txt.gz, which has a date and no checksums,
// and looks whether a distribution it names is there.
func (c *checker) cpan(ctx context.Context, m *Mirror) error {
	data, _, err := c.index(ctx, m, m.URL+"/modules/02packages.details.txt.gz")
	if err != nil {
		return err
	}
	text, err := plainText(data, "02packages.details.txt.gz")
	if err != nil {
		return err
	}
	s := bufio.NewScanner(text)
	file, header := "", true
	for s.Scan() {
		line := s.Text()
		if header {
			if value, ok := strings.CutPrefix(line, "Last-Updated:"); ok {
				if t, err := time.Parse(time.RFC1123, strings.TrimSpace(value)); err == nil {
					m.dated(t)
				}
			}
			header = line != ""
			continue
		}
		w := strings.Fields(line)
		if len(w) == 3 && (file == "" || w[0] == "Try::Tiny") {
			file = w[2]
		}
	}
	if err := s.Err(); err != nil {
		return findf(fixBroken, "02packages.details.txt.gz cannot be read: %v", err)
	}
	if file == "" {
		return findf(fixBroken, "02packages.details.txt.gz names no module")
	}
	resp, err := c.http.Get(ctx, httpx.Request{URL: m.URL + "/authors/id/" + file})
	if err != nil {
		return incomplete("file "+file, err)
	}
	defer resp.Body.Close()
	head := make([]byte, 2)
	if _, err := resp.Body.Read(head); err != nil || !bytes.Equal(head, []byte{0x1f, 0x8b}) && strings.HasSuffix(file, ".gz") {
		return findf(fixBroken, "incomplete: file %s is no archive", file)
	}
	m.Package = path.Base(file)
	return nil
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
