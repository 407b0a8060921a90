package index

import (
	"encoding/base64"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cfbuild/cfbuild/bootstrap/apk/version"
	"github.com/cfbuild/cfbuild/bootstrap/fetch"
)

// Package is one entry of an index (apk-package(5)), as it is kept in the database of
// installed packages too.
type Package struct {
	Name, Version, Arch string
	// Checksum of the control member: "Q1" and base64 of its SHA-1, or "Q2" and of
	// its SHA-256.
	Checksum string
	// Size of the file and InstalledSize, in bytes.
	Size, InstalledSize      int64
	Description, URL         string
	License, Origin          string
	Maintainer, Commit       string
	BuildTime                time.Time
	ProviderPriority         int
	Depends, Provides, IfAll []Dep // IfAll: install_if
}

// String is "name=version".
func (p *Package) String() string { return p.Name + "=" + p.Version }

// File is the package's name in its repository.
func (p *Package) File() string { return p.Name + "-" + p.Version + ".apk" }

// Sum gives the hash that Checksum holds.
func (p *Package) Sum() ([]byte, error) { return sum(p.Checksum) }

func sum(s string) ([]byte, error) {
	size := map[string]int{"Q1": 20, "Q2": 32}
	if len(s) > 2 && size[s[:2]] > 0 {
		b, err := base64.StdEncoding.DecodeString(s[2:])
		if err == nil && len(b) == size[s[:2]] {
			return b, nil
		}
	}
	return nil, fmt.Errorf("%q is no checksum", s)
}

// Dep is one dependency or what a package provides: [!]NAME[OP VERSION].
type Dep struct {
	Name string
	// Op is made of '<', '=', '>' and '~'; "><" compares Version, a checksum.
	Op, Version string
	// Conflict: the package must not be there.
	Conflict bool
	// Broken: what it says cannot be read, so nothing fulfils it.
	Broken bool `json:",omitempty"`
}

// String is the dependency as apk writes it.
func (d Dep) String() string {
	s := d.Name + d.Op + d.Version
	if d.Conflict {
		return "!" + s
	}
	return s
}

// ParseDep reads one dependency. A repository tag ("@edge") is refused: only
// repositories without one are used.
func ParseDep(s string) (Dep, error) {
	var d Dep
	rest, conflict := strings.CutPrefix(s, "!")
	d.Conflict = conflict
	d.Name = rest
	if i := strings.IndexAny(rest, "<>=~"); i >= 0 {
		d.Name = rest[:i]
		ops := rest[i:]
		d.Version = strings.TrimLeft(ops, "<>=~")
		d.Op = ops[:len(ops)-len(d.Version)]
		if d.Version == "" || d.Op != "><" && !version.Valid(d.Version) {
			return d, fmt.Errorf("%q: %q is no version", s, d.Version)
		}
	}
	if d.Name == "" || strings.ContainsAny(d.Name, "@! \t\n") {
		return d, fmt.Errorf("%q is no dependency", s)
	}
	return d, nil
}

// parseDeps reads a list. One package with a strange version does not spoil an index
// of thousands: nothing fulfils that dependency, as in apk-tools 3.
func parseDeps(s string) []Dep {
	var out []Dep
	for _, f := range strings.Fields(s) {
		d, err := ParseDep(f)
		d.Broken = err != nil
		out = append(out, d)
	}
	return out
}

// Provided says whether a package of a name and version, of its own or provided
// ("" for none), fulfils a dependency that is no conflict.
func (d Dep) Provided(have string, p *Package) bool {
	switch {
	case d.Broken:
		return false
	case d.Op == "":
		return true
	case d.Op == "><":
		return strings.HasPrefix(p.Checksum, d.Version)
	}
	return have != "" && version.Satisfies(have, d.Op, d.Version)
}

var (
	nameRE    = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9._+-]*$`)
	versionRE = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9._~+-]*$`)
)

