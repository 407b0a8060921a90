package archive

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"strconv"
	"strings"
)

const (
	// maxLine bounds one line of an index; the longest are Provides of some ten
	// thousand bytes.
	maxLine = 1 << 20
	// slab is how many packages are allocated at once.
	slab = 512
)

// arena keeps the strings of an index in a few large blocks.
type arena struct {
	b strings.Builder
	// seen holds values that repeat over and over.
	seen map[string]string
}

func (a *arena) add(v []byte) string {
	if len(v) == 0 {
		return ""
	}
	if a.b.Cap()-a.b.Len() < len(v) {
		a.b = strings.Builder{}
		a.b.Grow(max(256<<10, len(v)))
	}
	n := a.b.Len()
	a.b.Write(v)
	return a.b.String()[n:]
}

func (a *arena) intern(v []byte) string {
	if s, ok := a.seen[string(v)]; ok {
		return s
	}
	s := string(v)
	if a.seen == nil {
		a.seen = map[string]string{}
	}
	if len(a.seen) < 4096 {
		a.seen[s] = s
	}
	return s
}

// parsePackages reads the stanzas of an index (Debian policy 5.1) and keeps those
// for one architecture, "all" included.
func parsePackages(r io.Reader, arch, component string, suite *Suite) ([]*Package, error) {
	var (
		in     = bufio.NewReaderSize(r, maxLine)
		out    []*Package
		a      arena
		free   []Package
		p      *Package
		last   *string // the kept field that a continuation line adds to
		lineNo int
	)
	component = a.intern([]byte(component))
	next := func() *Package {
		if len(free) == 0 {
			free = make([]Package, slab)
		}
		q := &free[0]
		q.Component, q.Suite = component, suite
		return q
	}
	finish := func() error {
		if p == nil {
			return nil
		}
		if p.Architecture != arch && p.Architecture != "all" {
			*p = Package{} // used again
		} else {
			if err := p.check(); err != nil {
				return fmt.Errorf("%w index: stanza before line %d: %v", ErrMalformed, lineNo, err)
			}
			if p.Source == "" {
				p.Source = p.Name
			}
			out = append(out, p)
			free = free[1:]
		}
		p, last = nil, nil
		return nil
	}
	for {
		line, err := in.ReadSlice('\n')
		lineNo++
		if err == bufio.ErrBufferFull {
			return nil, fmt.Errorf("%w index: line %d is longer than %d bytes", ErrMalformed, lineNo, maxLine)
		}
		if err != nil && err != io.EOF {
			return nil, err
		}
		end := err == io.EOF
		line = bytes.TrimRight(line, "\r\n")
		switch {
		case len(line) == 0:
			if err := finish(); err != nil {
				return nil, err
			}
		case line[0] == ' ' || line[0] == '\t':
			if last != nil {
				*last += " " + string(bytes.TrimSpace(line))
			}
		default:
			if p == nil {
				p = next()
			}
			i := bytes.IndexByte(line, ':')
			if i < 0 {
				return nil, fmt.Errorf("%w index: line %d has no field name", ErrMalformed, lineNo)
			}
			if last, err = p.set(&a, line[:i], line[i+1:]); err != nil {
				return nil, fmt.Errorf("%w index: line %d: %v", ErrMalformed, lineNo, err)
			}
		}
		if end {
			return out, finish()
		}
	}
}

// set stores one field; it gives the string that may be continued.
func (p *Package) set(a *arena, name, v []byte) (*string, error) {
	text := func(dst *string) (*string, error) {
		*dst = a.add(bytes.TrimSpace(v))
		return dst, nil
	}
	word := func(dst *string) (*string, error) {
		*dst = a.intern(bytes.TrimSpace(v))
		return nil, nil
	}
	number := func(dst *int64) (*string, error) {
		n, err := strconv.ParseInt(string(bytes.TrimSpace(v)), 10, 64)
		if err != nil || n < 0 {
			return nil, fmt.Errorf("%s %q is no number", name, v)
		}
		*dst = n
		return nil, nil
	}
	flag := func(dst *bool) (*string, error) {
		*dst = *dst || string(bytes.TrimSpace(v)) == "yes"
		return nil, nil
	}
	switch string(name) {
	case "Package":
		_, err := text(&p.Name)
		return nil, err
	case "Version":
		_, err := text(&p.Version)
		return nil, err
	case "Filename":
		_, err := text(&p.Filename)
		return nil, err
	case "SHA256":
		_, err := text(&p.SHA256)
		return nil, err
	case "Source":
		s, _, _ := bytes.Cut(bytes.TrimSpace(v), []byte(" "))
		p.Source = a.add(s)
	case "Architecture":
		return word(&p.Architecture)
	case "Priority":
		return word(&p.Priority)
	case "Section":
		return word(&p.Section)
	case "Multi-Arch":
		return word(&p.MultiArch)
	case "Essential":
		return flag(&p.Essential)
	case "Important", "Protected":
		return flag(&p.Important)
	case "Size":
		return number(&p.Size)
	case "Installed-Size":
		return number(&p.InstalledSize)
	case "Pre-Depends":
		return text(&p.PreDepends)
	case "Depends":
		return text(&p.Depends)
	case "Conflicts":
		return text(&p.Conflicts)
	case "Breaks":
		return text(&p.Breaks)
	case "Provides":
		return text(&p.Provides)
	}
	return nil, nil
}

// check looks at what becomes part of paths and URLs, and at what has to be there.
func (p *Package) check() error {
	switch {
	case !only(p.Name, "+-._"):
		return fmt.Errorf("%q is no package name", p.Name)
	case !only(p.Version, "+-._~:"):
		return fmt.Errorf("%s: %q is no version", p.Name, p.Version)
	case p.Filename == "" || strings.HasPrefix(p.Filename, "/") || strings.Contains("/"+p.Filename+"/", "/../"):
		return fmt.Errorf("%s: %q is no file name", p.Name, p.Filename)
	case len(p.SHA256) != 64 || strings.Trim(p.SHA256, "0123456789abcdef") != "":
		return fmt.Errorf("%s: %q is no SHA256", p.Name, p.SHA256)
	case p.Size == 0:
		return fmt.Errorf("%s: has no Size", p.Name)
	}
	return nil
}

// only says whether s is letters, digits and those of more, and begins with a
// letter or digit.
func only(s, more string) bool {
	for i := range len(s) {
		c := s[i]
		if c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' {
			continue
		}
		if i == 0 || strings.IndexByte(more, c) < 0 {
			return false
		}
	}
	return s != ""
}
