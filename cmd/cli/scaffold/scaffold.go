// Package scaffold writes a new program around cfbuild's packages: what
// `cfbuild init` makes.
package scaffold

import (
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"text/template"
)

//go:embed templates
var templates embed.FS

// ModulePath is the module new programs import.
const ModulePath = "github.com/cfbuild/cfbuild"

// Tags are the build tags a program with all backends wants.
const Tags = "containers_image_openpgp,exclude_graphdriver_btrfs"

// Options of [Files].
type Options struct {
	// Name of the program and of its target: see [Name].
	Name string
	// GoMod and GoSum are cfbuild's own.
	GoMod, GoSum string
	// Version of cfbuild to require and its go.sum hash ("h1:…"). With
	// Replace, a directory that holds cfbuild's source, neither is needed.
	Version, Sum string
	Replace      string
}

// Name makes a legal target name of a directory's: lower-case letters, digits,
// '.', '_' and '-'.
func Name(dir string) string {
	var b strings.Builder
	for _, r := range strings.ToLower(filepath.Base(dir)) {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '.' || r == '_' || r == '-' {
			b.WriteRune(r)
		} else {
			b.WriteByte('-')
		}
	}
	if s := strings.Trim(b.String(), ".-_"); s != "" {
		return s
	}
	return "images"
}

// Files gives the program's files by name.
func Files(o Options) (map[string][]byte, error) {
	out := map[string][]byte{}
	for name, from := range map[string]string{"main.go": "main.go.tmpl", "images.go": "images.go.tmpl", "untagged.go": "untagged.go.tmpl",
		"cfbuild.toml": "site.toml.tmpl", "README.md": "README.md.tmpl", ".gitignore": "gitignore.tmpl"} {
		t, err := template.ParseFS(templates, "templates/"+from)
		if err != nil {
			return nil, err
		}
		var b strings.Builder
		if err := t.Execute(&b, map[string]string{"Name": o.Name, "Tags": Tags, "GoTags": strings.ReplaceAll(Tags, ",", " && ")}); err != nil {
			return nil, err
		}
		out[name] = []byte(b.String())
	}
	mod, err := GoMod(o)
	if err != nil {
		return nil, err
	}
	out["go.mod"], out["go.sum"] = []byte(mod), []byte(goSum(o))
	return out, nil
}

// GoMod requires cfbuild and, as indirect, everything cfbuild requires: that
// makes the file complete (Go modules reference, "graph pruning"), so that the
// program builds without go mod tidy.
func GoMod(o Options) (string, error) {
	var b strings.Builder
	version := o.Version
	if version == "" {
		version = "v0.0.0"
	}
	fmt.Fprintf(&b, "module example.org/%s\n\n", o.Name)
	inside := false
	var requires []string
	for line := range strings.Lines(o.GoMod) {
		line = strings.TrimSpace(line)
		if v, ok := strings.CutPrefix(line, "go "); ok {
			fmt.Fprintf(&b, "go %s\n\n", v)
		}
		one, single := strings.CutPrefix(line, "require ")
		switch {
		case line == "require (":
			inside = true
		case line == ")":
			inside = false
		case inside && line != "":
			requires = append(requires, line)
		case single:
			requires = append(requires, one)
		}
	}
	if len(requires) == 0 {
		return "", errors.New("go.mod of cfbuild: has no require block")
	}
	fmt.Fprintf(&b, "require %s %s\n\nrequire (\n", ModulePath, version)
	for _, r := range requires {
		r, _, _ = strings.Cut(r, "//")
		fmt.Fprintf(&b, "\t%s // indirect\n", strings.TrimSpace(r))
	}
	b.WriteString(")\n")
	if o.Replace != "" {
		fmt.Fprintf(&b, "\nreplace %s => %s\n", ModulePath, quote(o.Replace))
	}
	return b.String(), nil
}

// quote writes a path as go.mod wants it.
func quote(path string) string {
	if strings.ContainsAny(path, " \t\"'`(),[]") {
		return fmt.Sprintf("%q", path)
	}
	return path
}

// goSum adds cfbuild's own hashes to those of what it requires.
func goSum(o Options) string {
	if o.Replace != "" || o.Sum == "" {
		return o.GoSum
	}
	return fmt.Sprintf("%[1]s %[2]s %[3]s\n%[1]s %[2]s/go.mod %[4]s\n", ModulePath, o.Version, o.Sum, modHash(o.GoMod)) + o.GoSum
}

// modHash is the "h1:" hash of a go.mod (golang.org/x/mod/sumdb/dirhash, Hash1).
func modHash(gomod string) string {
	inner := sha256.Sum256([]byte(gomod))
	outer := sha256.Sum256([]byte(hex.EncodeToString(inner[:]) + "  go.mod\n"))
	return "h1:" + base64.StdEncoding.EncodeToString(outer[:])
}

// ErrNotEmpty: the directory holds something already.
var ErrNotEmpty = errors.New("is not empty")

// Write makes the directory with the files, whole or not at all. A directory that
// exists must be empty; if it is inUse (a shell stands in it) it is filled rather
// than replaced.
func Write(dir string, files map[string][]byte, inUse bool) (err error) {
	entries, err := os.ReadDir(dir)
	switch {
	case err == nil && len(entries) > 0:
		return fmt.Errorf("%s: %w", dir, ErrNotEmpty)
	case err == nil && inUse:
		return fill(dir, files)
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return err
	}
	parent := filepath.Dir(dir)
	if err := os.MkdirAll(parent, 0o755); err != nil {
		return err
	}
	tmp, err := os.MkdirTemp(parent, ".init-")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			os.RemoveAll(tmp)
		}
	}()
	if err := os.Chmod(tmp, 0o755); err != nil {
		return err
	}
	if err := fill(tmp, files); err != nil {
		return err
	}
	if err := os.Remove(dir); err != nil && !errors.Is(err, fs.ErrNotExist) { // empty, as was seen above
		return err
	}
	return os.Rename(tmp, dir)
}

func fill(dir string, files map[string][]byte) error {
	for name, data := range files {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			return err
		}
	}
	return nil
}
