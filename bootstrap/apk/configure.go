package apk

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/cfbuild/cfbuild/bootstrap/apk/unpack"
	"github.com/cfbuild/cfbuild/pipelines"
)

// configure makes the step that runs the packages' scripts in the image itself, in
// the order in which apk runs them, with its environment. It is one step, so that the
// scripts are in no layer but the first. No script, no step. The text depends on the
// packages alone.
func configure(sum unpack.Summary, epoch time.Time) []pipelines.Run {
	if len(sum.Scripts) == 0 {
		return nil
	}
	var b strings.Builder
	b.WriteString(prologue)
	owners(&b, sum.Late)
	for _, s := range sum.Scripts {
		fmt.Fprintf(&b, "script %s %s", s.Package, s.Path)
		for _, a := range s.Args {
			b.WriteString(" " + quote(a))
		}
		b.WriteString("\n")
		if s.Kind == "pre-install" && len(sum.Late) > 0 {
			b.WriteString("owners\n")
		}
	}
	if len(sum.Late) > 0 {
		b.WriteString("owners\ndatabase\n")
	}
	b.WriteString("rm -rf " + unpack.ScriptDir + "\n")
	return []pipelines.Run{{
		Name:    "package scripts",
		Shell:   b.String(),
		Network: pipelines.NetworkNone,
		Env:     map[string]string{"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "SOURCE_DATE_EPOCH": strconv.FormatInt(epoch.Unix(), 10)},
		User:    "0:0",
		Dir:     "/",
	}}
}

// prologue uses the shell's own commands only: others may not be there before the
// first script has made them (busybox).
const prologue = `umask 022
script() {
	package=$1
	shift
	APK_PACKAGE=$package "$@" </dev/null || {
		echo "script ${1##*/} of package $package failed with exit status $?" >&2
		exit 1
	}
}
`

// owners writes functions that give paths to users and groups once scripts have made
// them, and put their numbers into the database in the end. A name that nobody made
// leaves the number of the package, as apk does.
func owners(b *strings.Builder, late []unpack.Late) {
	if len(late) == 0 {
		return
	}
	b.WriteString(`number() {
	awk -F: -v n="$2" '$1 == n { print $3; exit }' /etc/$1
}
owners() {
	while read -r user uid group gid mode path; do
		n=$(number passwd "$user") m=$(number group "$group")
		chown -h "${n:-$uid}:${m:-$gid}" "$path"
		[ "$mode" = - ] || chmod "$mode" "$path"
	done <<END
`)
	marks := map[string]bool{}
	var seds strings.Builder
	for _, l := range late {
		fmt.Fprintf(b, "%s %d %s %d %s %s\n", orNobody(l.User), l.UID, orNobody(l.Group), l.GID, modeOf(l), l.Path)
		for _, m := range []struct{ file, name, mark string }{{"passwd", l.User, unpack.UserMark(l.User, l.UID)}, {"group", l.Group, unpack.GroupMark(l.Group, l.GID)}} {
			if m.name == "" || marks[m.mark] {
				continue
			}
			marks[m.mark] = true
			id := l.UID
			if m.file == "group" {
				id = l.GID
			}
			fmt.Fprintf(&seds, "\tn=$(number %s %s)\n\tsed -i \"s/%s/${n:-%d}/g\" /lib/apk/db/installed\n", m.file, m.name, m.mark, id)
		}
	}
	b.WriteString("END\n}\ndatabase() {\n" + seds.String() + "}\n")
}

// orNobody is a name that nobody has in place of none: the number counts then.
func orNobody(name string) string {
	if name == "" {
		return "-"
	}
	return name
}

// modeOf is the mode to set again, since chown takes setuid and setgid away.
func modeOf(l unpack.Late) string {
	if l.Mode&0o6000 == 0 {
		return "-"
	}
	return fmt.Sprintf("%o", l.Mode)
}

// quote makes one word of a shell.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
