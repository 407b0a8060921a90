package distkeys

import (
	"embed"
	"io/fs"
	"slices"
)

//go:embed alpine
var alpine embed.FS

// File is one key as the distribution's own package has it. apk looks for a key by
// the name of its file.
type File struct {
	Name string
	Data []byte
}

// Alpine gives the public keys that Alpine's branches are signed with, of all
// architectures, by name.
func Alpine() []File {
	entries, err := fs.Glob(alpine, "alpine/*.rsa.pub")
	if err != nil {
		return nil
	}
	slices.Sort(entries)
	var out []File
	for _, e := range entries {
		if data, err := alpine.ReadFile(e); err == nil {
			out = append(out, File{e[len("alpine/"):], data})
		}
	}
	return out
}

// alpineKeys are all of them in one text.
func alpineKeys() []byte {
	var out []byte
	for _, f := range Alpine() {
		out = append(out, f.Data...)
	}
	return out
}
