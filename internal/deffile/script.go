package deffile

import (
	"encoding/base64"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/cfbuild/cfbuild/pipelines"
)

// script is shell text that holds nothing Apptainer takes for its own. It runs with
// sh -e, which does not end at what fails before an && or after an !: neither is used
// where a failure counts.
type script struct{ b strings.Builder }

func (s *script) line(format string, args ...any) { fmt.Fprintf(&s.b, format+"\n", args...) }

// comment says where what follows comes from.
func (s *script) comment(n pipelines.Node) {
	if w := n.Where.String(); w != "" {
		s.line("# %s", w)
	}
}

// pour writes a command that reads data: as it is where that is text with a line end,
// encoded otherwise. decode follows the encoded form ("| base64 -d" reads it).
func (s *script) pour(data, plain, encoded string) {
	if data == "" || !strings.HasSuffix(data, "\n") || !utf8.ValidString(data) || special.MatchString(data) || longest(data) > most {
		s.line("%s <<'EOF'", encoded)
		text := base64.StdEncoding.EncodeToString([]byte(data))
		for len(text) > 76 {
			s.line("%s", text[:76])
			text = text[76:]
		}
		s.line("%s", text)
		s.line("EOF")
		return
	}
	end := "EOF"
	for slices.Contains(strings.Split(data, "\n"), end) {
		end += "F"
	}
	s.line("%s <<'%s'", plain, end)
	s.b.WriteString(data)
	s.line("%s", end)
}

func longest(s string) int {
	n := 0
	for line := range strings.Lines(s) {
		n = max(n, len(line))
	}
	return n
}

// word quotes for the shell on one line that Apptainer does not touch.
func word(s string) string {
	if !special.MatchString(s) && !strings.Contains(s, "\n") {
		return quote(s)
	}
	// A guard after the text keeps line ends there; %? takes it off again.
	return `"$(printf '` + octal(s) + `.')"`
}

// octal is a printf format for any text.
func octal(s string) string {
	var b strings.Builder
	for _, c := range []byte(s) {
		fmt.Fprintf(&b, `\%03o`, c)
	}
	return b.String()
}

// assign sets a variable to any text.
func (s *script) assign(name, value string) {
	w := word(value)
	s.line("%s=%s", name, w)
	if strings.HasPrefix(w, `"$(`) {
		s.line("%s=${%[1]s%%.}", name)
	}
	s.line("export %s", name)
}

// made makes the directories above a path that are missing, with mode 0755.
func (s *script) made(root, p string) {
	if dir := path.Dir(p); dir != "/" {
		s.line("(umask 022; mkdir -p %s%s)", root, quote(dir))
	}
}

// file writes a File below root: "" in the image, a variable in quotes on the host.
func (s *script) file(root string, o pipelines.File) {
	owner, mode := o.Owner, o.Mode
	if owner == "" {
		owner = "0:0"
	}
	if mode == 0 {
		mode = 0o644
		if o.Dir {
			mode = 0o755
		}
	}
	s.made(root, o.Path)
	at := root + quote(o.Path)
	switch {
	case o.Link != "":
		s.line("rm -f %s", at)
		s.line("ln -s %s %s", quote(o.Link), at)
		s.line("chown -h %s %s", owner, at)
		return
	case o.Dir:
		s.line("mkdir -p %s", at)
	case len(o.Data) == 0:
		s.line("rm -f %s", at)
		s.line(": >%s", at)
	default:
		s.line("rm -f %s", at)
		s.pour(string(o.Data), "cat >"+at, "base64 -d >"+at)
	}
	s.line("chown %s %s", owner, at)
	s.line("chmod %04o %s", mode, at)
}

// run writes a Run whose directory and user are known.
func (s *script) run(o pipelines.Run) {
	s.line("(")
	if o.Dir != "" {
		s.line("cd %s", quote(o.Dir))
	}
	for _, k := range slices.Sorted(maps.Keys(o.Env)) {
		s.assign(k, o.Env[k])
	}
	before := ""
	if o.Network == pipelines.NetworkNone {
		before = "unshare -n "
	}
	if len(o.Args) > 0 && o.User == "" && !special.MatchString(strings.Join(o.Args, "\n")) {
		s.line("%s%s </dev/null", before, words(o.Args))
		s.line(")")
		return
	}
	text := "set -e\n" + o.Shell
	if len(o.Args) > 0 {
		text = "exec " + words(o.Args)
	}
	if !strings.HasSuffix(text, "\n") {
		text += "\n"
	}
	s.pour(text, `script=$(cat`, `script=$(base64 -d`)
	s.line(")")
	if o.User != "" {
		s.line(`%ssu -s /bin/sh -c "$script" %s </dev/null`, before, quote(o.User))
	} else {
		s.line(`%s/bin/sh -c "$script" </dev/null`, before)
	}
	s.line(")")
}

// remove removes paths; patterns stay patterns.
func (s *script) remove(o pipelines.Remove) {
	for _, p := range o.Paths {
		s.line("rm -rf %s", pattern(p))
	}
}

// pattern quotes all but what path.Match and the shell take for a pattern.
func pattern(p string) string {
	var b strings.Builder
	plain := func(from string) {
		if from != "" {
			b.WriteString(quote(from))
		}
	}
	for {
		i := strings.IndexAny(p, "*?[]")
		if i < 0 {
			plain(p)
			return b.String()
		}
		plain(p[:i])
		b.WriteByte(p[i])
		p = p[i+1:]
	}
}
