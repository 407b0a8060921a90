package deffile

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/cfbuild/cfbuild/pipelines"
)

// The functions that steps are written with. In %setup, which runs on the host, R is
// the image's directory, and links are followed in the image, not to the host's own files.
// In %post R is empty.
const library = `cf_at() { # PATH: sets p to where it is, d to its directory
	p=$R rest=${1#/} links=0
	while [ "$rest" != "${rest#*/}" ]; do
		c=${rest%%/*} rest=${rest#*/}
		case $c in
		'' | .) ;;
		..) p=${p%/*} ;;
		*)
			p=$p/$c
			if [ "$R" ] && [ -L "$p" ]; then
				links=$((links + 1))
				[ $links -lt 40 ] || { echo "$1: too many links" >&2; return 1; }
				c=$(readlink "$p") p=${p%/*}
				[ "$c" = "${c#/}" ] || p=$R
				rest=${c#/}/$rest
			fi
			;;
		esac
		case $p/ in "$R"/*) ;; *) p=$R ;; esac
	done
	d=${p:-/} p=$p/$rest
}
cf_own() { # MODE OWNER
	chown "$2" "$p"
	chmod "$1" "$p"
}
cf_dir() { # PATH MODE OWNER
	cf_at "${1%/}/."
	p=$d
	mkdir -p "$p"
	cf_own "$2" "$3"
}
cf_new() {
	cf_at "$1"
	mkdir -p "$d"
	[ ! -L "$p" ] || rm -f "$p"
}
cf_file() { # PATH MODE OWNER TEXT
	cf_new "$1"
	printf %s "$4" >"$p"
	cf_own "$2" "$3"
}
cf_bytes() { # PATH MODE OWNER BYTES, for printf's %b
	cf_new "$1"
	printf %b "$4" >"$p"
	cf_own "$2" "$3"
}
cf_link() { # PATH TARGET OWNER
	cf_new "$1"
	ln -sfn "$2" "$p"
	chown -h "$3" "$p"
}
cf_remove() { # DIRECTORY PATTERN
	cf_at "$1/x" || return 0
	for f in "$d"/* "$d"/.*; do
		case ${f##*/} in
		. | ..) ;;
		# A mount point stays, empty.
		$2) rm -rf "$f" || { [ -d "$f" ] && [ -z "$(ls -A "$f")" ]; } ;;
		esac
	done
}`

// copyLibrary is for %setup alone: copies come from the host or from another stage.
const copyLibrary = `cf_inside() { # PATH: no directory on the way is a link, which could lead out
	(
		w=$R i=${1#/}
		while [ "$i" != "${i#*/}" ]; do
			w=$w/${i%%/*} i=${i#*/}
			[ ! -L "$w" ] || { echo "$1: ${w#"$R"} is a symbolic link: name what it leads to" >&2; exit 1; }
		done
	)
}
cf_copy() { # OWNER MODE FROM DST SOURCE...: of directories what is in them
	own=$1 mode=$2 from=$3 dst=$4 many=$(($# > 5)) t=$R/.cfbuild-copy root=$R
	shift 4
	rm -rf "$t"
	mkdir "$t"
	as=
	for s; do
		R=$from
		cf_at "/${s#/}"
		R=$root s=$p ok=
		IFS=
		for f in $s; do
			[ -e "$f" ] || [ -L "$f" ] || continue
			ok=1
			if [ -L "$f" ]; then # what it leads to
				R=$from
				cf_at "${f#"$from"}/."
				R=$root as=${f##*/}
				cp -a "$d" "$t/$as"
				continue
			fi
			(R=$from; cf_inside "${f#"$from"}")
			if [ -d "$f" ]; then cp -a "$f/." "$t/"
			else cp -a "$f" "$t/" && as=${f##*/}
			fi
		done
		unset IFS
		[ "$ok" ] || { echo "$s: not there" >&2; return 1; }
	done
	cf_at "$dst"
	if [ "$as" ] && [ $many = 0 ] && [ "$dst" = "${dst%/}" ] && [ ! -d "$p" ]; then # a file by its new name
		[ "$as" = "${p##*/}" ] || mv "$t/$as" "$t/${p##*/}"
		p=$d
	else
		cf_at "${dst%/}/."
		p=$d
	fi
	[ -z "$mode" ] || find "$t" -type f -exec chmod "$mode" {} +
	mkdir -p "$p"
	tar -C "$t" --xattrs --xattrs-include='*' --numeric-owner ${own:+--owner=${own%:*} --group=${own#*:}} -cf "$t.tar" .
	tar -C "$p" --xattrs --xattrs-include='*' --numeric-owner ${cf_merge:+--no-overwrite-dir} -xpf "$t.tar"
	rm -rf "$t" "$t.tar"
}`

