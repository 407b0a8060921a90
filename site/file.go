package site

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// loadFile reads a site file; name is what messages call it. The format is
// described in docs/site.md.
func loadFile(name, path string, o LoadOptions) (Site, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return Site{}, &InvalidError{Key: fmt.Sprintf("site %q", name), Cause: reason(err),
			Fix: fmt.Sprintf("built-in sites are %s; examples/site.toml shows what a file looks like", strings.Join(Names(), ", "))}
	}
	root, line, bad := parseTOML(data)
	if bad != nil {
		return Site{}, bad.at(name, line, "")
	}
	r := &reader{file: name, dir: filepath.Dir(path), o: o}
	s := r.site(root)
	if r.err != nil {
		return Site{}, r.err
	}
	s.Name = name
	return s, nil
}

// reader turns the tree of a site file into a Site. It keeps the error of the
// lowest line and goes on after one, so that callers stay short.
type reader struct {
	file, dir string
	o         LoadOptions
	err       error
	line      int // of err
	notes     []string
}

func (r *reader) fail(line int, key string, f *fault) {
	if f != nil && (r.err == nil || line < r.line) {
		r.err, r.line = f.at(r.file, line, key), line
	}
}

// is says whether a value has the type a key wants.
func (r *reader) is(v *value, kind, key, example string) bool {
	if v.kind != kind {
		article := "a "
		if strings.ContainsAny(v.kind[:1], "aeiou") {
			article = "an "
		}
		r.fail(v.line, key, &fault{"is " + article + v.kind + ", not a " + kindName(kind), "write it as " + example})
		return false
	}
	return true
}

func kindName(kind string) string {
	if kind == "array" {
		return "list"
	}
	return kind
}

// known refuses keys that a table does not have.
func (r *reader) known(t *value, prefix string, keys ...string) {
	for _, k := range t.keys {
		if slices.Contains(keys, k) {
			continue
		}
		fix := "keys here are " + strings.Join(keys, ", ")
		if near := nearest(k, keys, 4); near != "" {
			fix = fmt.Sprintf("did you mean %s? %s", near, fix)
		}
		r.fail(t.table[k].line, prefix+k, &fault{"is an unknown key", fix})
	}
}

func (r *reader) text(t *value, key, prefix, example string) string {
	v := t.table[key]
	if v == nil || !r.is(v, "string", prefix+key, example) {
		return ""
	}
	return v.text
}

func (r *reader) truth(t *value, key, prefix string) bool {
	v := t.table[key]
	return v != nil && r.is(v, "boolean", prefix+key, key+" = true") && v.truth
}

// list gives the items of an array; a single value counts as a list of one.
func (r *reader) list(v *value) []*value {
	if v == nil {
		return nil
	}
	if v.kind == "array" {
		return v.items
	}
	return []*value{v}
}

func itemKey(key string, v *value, i int) string {
	if v.kind == "array" {
		return fmt.Sprintf("%s[%d]", key, i)
	}
	return key
}

func (r *reader) site(root *value) Site {
	r.known(root, "", "extends", "ca", "ca-mode", "mirrors", "indexes", "keyrings", "registry", "proxy")
	s := r.base(root)
	var use caUse
	if v := root.table["ca-mode"]; v != nil {
		use = r.mode(v, "ca-mode")
		for i := range s.CAs {
			s.CAs[i].BuildOnly, s.CAs[i].ImageOnly = use.buildOnly, use.imageOnly
		}
	}
	if v := root.table["ca"]; v != nil {
		s.CAs = addCAs(s.CAs, r.cas(v, use))
		s.Notes = append(s.Notes, r.notes...)
	}
	if v := root.table["mirrors"]; v != nil && r.is(v, "table", "mirrors", `[mirrors] with debian = ["https://…"] below`) {
		s.Mirrors = r.mirrors(v, s.Mirrors)
	}
	if v := root.table["indexes"]; v != nil && r.is(v, "table", "indexes", `[indexes] with pypi = ["https://…/simple"] below`) {
		s.Indexes = r.indexes(v, s.Indexes)
	}
	if v := root.table["keyrings"]; v != nil && r.is(v, "table", "keyrings", `[keyrings] with debian = "FILE" below`) {
		s.Keyrings = r.keyrings(v, s.Keyrings)
	}
	if v := root.table["registry"]; v != nil && r.is(v, "array", "registry", `[[registry]], with two brackets`) {
		s.Registries = r.registries(v, s.Registries)
	}
	if v := root.table["proxy"]; v != nil && r.is(v, "table", "proxy", `[proxy] with https = "http://…" below`) {
		r.proxy(v, &s.Proxy)
	}
	return s
}

// base is the site a file starts from: "public" unless it says otherwise.
func (r *reader) base(root *value) Site {
	v := root.table["extends"]
	if v == nil {
		return Public()
	}
	if !r.is(v, "string", "extends", `extends = "public"`) {
		return Site{}
	}
	switch name := v.text; {
	case name == "none":
		return Site{}
	case slices.Contains(Names(), name):
		s, err := Load(name, r.o)
		if err != nil && r.err == nil {
			r.err = err
		}
		return s
	default:
		names := append(Names(), "none")
		fix := "sites to start from are " + strings.Join(names, ", ")
		if near := nearest(name, names, 3); near != "" {
			fix = fmt.Sprintf("did you mean %s? %s", near, fix)
		}
		r.fail(v.line, "extends", &fault{fmt.Sprintf("%q is not a built-in site", name), fix})
	}
	return Site{}
}
