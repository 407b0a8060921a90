package apkrepo

import (
	"archive/tar"
	"bufio"
	"bytes"
	"io"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Alpine gives the packages of the image of Alpine as they are in it: files, owners,
// scripts, triggers and relations of its own database.
func Alpine(t testing.TB) []Pkg {
	t.Helper()
	byPath := map[string]Entry{}
	for _, e := range Root(t) {
		byPath[e.Name] = e
	}
	triggers := map[string][]string{} // by checksum
	for line := range strings.Lines(string(file(t, "lib/apk/db/triggers", "usr/lib/apk/db/triggers"))) {
		if f := strings.Fields(line); len(f) > 1 {
			triggers[f[0]] = f[1:]
		}
	}
	scripts := installScripts(t)
	var out []Pkg
	var p *Pkg
	dir := ""
	s := bufio.NewScanner(bytes.NewReader(file(t, "lib/apk/db/installed", "usr/lib/apk/db/installed")))
	for s.Scan() {
		key, v, ok := strings.Cut(s.Text(), ":")
		if !ok {
			p = nil
			continue
		}
		if p == nil {
			out = append(out, Pkg{})
			p = &out[len(out)-1]
		}
		switch key {
		case "C":
			p.Triggers = triggers[v]
		case "V":
			p.Version = v
			p.Scripts = scripts(p.Name + "-" + v)
		case "F":
			dir = v
			e, ok := byPath[dir]
			if !ok {
				e = Dir(dir, 0o755) // docker empties /dev
			}
			if dir != "" {
				p.Files = append(p.Files, e)
			}
		case "R":
			e, ok := byPath[strings.TrimPrefix(dir+"/"+v, "/")]
			if !ok {
				t.Fatalf("the image of Alpine has no %s/%s", dir, v)
			}
			if e.Typeflag == tar.TypeLink { // packages have files of their own
				name := e.Name
				e = byPath[strings.TrimPrefix(e.Linkname, "./")]
				e.Name = name
			}
			p.Files = append(p.Files, e)
		default:
			p.set(key, v)
		}
	}
	return out
}

// set is a field of a stanza that needs nothing else.
func (p *Pkg) set(key, v string) {
	for k, field := range map[string]*string{"P": &p.Name, "A": &p.Arch, "T": &p.Desc, "U": &p.URL, "L": &p.License, "o": &p.Origin, "m": &p.Maintainer, "c": &p.Commit} {
		if k == key {
			*field = v
		}
	}
	for k, field := range map[string]*[]string{"D": &p.Depends, "p": &p.Provides, "i": &p.InstallIf, "r": &p.Replaces} {
		if k == key {
			*field = strings.Fields(v)
		}
	}
	n, _ := strconv.ParseInt(v, 10, 64)
	switch key {
	case "t":
		p.Built = time.Unix(n, 0)
	case "k":
		p.ProviderPriority = int(n)
	case "q":
		p.ReplacesPriority = int(n)
	}
}

// installScripts gives the scripts of a package, NAME-VERSION, by kind. In the archive they are
// called NAME-VERSION.CHECKSUM.KIND.
func installScripts(t testing.TB) func(pkg string) map[string]string {
	t.Helper()
	data, err := unzip(file(t, "lib/apk/db/scripts.tar", "lib/apk/db/scripts.tar.gz", "usr/lib/apk/db/scripts.tar.gz"))
	if err != nil {
		t.Fatal(err)
	}
	type script struct{ name, text string }
	var all []script
	for r := tar.NewReader(bytes.NewReader(data)); ; {
		h, err := r.Next()
		if err != nil {
			break
		}
		body, _ := io.ReadAll(r)
		all = append(all, script{h.Name, string(body)})
	}
	return func(pkg string) map[string]string {
		out := map[string]string{}
		for _, s := range all {
			if strings.HasPrefix(s.name, pkg+".") {
				out[s.name[strings.LastIndexByte(s.name, '.')+1:]] = s.text
			}
		}
		return out
	}
}
