package lint

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// largestDatabase bounds what is read of a package database, in bytes.
const largestDatabase = 64 << 20

// database is the package database of one layer.
type database struct {
	path  string
	layer int
	names map[string]bool
}

// databases are those that are text: dpkg's status file, apk's installed
// (apk-installed(5)). rpm's is not.
var databases = map[string]func(string) map[string]bool{
	"/var/lib/dpkg/status": dpkgNames, "/lib/apk/db/installed": apkNames, "/usr/lib/apk/db/installed": apkNames,
}

func dpkgNames(status string) map[string]bool {
	out := map[string]bool{}
	for stanza := range strings.SplitSeq(status, "\n\n") {
		if name := field(stanza, "Package"); name != "" && strings.HasSuffix(field(stanza, "Status"), " installed") {
			out[name] = true
		}
	}
	return out
}

func apkNames(installed string) map[string]bool {
	out := map[string]bool{}
	for line := range strings.Lines(installed) {
		if name, ok := strings.CutPrefix(line, "P:"); ok {
			out[strings.TrimSpace(name)] = true
		}
	}
	return out
}

// field reads one line of a control stanza.
func field(stanza, name string) string {
	for line := range strings.Lines(stanza) {
		if v, ok := strings.CutPrefix(line, name+":"); ok {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

// undone finds packages that a layer has and the finished image has not.
func (i *image) undone(all []database) {
	last := map[string]database{}
	for _, d := range all {
		last[d.path] = d
	}
	told := map[string]bool{}
	for _, d := range all {
		if _, still := i.fs.Lookup(d.path); !still { // the database itself was removed: a small image made of a large one
			continue
		}
		var gone []string
		for _, name := range slices.Sorted(maps.Keys(d.names)) {
			if !last[d.path].names[name] && !told[name] {
				told[name] = true
				gone = append(gone, name)
			}
		}
		if len(gone) > most {
			i.at(PackagesUndone, d.layer, Finding{Subject: "packages of " + stepOr(i, d.layer),
				Message: fmt.Sprintf("later layers remove %d packages of this one, which stay in it: %s", len(gone), oneLine(strings.Join(gone, ", ")))})
			continue
		}
		for _, name := range gone {
			i.at(PackagesUndone, d.layer, Finding{Subject: name, Message: fmt.Sprintf("a later layer removes %s, which stays in this one", name)})
		}
	}
}
