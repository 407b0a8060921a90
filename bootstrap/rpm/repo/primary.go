package repo

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strconv"
	"strings"

	"github.com/cfbuild/cfbuild/bootstrap/fetch"
	"github.com/cfbuild/cfbuild/bootstrap/rpm/resolve"
)

// maxPackages bounds what one index may list; Fedora has about 75,000.
const maxPackages = 1 << 20

// Packages reads the packages for an architecture, and those without one. n is the
// repository's index among several.
func (c *Client) Packages(ctx context.Context, r *Repo, arch string, n int) ([]*resolve.Package, error) {
	var out []*resolve.Package
	err := c.index(ctx, r, "primary", func(in io.Reader) (err error) {
		out, err = parsePrimary(in, arch, n)
		return err
	})
	return out, err
}

// Files adds to packages the files among paths that the full lists name.
func (c *Client) Files(ctx context.Context, r *Repo, pkgs []*resolve.Package, paths []string) error {
	if _, ok := r.Meta.files["filelists"]; !ok {
		return nil
	}
	return c.index(ctx, r, "filelists", func(in io.Reader) error { return parseFilelists(in, pkgs, paths) })
}

// index fetches one file of the metadata and reads it unpacked.
func (c *Client) index(ctx context.Context, r *Repo, name string, read func(io.Reader) error) error {
	f := r.Meta.files[name]
	what := fmt.Sprintf("index %s of %s %s", name, r.Source.Repository, r.Path)
	file, err := c.Blob(ctx, fetch.Want{What: what, SHA256: f.sha256, Size: f.size, Paths: []string{r.Path + "/" + f.path}},
		fetch.NewMirrors(r.Mirrors), func(int64) {})
	if err != nil {
		return err
	}
	in, err := os.Open(file)
	if err != nil {
		return &fetch.CacheError{Dir: c.CacheDir, Err: err}
	}
	defer in.Close()
	err = fetch.Decompress(path.Ext(f.path), in, func(in io.Reader) error {
		lim := fetch.Limit(in, f.open)
		if err := read(lim); err != nil {
			return err
		}
		_, err := io.Copy(io.Discard, lim)
		return err
	})
	if err != nil && ctx.Err() == nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return err
}

func malformed(format string, a ...any) error {
	return fmt.Errorf("%w: %s", fetch.ErrMalformed, fmt.Sprintf(format, a...))
}

// intern keeps one copy of texts that come again and again.
type intern map[string]string

func (i intern) get(s string) string {
	if t, ok := i[s]; ok {
		return t
	}
	s = strings.Clone(s)
	i[s] = s
	return s
}

// parsePrimary reads primary.xml, element by element: it is large.
func parsePrimary(in io.Reader, arch string, n int) ([]*resolve.Package, error) {
	var out []*resolve.Package
	texts := intern{}
	d := xml.NewDecoder(in)
	d.Entity = map[string]string{}
	var p *resolve.Package
	var deps *[]resolve.Dep
	var text *string
	var sum, kind string
	for {
		t, err := d.RawToken()
		if errors.Is(err, io.EOF) {
			if p != nil {
				return nil, malformed("it ends within a package")
			}
			return out, nil
		}
		if err != nil {
			return nil, wrap(err)
		}
		switch t := t.(type) {
		case xml.StartElement:
			text = nil
			if t.Name.Local == "package" && p == nil {
				if len(out) == maxPackages {
					return nil, malformed("it lists more than %d packages", maxPackages)
				}
				p, deps, sum, kind = &resolve.Package{Repo: n}, nil, "", ""
				continue
			}
			if p == nil {
				continue
			}
			switch t.Name.Local {
			case "name":
				text = &p.Name
			case "arch":
				text = &p.Arch
			case "version":
				p.EVR = evr(t, texts)
			case "checksum":
				sum, text = "", &sum
				kind = attr(t, "type")
			case "size":
				p.Size, _ = strconv.ParseInt(attr(t, "package"), 10, 64)
				p.Installed, _ = strconv.ParseInt(attr(t, "installed"), 10, 64)
			case "location":
				p.Location = attr(t, "href")
			case "provides":
				deps = &p.Provides
			case "requires":
				deps = &p.Requires
			case "conflicts":
				deps = &p.Conflicts
			case "obsoletes":
				deps = &p.Obsoletes
			case "recommends", "suggests", "supplements", "enhances":
				deps = nil
			case "entry":
				if deps == nil {
					continue
				}
				name := attr(t, "name")
				if strings.HasPrefix(name, "rpmlib(") {
					continue
				}
				*deps = append(*deps, resolve.Dep{Name: texts.get(name), Op: ops[attr(t, "flags")], EVR: evr(t, texts)})
			case "file":
				if attr(t, "type") == "" {
					p.Files = append(p.Files, "")
					text = &p.Files[len(p.Files)-1]
				}
			}
		case xml.CharData:
			if text != nil {
				*text += string(t)
			}
		case xml.EndElement:
			text = nil
			switch t.Name.Local {
			case "provides", "requires", "conflicts", "obsoletes":
				deps = nil
			case "package":
				if p == nil {
					continue
				}
				p.Arch = texts.get(p.Arch)
				if p.Arch == arch || p.Arch == "noarch" {
					if err := check(p, sum, kind); err != nil {
						return nil, err
					}
					out = append(out, p)
				}
				p = nil
			}
		}
	}
}

