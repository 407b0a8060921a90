package deffile

import (
	"maps"
	"slices"
	"strings"

	"github.com/cfbuild/cfbuild/internal/steptrust"
	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/cfbuild/cfbuild/site"
)

// The site's authorities are lent to steps with a network (ADR 17): bundles of the
// system get them appended and are put back at the end of %post, when nothing of it stays.
const returnLent = `# What was lent for building is taken back.
cf_take_back
unset SSL_CERT_FILE CURL_CA_BUNDLE GIT_SSL_CAINFO REQUESTS_CA_BUNDLE PIP_CERT NODE_EXTRA_CA_CERTS APT_CONFIG`

const lendLibrary = `cf_bundles() {
	echo BUNDLES
}
cf_lend() {
	[ ! -e /run/cfbuild/ca.pem ] || return 0
	cp /run/cfbuild/site-ca.pem /run/cfbuild/ca.pem
	for f in $(cf_bundles); do
		[ ! -s "$f" ] || { cat "$f" >>/run/cfbuild/ca.pem; break; }
	done
	printf '%s\n' 'Acquire::https::CAInfo "/run/cfbuild/ca.pem";' >/run/cfbuild/apt.conf
	export VARIABLES
	n=0
	for f in $(cf_bundles); do
		n=$((n + 1))
		[ -s "$f" ] || continue
		f=$(readlink -f "$f")
		[ ! -e "/run/cfbuild/bundle$n" ] || continue
		cp -p "$f" "/run/cfbuild/bundle$n"
		cat "/run/cfbuild/site-ca.pem" >>"$f"
		cp "$f" "/run/cfbuild/bundle$n.lent"
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
	[ -e /run/cfbuild ] || return 0
	n=0
	for f in $(cf_bundles); do
		n=$((n + 1))
		[ -e "/run/cfbuild/bundle$n" ] || continue
		f=$(readlink -f "$f")
		# One that a step made anew never had them.
		[ "$(cat "$f")" != "$(cat "/run/cfbuild/bundle$n.lent")" ] || cp -p "/run/cfbuild/bundle$n" "$f"
	done
	for f in $(cat /run/cfbuild/links 2>/dev/null); do
		[ "$(readlink "$f")" != /run/cfbuild/site-ca.pem ] || rm -f "$f"
	done
	rm -rf /run/cfbuild
	[ -z "$cf_run" ] || rmdir /run 2>/dev/null || :
}
cf_run=
[ -e /run ] || cf_run=made`

// lend makes the next steps of a stage trust the site's authorities. Java's store is left out.
func (l *lowering) lend(c *chain, n pipelines.Node) {
	pem := site.Bundle(l.o.Site.BuildCAs())
	if len(pem) == 0 || c.lent {
		return
	}
	c.lent = true
	env := steptrust.Env()
	var variables []string
	for _, k := range slices.Sorted(maps.Keys(env)) {
		if k != "JAVA_TOOL_OPTIONS" {
			variables = append(variables, k+"="+env[k])
		}
	}
	var hashes []string
	for _, c := range l.o.Site.BuildCAs() {
		if h, ok := c.SubjectHash(); ok {
			hashes = append(hashes, h)
		}
	}
	n.Name, n.Where = "authorities of the site, while steps run", pipelines.Position{}
	lib := strings.NewReplacer("BUNDLES", strings.Join(steptrust.Bundles(), " "), "DIRECTORIES", strings.Join(steptrust.Directories(), " "), "HASHES", strings.Join(hashes, " "),
		"VARIABLES", strings.Join(variables, " ")).Replace(lendLibrary)
	mark := l.o.Mark
	l.o.Mark = nil
	l.inImage(c, n, true, append(append([]string{lib}, file(pipelines.File{Path: steptrust.Lone, Data: pem})...), "cf_lend")...)
	l.o.Mark = mark
}