// mountLibrary shows a step files of other images, in %post.
const mountLibrary = `cf_show() { # SOURCE TARGET: until cf_hide
	if [ -e "$2" ] || [ -L "$2" ]; then mv "$2" "$2.cfbuild-hidden"; fi
	d=${2%/*} made=
	while [ "$d" ] && [ ! -e "$d" ]; do made=$d d=${d%/*}; done
	echo "$made" >"$1.made"
	mkdir -p "${2%/*}/"
	mv "$1" "$2"
}
cf_hide() { # SOURCE TARGET
	rm -rf "$2"
	if [ -e "$2.cfbuild-hidden" ] || [ -L "$2.cfbuild-hidden" ]; then mv "$2.cfbuild-hidden" "$2"; fi
	made=$(cat "$1.made")
	[ -z "$made" ] || rm -rf "$made"
	rm -f "$1.made"
}`

// shared are paths that Apptainer mounts from the host while %post runs, the first two
// unless it is configured not to.
var shared = []string{"/tmp", "/var/tmp", "/dev", "/proc", "/sys", "/etc/hosts", "/etc/resolv.conf"}

func (l *lowering) shared() []string {
	if l.o.OwnTmp {
		return shared[2:]
	}
	return shared
}

// ofHost says whether a path is one of the host's in %post, or leads to one.
func (l *lowering) ofHost(p string) bool {
	return slices.ContainsFunc(l.shared(), func(s string) bool { return p == s || strings.HasPrefix(p, s+"/") })
}

// reaches says whether removing a pattern (path.Match in its last element) would remove
// something of the host's in %post: what is below a mount, a mount point itself, or a
// directory above one.
func (l *lowering) reaches(pattern string) bool {
	if l.ofHost(path.Clean(pattern)) {
		return true
	}
	dir, last := path.Split(path.Clean(pattern))
	for _, s := range l.shared() {
		for p := s; p != "/"; p = path.Dir(p) {
			if path.Dir(p)+"/" == dir || path.Dir(p) == "/" && dir == "/" {
				if ok, err := path.Match(last, path.Base(p)); ok || err != nil {
					return true
				}
			}
		}
	}
	return false
}

// remove writes cf_remove for a pattern.
func remove(pattern string) string {
	dir, last := path.Split(path.Clean(pattern))
	return "cf_remove " + quote(strings.TrimSuffix(dir, "/")) + " " + quote(casePattern(last))
}

// casePattern turns a pattern of path.Match into one of the shell's case.
func casePattern(p string) string { return strings.ReplaceAll(p, "[^", "[!") }

// file writes one File operation.
func file(o pipelines.File) []string {
	owner := o.Owner
	if owner == "" {
		owner = "0:0"
	}
	mode := o.Mode
	if mode == 0 {
		mode = 0o644
		if o.Dir {
			mode = 0o755
		}
	}
	at := fmt.Sprintf("%s %04o %s", quote(o.Path), mode, owner)
	switch {
	case o.Dir:
		return []string{"cf_dir " + at}
	case o.Link != "":
		return []string{fmt.Sprintf("cf_link %s %s %s", quote(o.Path), quote(o.Link), owner)}
	}
	data := string(o.Data)
	word, name, format := quote, "cf_file", "%s"
	if !plain(data) {
		word, name, format = octal, "cf_bytes", "%b"
	}
	var out []string
	for i, part := range pieces(data) {
		if i == 0 {
			out = append(out, fmt.Sprintf("%s %s %s", name, at, word(part)))
		} else {
			out = append(out, fmt.Sprintf(`printf %s %s >>"$p"`, format, word(part)))
		}
	}
	return out
}
