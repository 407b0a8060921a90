package progress

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// clean makes one line of output safe to print: escape sequences, carriage
// returns (the last redraw counts) and control characters are taken out.
func clean(s string) string {
	s = strings.TrimRight(s, "\r\n")
	if i := strings.LastIndexByte(s, '\r'); i >= 0 {
		s = s[i+1:]
	}
	if !strings.ContainsFunc(s, func(r rune) bool { return r == '\t' || unicode.IsControl(r) || r == unicode.ReplacementChar }) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		if s[i] == 0x1b {
			i += escape(s[i:])
			continue
		}
		r, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == '\t':
			b.WriteString("  ")
		case unicode.IsControl(r):
		default:
			b.WriteRune(r)
		}
		i += n
	}
	return b.String()
}

// escape is the length of the escape sequence s begins with (ECMA-48): CSI up to
// its final byte, OSC up to BEL or ST, otherwise two bytes.
func escape(s string) int {
	if len(s) < 2 {
		return len(s)
	}
	switch s[1] {
	case '[':
		for i := 2; i < len(s); i++ {
			if s[i] >= 0x40 && s[i] <= 0x7e {
				return i + 1
			}
		}
		return len(s)
	case ']':
		for i := 2; i < len(s); i++ {
			if s[i] == 0x07 {
				return i + 1
			}
			if s[i] == 0x1b && i+1 < len(s) && s[i+1] == '\\' {
				return i + 2
			}
		}
		return len(s)
	}
	return 2
}

// columns a string takes on a terminal: combining marks none, wide East Asian
// characters and emoji two.
func columns(s string) int {
	n := 0
	for _, r := range s {
		n += runeColumns(r)
	}
	return n
}

func runeColumns(r rune) int {
	switch {
	case unicode.Is(unicode.Mn, r), unicode.Is(unicode.Me, r), unicode.Is(unicode.Cf, r):
		return 0
	case r < 0x1100:
		return 1
	case r <= 0x115f, r >= 0x2e80 && r <= 0xa4cf, r >= 0xac00 && r <= 0xd7a3, r >= 0xf900 && r <= 0xfaff,
		r >= 0xfe30 && r <= 0xfe6f, r >= 0xff00 && r <= 0xff60, r >= 0xffe0 && r <= 0xffe6, r >= 0x1f300 && r <= 0x1faff,
		r >= 0x20000 && r <= 0x3fffd:
		return 2
	}
	return 1
}

// cut shortens s to n columns; what is lost shows as the ellipsis.
func cut(s string, n int, ellipsis string) string {
	if columns(s) <= n {
		return s
	}
	room := n - columns(ellipsis)
	if room < 0 {
		return ""
	}
	var b strings.Builder
	for _, r := range s {
		if room -= runeColumns(r); room < 0 {
			break
		}
		b.WriteRune(r)
	}
	return b.String() + ellipsis
}

// pad fills s with blanks up to n columns.
func pad(s string, n int) string {
	return s + strings.Repeat(" ", max(0, n-columns(s)))
}
