package lint

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/cfbuild/cfbuild/internal/pkgdb"
)

// largestDatabase bounds what is read of a package database, in bytes.
const largestDatabase = 64 << 20

// database is the package database of one layer.
type database struct {
	path  string
	layer int
	names map[string]bool
}

// packageNames reads the package database of one layer, dpkg's, apk's or rpm's, by
// the path of its file; ok is false for all other files.
func packageNames(p string, r io.Reader) (names map[string]bool, ok bool, err error) {
	parse := pkgdb.Parser(p)
	if parse == nil {
		return nil, false, nil
	}
	b, err := io.ReadAll(r)
	if err != nil {
		return nil, true, err
	}
	all, err := parse(b)
	if err != nil { // what cannot be read says nothing of packages
		return nil, true, nil
	}
	names = map[string]bool{}
	for _, one := range all {
		names[one.Name] = true
	}
	return names, true, nil
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
