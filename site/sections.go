package site

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

var repositoryRE = regexp.MustCompile(`^[a-z0-9][a-z0-9.+-]*$`)

// repository refuses names that are a slip of the pen away from a known one: they
// would be passed over in silence.
func (r *reader) repository(line int, section, name string) {
	known := knownRepositories()
	if slices.Contains(known, name) {
		return
	}
	if near := nearest(name, known, 2); near != "" {
		r.fail(line, section+"."+name, &fault{"is not a known repository", fmt.Sprintf("did you mean %s? names that close to a known one are refused", near)})
	}
	if !repositoryRE.MatchString(name) {
		r.fail(line, section+"."+name, &fault{"is not a repository name", "use lower-case letters, digits, '.', '+' and '-'"})
	}
}

// mirrors of the file come first, those of the site it extends follow.
func (r *reader) mirrors(t *value, base map[string][]Mirror) map[string][]Mirror {
	own := map[string][]Mirror{}
	for _, repo := range t.keys {
		r.repository(t.table[repo].line, "mirrors", repo)
		own[repo] = r.urls(t.table[repo], "mirrors."+repo, `"https://mirror.example.org/debian"`, cleanMirror)
	}
	return before(own, base)
}

// indexes of the file come first, those of the site it extends follow.
func (r *reader) indexes(t *value, base map[string][]Mirror) map[string][]Mirror {
	own := map[string][]Mirror{}
	for _, kind := range t.keys {
		v := t.table[kind]
		if !slices.Contains(IndexKinds(), kind) {
			fix := "kinds are " + strings.Join(IndexKinds(), ", ")
			if near := nearest(kind, IndexKinds(), 2); near != "" {
				fix = fmt.Sprintf("did you mean %s? %s", near, fix)
			}
			r.fail(v.line, "indexes."+kind, &fault{"is not a kind of index", fix})
			continue
		}
		own[kind] = r.urls(v, "indexes."+kind, fmt.Sprintf("%q", Public().IndexURLs(kind)[0]),
			func(s string) (string, *fault) { return cleanIndex(kind, s) })
	}
	return before(own, base)
}

// urls reads a list of base URLs, each checked by clean.
func (r *reader) urls(v *value, name, example string, clean func(string) (string, *fault)) []Mirror {
	var own []Mirror
	seen := map[string]int{}
	for i, item := range r.list(v) {
		key := itemKey(name, v, i)
		m, ok := r.mirror(item, key, example, clean)
		if !ok {
			continue
		}
		if first, twice := seen[m.URL]; twice {
			r.fail(item.line, key, &fault{fmt.Sprintf("%q is there twice, first in line %d", m.URL, first), "take one out"})
		}
		seen[m.URL] = item.line
		own = append(own, m)
	}
	if len(own) == 0 {
		r.fail(v.line, name, &fault{"lists no mirror", `name at least one, or take the key out`})
	}
	return own
}

func (r *reader) mirror(v *value, key, example string, clean func(string) (string, *fault)) (Mirror, bool) {
	m := Mirror{}
	u := v
	if v.kind == "table" {
		r.known(v, key+".", "url", "build-only", "image-only")
		m.BuildOnly = r.truth(v, "build-only", key+".")
		m.ImageOnly = r.truth(v, "image-only", key+".")
		if m.BuildOnly && m.ImageOnly {
			r.fail(v.line, key, &fault{"is both build-only and image-only", "take both out: a mirror is used for both without them"})
		}
		if u = v.table["url"]; u == nil {
			r.fail(v.line, key, &fault{"has no url", `write { url = "https://…", build-only = true }`})
			return m, false
		}
	}
	if !r.is(u, "string", key, example) {
		return m, false
	}
	url, bad := clean(u.text)
	r.fail(u.line, key, bad)
	m.URL = url
	return m, bad == nil
}

