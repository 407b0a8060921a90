package site

import (
	"fmt"
	"maps"
	"slices"
)

// cas reads the "ca" list; use is what entries are for that do not say it.
func (r *reader) cas(v *value, use caUse) []Certificate {
	var out []Certificate
	for i, item := range r.list(v) {
		key := itemKey("ca", v, i)
		entry, use := item, use
		if item.kind == "table" {
			r.known(item, key+".", "file", "mode", "build-only")
			use = r.caUse(item, key+".", use)
			if entry = item.table["file"]; entry == nil {
				r.fail(item.line, key, &fault{"has no file", `write { file = "ca.pem", mode = "build-only" }`})
				continue
			}
		}
		if !r.is(entry, "string", key, `"ca.pem"`) {
			continue
		}
		if entry.text == hostEntry {
			out = addCAs(out, r.machineCAs(key, use))
			continue
		}
		cas, bad := r.o.readCAs(entry.text, r.dir, use)
		r.fail(entry.line, key, bad)
		out = addCAs(out, cas)
	}
	return out
}

// caUse reads mode = "…", or its older form build-only = true.
func (r *reader) caUse(t *value, prefix string, use caUse) caUse {
	mode, old := t.table["mode"], t.table["build-only"]
	switch {
	case mode != nil && old != nil:
		r.fail(old.line, prefix+"build-only", &fault{"stands beside mode", `take it out: mode = "build-only" says the same`})
	case mode != nil:
		return r.mode(mode, prefix+"mode")
	case old != nil && r.truth(t, "build-only", prefix):
		return caUse{buildOnly: true}
	}
	return use
}

func (r *reader) mode(v *value, key string) caUse {
	const fix = `modes are "both" (trusted while building and in the image), "build-only", and "baked" (in the image alone)`
	if !r.is(v, "string", key, `"build-only"`) {
		return caUse{}
	}
	use, known := caModes()[v.text]
	if !known {
		hint := fix
		if near := nearest(v.text, slices.Sorted(maps.Keys(caModes())), 3); near != "" {
			hint = fmt.Sprintf("did you mean %s? %s", near, fix)
		}
		r.fail(v.line, key, &fault{fmt.Sprintf("%q is not a mode", v.text), hint})
	}
	return use
}

// machineCAs is the entry "host": what this machine trusts beyond the public
// roots. That there is nothing is no error: the same file is used on machines that
// are not behind the proxy.
func (r *reader) machineCAs(key string, use caUse) []Certificate {
	note := func(format string, args ...any) { r.notes = append(r.notes, fmt.Sprintf(format, args...)) }
	cas := hostCAs(r.o, note)
	if len(cas) == 0 {
		note("%s: this machine trusts nothing beyond the public roots", key)
	}
	for i := range cas {
		cas[i].BuildOnly, cas[i].ImageOnly = use.buildOnly, use.imageOnly
	}
	return cas
}
