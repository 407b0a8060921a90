package site

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// LoadOptions is what loading a site may know of the world around it.
type LoadOptions struct {
	// Getenv reads a variable; nil: there are none.
	Getenv func(string) string
	// Now is the clock that certificates are judged by; zero: dates are not
	// judged.
	Now time.Time
	// Root is where the machine's files are, default "/".
	Root string
	// Dir is what the name of a site file, and CA patterns given to
	// [Site.WithCAs], are relative to; default: the working directory.
	Dir string
}

func (o LoadOptions) getenv(name string) string {
	if o.Getenv == nil {
		return ""
	}
	return o.Getenv(name)
}

// root joins a path of the machine to Root.
func (o LoadOptions) root(path string) string {
	if o.Root == "" {
		return path
	}
	return filepath.Join(o.Root, path)
}

// Load gives a site: a built-in by its name ([Names]), or a TOML file by its path
// (a name with a slash or ending in .toml, or one that is a file). The empty name
// is "public". The error is an [InvalidError].
func Load(name string, o LoadOptions) (Site, error) {
	switch name {
	case "", "public":
		return Public(), nil
	case "ornl":
		return ORNL(), nil
	case "nccs":
		return NCCS(), nil
	case "univention":
		return univention(o)
	case "host":
		return host(o)
	}
	path := name
	if !filepath.IsAbs(path) {
		path = filepath.Join(o.Dir, path)
	}
	info, err := os.Stat(path)
	if strings.Contains(name, "/") || strings.HasSuffix(name, ".toml") || (err == nil && info.Mode().IsRegular()) {
		return loadFile(name, path, o)
	}
	fix := fmt.Sprintf("built-in sites are %s; a site file is named by its path", strings.Join(Names(), ", "))
	if near := nearest(name, Names(), 3); near != "" {
		fix = fmt.Sprintf("did you mean %s? %s", near, fix)
	}
	return Site{}, &InvalidError{Key: fmt.Sprintf("site %q", name), Cause: "is unknown", Fix: fix}
}

// WithCAs gives the site with further certificate authorities, named as in a site
// file's "ca" list: PEM files, directories, patterns, $VARIABLE, "host" for this
// machine's own beyond the public roots, or PEM itself.
// The error is an [InvalidError].
func (s Site) WithCAs(o LoadOptions, entries ...string) (Site, error) {
	for _, e := range entries {
		if e == hostEntry {
			s.CAs = addCAs(s.CAs, machine(o))
			continue
		}
		cas, bad := o.readCAs(e, o.Dir, caUse{})
		if bad != nil {
			return Site{}, bad.at("", 0, fmt.Sprintf("certificate authority %q", shorten(e)))
		}
		s.CAs = addCAs(s.CAs, cas)
	}
	return s, nil
}

// machine is what this machine trusts beyond the public roots, for all uses.
func machine(o LoadOptions) []Certificate {
	cas := hostCAs(o, func(string, ...any) {})
	for i := range cas {
		cas[i].BuildOnly = false
	}
	return cas
}

// shorten keeps inline PEM, which may be a key, out of messages.
func shorten(s string) string {
	if strings.Contains(s, "-----BEGIN ") {
		return "PEM text"
	}
	line, rest, _ := strings.Cut(strings.TrimSpace(s), "\n")
	if rest != "" || len(line) > 80 {
		return line[:min(len(line), 77)] + "..."
	}
	return line
}