// registries of the file replace those of the same prefix.
func (r *reader) registries(v *value, base []Registry) []Registry {
	out := slices.Clone(base)
	seen := map[string]int{}
	for i, t := range v.items {
		key := fmt.Sprintf("registry[%d]", i)
		if !r.is(t, "table", key, "[[registry]]") {
			continue
		}
		r.known(t, key+".", "prefix", "location", "insecure", "mirrors")
		g := Registry{
			Prefix:   r.text(t, "prefix", key+".", `prefix = "docker.io"`),
			Location: r.text(t, "location", key+".", `location = "docker.io"`),
			Insecure: r.truth(t, "insecure", key+"."),
		}
		if g.Prefix == "" {
			r.fail(t.line, key, &fault{"has no prefix", `write which references it is for: prefix = "docker.io"`})
			continue
		}
		r.fail(t.table["prefix"].line, key+".prefix", checkLocation(g.Prefix))
		if g.Location != "" {
			r.fail(t.table["location"].line, key+".location", checkLocation(g.Location))
		}
		if first, twice := seen[g.Prefix]; twice {
			r.fail(t.line, key, &fault{fmt.Sprintf("prefix %q is there twice, first in line %d", g.Prefix, first), "join the two"})
		}
		seen[g.Prefix] = t.line
		g.Mirrors = r.registryMirrors(t.table["mirrors"], key+".mirrors")
		if at := slices.IndexFunc(out, func(o Registry) bool { return o.Prefix == g.Prefix }); at >= 0 {
			out[at] = g
		} else {
			out = append(out, g)
		}
	}
	return out
}

func (r *reader) registryMirrors(v *value, key string) []RegistryMirror {
	var out []RegistryMirror
	seen := map[string]bool{}
	for i, item := range r.list(v) {
		key := itemKey(key, v, i)
		m := RegistryMirror{}
		loc := item
		if item.kind == "table" {
			r.known(item, key+".", "location", "insecure")
			m.Insecure = r.truth(item, "insecure", key+".")
			if loc = item.table["location"]; loc == nil {
				r.fail(item.line, key, &fault{"has no location", `write { location = "cache.example.org:5000", insecure = true }`})
				continue
			}
		}
		if !r.is(loc, "string", key, `"cache.example.org:5000"`) {
			continue
		}
		m.Location = loc.text
		r.fail(loc.line, key, checkLocation(m.Location))
		if seen[m.Location] {
			r.fail(loc.line, key, &fault{fmt.Sprintf("%q is there twice", m.Location), "take one out"})
		}
		seen[m.Location] = true
		out = append(out, m)
	}
	return out
}

// proxy values may name a variable, which is where a proxy's password belongs.
func (r *reader) proxy(t *value, p *Proxy) {
	r.known(t, "proxy.", "http", "https", "no")
	for _, key := range []string{"http", "https"} {
		to := &p.HTTP
		if key == "https" {
			to = &p.HTTPS
		}
		v := t.table[key]
		if v == nil {
			continue
		}
		s := r.text(t, key, "proxy.", key+` = "http://proxy.example.org:3128"`)
		if name, is := strings.CutPrefix(s, "$"); is {
			name = strings.Trim(name, "{}")
			if s = r.o.getenv(name); s == "" {
				r.fail(v.line, "proxy."+key, &fault{fmt.Sprintf("variable %s is not set", name), "set it, or take the line out"})
			}
		} else if strings.Contains(s, "@") {
			r.fail(v.line, "proxy."+key, &fault{"holds credentials", fmt.Sprintf("put the URL in a variable and write %s = \"$NAME\"", key)})
		}
		if s != "" {
			r.fail(v.line, "proxy."+key, checkProxy(s))
		}
		*to = s
	}
	if v := t.table["no"]; v != nil {
		var hosts []string
		for i, item := range r.list(v) {
			if r.is(item, "string", itemKey("proxy.no", v, i), `no = ["localhost", ".example.org"]`) {
				hosts = append(hosts, item.text)
			}
		}
		p.No = strings.Join(hosts, ",")
	}
}