// parse reads the stanzas of an index. Packages that cannot be installed by this
// program, for a field in capitals that it does not know, are left out, as apk does.
func parse(text string) ([]*Package, error) {
	var out []*Package
	p, empty, skip := &Package{}, true, false
	finish := func() error {
		if empty {
			return nil
		}
		if !skip {
			if err := p.check(); err != nil {
				return err
			}
			out = append(out, p)
		}
		p, empty, skip = &Package{}, true, false
		return nil
	}
	n := 0
	for line := range strings.Lines(text) {
		n++
		line = strings.TrimRight(line, "\n")
		if line == "" {
			if err := finish(); err != nil {
				return nil, fmt.Errorf("%w APKINDEX: line %d: %w", fetch.ErrMalformed, n, err)
			}
			continue
		}
		key, value, ok := strings.Cut(line, ":")
		if !ok || len(key) != 1 {
			return nil, fmt.Errorf("%w APKINDEX: line %d: %.40q is no field", fetch.ErrMalformed, n, line)
		}
		empty = false
		known, err := p.field(key[0], value)
		if err != nil {
			return nil, fmt.Errorf("%w APKINDEX: line %d: %w", fetch.ErrMalformed, n, err)
		}
		skip = skip || !known
	}
	if err := finish(); err != nil {
		return nil, fmt.Errorf("%w APKINDEX: line %d: %w", fetch.ErrMalformed, n, err)
	}
	return out, nil
}

// field takes one field; known is false for one that decides whether the package can
// be installed at all.
func (p *Package) field(key byte, value string) (known bool, err error) {
	var n int64
	switch key {
	case 'S', 'I', 't', 'k':
		if n, err = strconv.ParseInt(value, 10, 64); err != nil || n < 0 {
			return true, fmt.Errorf("%c:%.40q is no number", key, value)
		}
	}
	switch key {
	case 'C':
		p.Checksum = value
		_, err = sum(value)
	case 'P':
		p.Name = value
	case 'V':
		p.Version = value
	case 'A':
		p.Arch = value
	case 'S':
		p.Size = n
	case 'I':
		p.InstalledSize = n
	case 'T':
		p.Description = value
	case 'U':
		p.URL = value
	case 'L':
		p.License = value
	case 'o':
		p.Origin = value
	case 'm':
		p.Maintainer = value
	case 'c':
		p.Commit = value
	case 't':
		p.BuildTime = time.Unix(n, 0).UTC()
	case 'k':
		p.ProviderPriority = int(min(n, 1<<30))
	case 'D':
		p.Depends = parseDeps(value)
	case 'p':
		p.Provides = parseDeps(value)
	case 'i':
		p.IfAll = parseDeps(value)
	default:
		return key >= 'a' && key <= 'z', nil
	}
	return true, err
}

// check looks at what a path or a database line is made of.
func (p *Package) check() error {
	switch {
	case !nameRE.MatchString(p.Name) || p.Name != path.Base(p.Name):
		return fmt.Errorf("%.60q is no package name", p.Name)
	case !versionRE.MatchString(p.Version): // some are none by the rules, such as 0.99f7
		return fmt.Errorf("package %s: %.60q is no version", p.Name, p.Version)
	case p.Checksum == "":
		return fmt.Errorf("package %s: it has no checksum", p)
	}
	return nil
}

// Clone copies the package, so that keeping a few does not keep the whole index that
// their texts are part of.
func (p *Package) Clone() *Package {
	q := *p
	for _, s := range []*string{&q.Name, &q.Version, &q.Arch, &q.Checksum, &q.Description, &q.URL, &q.License, &q.Origin, &q.Maintainer, &q.Commit} {
		*s = strings.Clone(*s)
	}
	for _, deps := range []*[]Dep{&q.Depends, &q.Provides, &q.IfAll} {
		*deps = slices.Clone(*deps)
		for i := range *deps {
			d := &(*deps)[i]
			d.Name, d.Op, d.Version = strings.Clone(d.Name), strings.Clone(d.Op), strings.Clone(d.Version)
		}
	}
	return &q
}
