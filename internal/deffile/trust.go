package deffile

import (
	"maps"
	"slices"
	"strings"

	"github.com/cfbuild/cfbuild/internal/steptrust"
	"github.com/cfbuild/cfbuild/site"
)

// The site's authorities are lent to steps with a network (ADR 17): before the step
// the bundles of the system get them appended, after it they are put back. Where a
// step appended to one, what was lent is cut out; one that it made anew never had it.
const lendLibrary = `cf_bundles="BUNDLES"
cf_lend() {
	cf_run=
	[ -e /run ] || cf_run=made
	mkdir -p /run/cfbuild
	printf %s "$cf_ca" >/run/cfbuild/site-ca.pem
	: >/run/cfbuild/ca.pem
	for f in $cf_bundles; do
		[ ! -s "$f" ] || { cat "$f" >/run/cfbuild/ca.pem; break; }
	done
	cat /run/cfbuild/site-ca.pem >>/run/cfbuild/ca.pem
	echo 'Acquire::https::CAInfo "/run/cfbuild/ca.pem";' >/run/cfbuild/apt.conf
	n=0
	for f in $cf_bundles; do
		n=$((n + 1)) b=/run/cfbuild/bundle$n
		[ -f "$f" ] || continue
		f=$(readlink -f "$f")
		! grep -qxF "$f" /run/cfbuild/files 2>/dev/null || continue
		echo "$f" >>/run/cfbuild/files
		echo "$f" >"$b.path"
		cp -p "$f" "$b"
		cat /run/cfbuild/site-ca.pem >>"$f"
		cp "$f" "$b.lent"
	done
	for f in DIRECTORIES; do
		[ -d "$f" ] || continue
		for h in HASHES; do
			n=0
			while [ -e "$f/$h.$n" ] || [ -L "$f/$h.$n" ]; do n=$((n + 1)); done
			ln -s /run/cfbuild/site-ca.pem "$f/$h.$n"
			echo "$f/$h.$n" >>/run/cfbuild/links
		done
	done
}
cf_take_back() {
	for b in /run/cfbuild/bundle?; do
		[ -e "$b" ] || continue
		f=$(cat "$b.path")
		[ -f "$f" ] || continue
		n=$(wc -c <"$b.lent")
		[ "$(head -c "$n" "$f")" = "$(cat "$b.lent")" ] || continue
		tail -c "+$((n + 1))" "$f" >"$b.rest"
		if [ -s "$b.rest" ]; then cat "$b" "$b.rest" >"$f"
		else cp -p "$b" "$f"
		fi
	done
	for f in $(cat /run/cfbuild/links 2>/dev/null); do
		[ "$(readlink "$f")" != /run/cfbuild/site-ca.pem ] || rm -f "$f"
	done
	rm -rf /run/cfbuild
	[ -z "$cf_run" ] || rmdir /run 2>/dev/null || :
}`

// lent is what is around a step that trusts the site's authorities.
type lent struct {
	before, after []string
	// exports stand before what the image and the step set, which counts more.
	exports string
}

// lend gives what makes a step trust the site's authorities; nothing when there are
// none. Java's store is left out.
func (l *lowering) lend(c *chain) lent {
	cas := l.o.Site.BuildCAs()
	pem := string(site.Bundle(cas))
	if pem == "" {
		return lent{}
	}
	out := lent{before: []string{"cf_lend"}, after: []string{"cf_take_back"}}
	env := steptrust.Env()
	for _, k := range slices.Sorted(maps.Keys(env)) {
		if k != "JAVA_TOOL_OPTIONS" {
			out.exports += "export " + k + "=" + env[k] + "\n"
		}
	}
	if c.lent {
		return out
	}
	c.lent = true
	var hashes []string
	for _, a := range cas {
		if h, ok := a.SubjectHash(); ok {
			hashes = append(hashes, h)
		}
	}
	lib := []string{"cf_ca="}
	for _, part := range pieces(pem) {
		lib = append(lib, "cf_ca=$cf_ca"+quote(part))
	}
	lib = append(lib, strings.NewReplacer("BUNDLES", strings.Join(steptrust.Bundles(), " "), "DIRECTORIES", strings.Join(steptrust.Directories(), " "),
		"HASHES", strings.Join(hashes, " ")).Replace(lendLibrary))
	out.before = append(lib, out.before...)
	return out
}
