package deffile

import (
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"
)

var (
	quotedSection   = regexp.MustCompile(`\n([\t\v\f ]*)%`)
	quotedBootstrap = regexp.MustCompile(`\n([Bb][Oo][Oo][Tt][Ss][Tt][Rr][Aa][Pp]:)`)
	plainWord       = regexp.MustCompile(`^[A-Za-z0-9_./:=,@+-]+$`)
)

// quote writes a word for the shell that Apptainer's reader leaves alone: inside the
// quotes ” closes and opens them, and means nothing.
func quote(s string) string {
	if plainWord.MatchString(s) {
		return s
	}
	// \' outside quotes is two characters to Apptainer's own shell, which reads %environment.
	s = strings.ReplaceAll(s, "'", `'"'"'`)
	s = quotedSection.ReplaceAllString(s, "\n$1''%")
	s = quotedBootstrap.ReplaceAllString(s, "\n''$1")
	for strings.Contains(s, "{{") {
		s = strings.ReplaceAll(s, "{{", "{''{")
	}
	return "'" + s + "'"
}

func quoteAll(words []string) string {
	out := make([]string, len(words))
	for i, w := range words {
		out[i] = quote(w)
	}
	return strings.Join(out, " ")
}

// plain says whether text survives being written as it is: what is not text, and
// carriage returns, have to be encoded.
func plain(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' && r != '\n' && r != '\t' || r == 0x7f })
}

// octal writes bytes as printf's %b takes them.
func octal(b string) string {
	var out strings.Builder
	for i := range len(b) {
		switch c := b[i]; {
		case c == '\n':
			out.WriteString(`\n`)
		case c < ' ' || c >= 0x7f || c == '\\' || c == '\'' || c == '%' || c == '{':
			fmt.Fprintf(&out, `\0%03o`, c)
		default:
			out.WriteByte(c)
		}
	}
	return "'" + out.String() + "'"
}

// pieces cuts content into parts that fit a section when they are quoted, at the ends
// of lines where there are some. What is encoded grows fivefold.
func pieces(s string) []string {
	most := 40 << 10
	if !plain(s) {
		most = 10 << 10
	}
	var out []string
	for len(s) > most {
		cut := strings.LastIndexByte(s[:most], '\n') + 1
		if cut < most/2 {
			cut = most
			for cut > 0 && !utf8.RuneStart(s[cut]) {
				cut--
			}
		}
		out, s = append(out, s[:cut]), s[cut:]
	}
	return append(out, s)
}
