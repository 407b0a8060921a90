package progress

import (
	"fmt"
	"strings"
	"time"
)

// folder arranges GitLab's collapsible sections (docs: "Custom collapsible
// sections"), which must not overlap: at most one is open. What other steps say
// waits; a step that has ended is then written whole, a step that still runs
// becomes the open one. Each method gives the text to write now.
type folder struct {
	current *section
	waiting []*section // in the order they began
	used    map[string]int
}

type section struct {
	key, name, title string
	start, end       time.Time
	text             strings.Builder
	ended            bool
	// said is the line about its end; after is what belongs to no step and had
	// to wait for the section.
	said  string
	after strings.Builder
}

func (f *folder) open(s section) string {
	n := &section{key: s.key, name: f.unique(s.name), title: s.title, start: s.start}
	if f.current != nil {
		f.waiting = append(f.waiting, n)
		return ""
	}
	f.current = n
	return n.head()
}

// write places a line of a step (inStep) or of none.
func (f *folder) write(key string, inStep bool, text string) string {
	switch {
	case f.current == nil:
		return text
	case inStep && f.current.key == key:
		return text
	case inStep:
		for _, s := range f.waiting {
			if s.key == key && !s.ended {
				s.text.WriteString(text)
				return ""
			}
		}
	}
	// A line of no step would land in a stranger's section: it comes after the
	// last section that waits, in the order things happened.
	last := f.current
	if len(f.waiting) > 0 {
		last = f.waiting[len(f.waiting)-1]
	}
	last.after.WriteString(text)
	return ""
}

// close ends a section; said is written below it.
func (f *folder) close(key, said string, at time.Time) string {
	if f.current == nil || f.current.key != key {
		for _, s := range f.waiting {
			if s.key == key && !s.ended {
				s.ended, s.end, s.said = true, at, said
				return ""
			}
		}
		return said
	}
	f.current.said = said
	return f.current.tail(at) + f.next()
}

// next writes the sections that are over and opens the first that is not.
func (f *folder) next() string {
	var b strings.Builder
	f.current = nil
	for len(f.waiting) > 0 {
		s := f.waiting[0]
		f.waiting = f.waiting[1:]
		b.WriteString(s.head() + s.text.String())
		s.text.Reset()
		if !s.ended {
			f.current = s
			return b.String()
		}
		b.WriteString(s.tail(s.end))
	}
	return b.String()
}

// closeAll ends every section, for a run that ends early.
func (f *folder) closeAll(at time.Time) string {
	var b strings.Builder
	for f.current != nil {
		b.WriteString(f.current.tail(at) + f.next())
	}
	return b.String()
}

func (s *section) head() string {
	return fmt.Sprintf("section_start:%d:%s[collapsed=true]\r\x1b[0K%s\n", s.start.Unix(), s.name, s.title)
}

func (s *section) tail(at time.Time) string {
	return fmt.Sprintf("section_end:%d:%s\r\x1b[0K\n", at.Unix(), s.name) + s.said + s.after.String()
}

// unique gives a section name of the characters GitLab takes, used once.
func (f *folder) unique(name string) string {
	name = strings.TrimPrefix(name, "sha256:")
	b := []byte(strings.ToLower(strings.ReplaceAll(name, "sha256:", "")))
	for i, c := range b {
		if !(c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '_' || c == '.' || c == '-') {
			b[i] = '_'
		}
	}
	name = string(b[:min(len(b), 48)])
	if f.used == nil {
		f.used = map[string]int{}
	}
	f.used[name]++
	if n := f.used[name]; n > 1 {
		name = fmt.Sprintf("%s_%d", name, n)
	}
	return name
}