var ops = map[string]resolve.Op{"LT": resolve.Less, "LE": resolve.Less | resolve.Equal, "EQ": resolve.Equal,
	"GE": resolve.Greater | resolve.Equal, "GT": resolve.Greater}

// wrap says what kind of error came out of the parser.
func wrap(err error) error {
	var syn *xml.SyntaxError
	if errors.As(err, &syn) {
		return malformed("%v", err)
	}
	return err
}

func attr(t xml.StartElement, name string) string {
	for _, a := range t.Attr {
		if a.Name.Local == name {
			return a.Value
		}
	}
	return ""
}

func evr(t xml.StartElement, texts intern) resolve.EVR {
	return resolve.EVR{Epoch: texts.get(attr(t, "epoch")), Version: texts.get(attr(t, "ver")), Release: texts.get(attr(t, "rel"))}
}

// check looks at what a package says of itself. Its names become file names and
// lines of a script.
func check(p *resolve.Package, sum, kind string) error {
	ok := func(s, more string) bool {
		for _, c := range s {
			if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && !strings.ContainsRune(more, c) {
				return false
			}
		}
		return s != "" && len(s) < 256
	}
	switch {
	case !ok(p.Name, "._+-") || strings.HasPrefix(p.Name, "-") || !ok(p.EVR.Version, "._+~^") || !ok(p.EVR.Release, "._+~^") || p.EVR.Epoch != "" && !ok(p.EVR.Epoch, ""):
		return malformed("it lists the package %q, version %q", p.Name, p.EVR)
	case kind != "sha256" || !isSHA256(sum):
		return malformed("package %s has a checksum of the kind %q, sha256 is wanted", p, kind)
	case !below(p.Location):
		return malformed("package %s is at %q, which is no path below the repository", p, p.Location)
	case p.Size <= 0 || p.Installed < 0:
		return malformed("package %s has %d bytes and installs %d", p, p.Size, p.Installed)
	}
	p.SHA256 = sum
	return nil
}

// parseFilelists adds the files wanted to their packages.
func parseFilelists(in io.Reader, pkgs []*resolve.Package, paths []string) error {
	bySum := make(map[string]*resolve.Package, len(pkgs))
	for _, p := range pkgs {
		bySum[p.SHA256] = p
	}
	want := make(map[string]bool, 2*len(paths))
	for _, p := range paths {
		want[p], want["/usr"+p] = true, true
	}
	d := xml.NewDecoder(in)
	var p *resolve.Package
	var path strings.Builder
	inFile := false
	for {
		t, err := d.RawToken()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return wrap(err)
		}
		switch t := t.(type) {
		case xml.StartElement:
			inFile = false
			switch t.Name.Local {
			case "package":
				p = bySum[attr(t, "pkgid")]
			case "file":
				inFile = p != nil
				path.Reset()
			}
		case xml.CharData:
			if inFile {
				path.Write(t)
			}
		case xml.EndElement:
			if inFile && want[path.String()] {
				p.Files = append(p.Files, path.String())
			}
			inFile = false
		}
	}
}
