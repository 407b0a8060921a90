package site

import (
	"bufio"
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// aptEntry is one stanza or line of apt's sources (sources.list(5)).
type aptEntry struct {
	file       string // on the machine, for notes
	uris       []string
	suites     []string
	components []string
	signedBy   string
}

// aptEntries reads /etc/apt/sources.list and sources.list.d, in apt's order.
func aptEntries(o LoadOptions, note func(string, ...any)) []aptEntry {
	files := []string{"/etc/apt/sources.list"}
	dir := "/etc/apt/sources.list.d"
	list, _ := os.ReadDir(o.root(dir)) // sorted by name; a missing directory is empty
	for _, e := range list {
		if ext := filepath.Ext(e.Name()); ext == ".list" || ext == ".sources" {
			files = append(files, filepath.Join(dir, e.Name()))
		}
	}
	var out []aptEntry
	for _, f := range files {
		data, err := os.ReadFile(o.root(f))
		if os.IsNotExist(err) {
			continue
		}
		if err != nil {
			note("%s: left out: %s", f, reason(err))
			continue
		}
		entries := oneLine(data)
		if strings.HasSuffix(f, ".sources") {
			entries = deb822(data)
		}
		for _, e := range entries {
			e.file = f
			out = append(out, e)
		}
	}
	return out
}

// oneLine reads lines such as: deb [signed-by=FILE] URI SUITE COMPONENT…
func oneLine(data []byte) []aptEntry {
	var out []aptEntry
	for line := range strings.Lines(string(data)) {
		line, _, _ = strings.Cut(line, "#")
		rest, is := strings.CutPrefix(strings.TrimSpace(line), "deb")
		if !is || rest == "" || (rest[0] != ' ' && rest[0] != '\t' && rest[0] != '[') {
			continue
		}
		e := aptEntry{}
		rest = strings.TrimSpace(rest)
		if options, after, is := strings.Cut(rest, "]"); is && rest[0] == '[' {
			for _, opt := range strings.Fields(options[1:]) {
				if k, v, _ := strings.Cut(opt, "="); strings.EqualFold(k, "signed-by") {
					e.signedBy = v
				}
			}
			rest = after
		}
		f := strings.Fields(rest)
		if len(f) < 2 {
			continue
		}
		e.uris, e.suites, e.components = f[:1], f[1:2], f[2:]
		out = append(out, e)
	}
	return out
}

// deb822 reads stanzas of fields; a line that begins with white space continues
// the field before it, a field's name has no case.
func deb822(data []byte) []aptEntry {
	var out []aptEntry
	fields := map[string]string{}
	last := ""
	end := func() {
		if !slices.Contains(strings.Fields(fields["types"]), "deb") || isNo(fields["enabled"]) {
			fields, last = map[string]string{}, ""
			return
		}
		out = append(out, aptEntry{
			uris:       strings.Fields(fields["uris"]),
			suites:     strings.Fields(fields["suites"]),
			components: strings.Fields(fields["components"]),
			signedBy:   strings.TrimSpace(fields["signed-by"]),
		})
		fields, last = map[string]string{}, ""
	}
	for line := range strings.Lines(string(data)) {
		line = strings.TrimRight(line, "\r\n")
		switch {
		case strings.HasPrefix(line, "#"):
		case strings.TrimSpace(line) == "":
			end()
		case line[0] == ' ' || line[0] == '\t':
			if last != "" {
				fields[last] += "\n" + strings.TrimSpace(line)
			}
		default:
			k, v, _ := strings.Cut(line, ":")
			last = strings.ToLower(strings.TrimSpace(k))
			fields[last] = strings.TrimSpace(v)
		}
	}
	end()
	return out
}

func isNo(s string) bool {
	return slices.Contains([]string{"no", "false", "0", "off", "without", "disable"}, strings.ToLower(strings.TrimSpace(s)))
}

// urls gives the http and https URLs of the entry, those of a mirror+file: list in
// the order of their priority. URLs with credentials are left out.
func (e aptEntry) urls(o LoadOptions, note func(string, ...any)) []string {
	var out []string
	for _, u := range e.uris {
		scheme, rest, _ := strings.Cut(u, ":")
		switch scheme {
		case "http", "https":
			out = append(out, u)
		case "mirror+file":
			data, err := os.ReadFile(o.root("/" + strings.TrimLeft(rest, "/")))
			if err != nil {
				note("%s: left out: %s", e.file, reason(err))
				continue
			}
			out = append(out, mirrorList(data)...)
		case "cdrom":
		default:
			note("%s: left out: %s: cfbuild reads http, https and mirror+file sources", e.file, redact(u))
		}
	}
	return out
}

// mirrorList reads apt-transport-mirror(1)'s list: URI, then tab-separated
// key:value; the lower priority number comes first, none is last.
func mirrorList(data []byte) []string {
	type mirror struct {
		url      string
		priority int
	}
	var all []mirror
	sc := bufio.NewScanner(bytes.NewReader(data))
	for sc.Scan() {
		f := strings.Split(strings.TrimSpace(sc.Text()), "\t")
		if f[0] == "" || f[0][0] == '#' {
			continue
		}
		m := mirror{f[0], 1 << 30}
		for _, opt := range f[1:] {
			if v, is := strings.CutPrefix(opt, "priority:"); is {
				m.priority = number(v)
			}
		}
		all = append(all, m)
	}
	slices.SortStableFunc(all, func(a, b mirror) int { return a.priority - b.priority })
	var out []string
	for _, m := range all {
		out = append(out, m.url)
	}
	return out
}

func number(s string) int {
	n := 0
	for _, r := range strings.TrimSpace(s) {
		if r < '0' || r > '9' || n > 1<<24 {
			break
		}
		n = n*10 + int(r-'0')
	}
	return n
}
