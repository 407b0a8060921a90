package site

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// caUse is what an entry of a "ca" list is for; zero: both.
type caUse struct{ buildOnly, imageOnly bool }

// caModes are the values of "mode" and "ca-mode".
func caModes() map[string]caUse {
	return map[string]caUse{"both": {}, "build-only": {buildOnly: true}, "baked": {imageOnly: true}}
}

// hostEntry is the entry of a "ca" list that means this machine's own store.
const hostEntry = "host"

// readCAs reads one entry of a "ca" list; relative paths are relative to dir. The
// value of a variable is never repeated in an error: it may be a secret that was
// put into the wrong one.
func (o LoadOptions) readCAs(entry, dir string, use caUse) ([]Certificate, *fault) {
	entry = strings.TrimSpace(entry)
	from := ""
	if strings.HasPrefix(entry, "$") {
		name := strings.Trim(entry[1:], "{}")
		from, entry = "$"+name+": ", strings.TrimSpace(o.getenv(name))
		if entry == "" {
			return nil, &fault{fmt.Sprintf("variable %s is not set", name),
				"in GitLab define it under Settings → CI/CD → Variables with type File"}
		}
	}
	if strings.Contains(entry, "-----BEGIN ") {
		cas, bad := o.toCAs([]byte(entry), "", use)
		if bad != nil {
			bad.cause = from + bad.cause
		}
		return cas, bad
	}
	if entry == "" {
		return nil, &fault{"is empty", ""}
	}
	files, bad := caFiles(entry, dir)
	if bad != nil {
		if from != "" {
			bad = &fault{from + "names no file", "give the variable the type File in GitLab, or a path, a directory, a pattern or PEM as its value, which is not shown as it may be secret"}
		}
		return nil, bad
	}
	var out []Certificate
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			return nil, &fault{from + reason(err), ""}
		}
		base := strings.TrimSuffix(filepath.Base(f), filepath.Ext(f))
		cas, bad := o.toCAs(data, base, use)
		if bad != nil {
			return nil, &fault{from + f + ": " + bad.cause, strings.ReplaceAll(bad.fix, "FILE", f)}
		}
		out = append(out, cas...)
	}
	return out, nil
}

// caFiles gives the files an entry means: itself, those of a directory, or those a
// pattern matches, sorted.
func caFiles(entry, dir string) ([]string, *fault) {
	path := entry
	if !filepath.IsAbs(path) {
		path = filepath.Join(dir, path)
	}
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		var files []string
		for _, ending := range []string{"*.pem", "*.crt", "*.cer"} {
			m, _ := filepath.Glob(filepath.Join(globQuote(path), ending))
			files = append(files, m...)
		}
		slices.Sort(files)
		if len(files) == 0 {
			return nil, &fault{fmt.Sprintf("directory %s holds no *.pem, *.crt or *.cer file", path), ""}
		}
		return files, nil
	} else if err == nil {
		return []string{path}, nil
	} else if !strings.ContainsAny(entry, "*?[") {
		return nil, &fault{reason(err), "a relative path starts at " + cmp.Or(dir, ".") + "; a directory, a pattern such as Netskope*.pem or a $VARIABLE will do too"}
	}
	files, err := filepath.Glob(path)
	if err != nil {
		return nil, &fault{fmt.Sprintf("pattern %q: %v", entry, err), ""}
	}
	if len(files) == 0 {
		return nil, &fault{fmt.Sprintf("no file matches %s", path), "put the certificates there, or take the entry out"}
	}
	return files, nil
}

func globQuote(s string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(s)
}

// reason is an error of the os package as "PATH: no such file or directory".
func reason(err error) string {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Path + ": " + p.Err.Error()
	}
	return err.Error()
}
