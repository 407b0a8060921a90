package resolve

import "strings"

// CompareVersions orders versions by Debian policy 5.6.12: epoch, upstream
// version, revision. It is -1, 0 or 1, and an order of all strings: what is no
// version is compared as if it were one.
func CompareVersions(a, b string) int {
	if a == b {
		return 0
	}
	ea, ua, ra := splitVersion(a)
	eb, ub, rb := splitVersion(b)
	if c := comparePart(ea, eb); c != 0 {
		return c
	}
	if c := comparePart(ua, ub); c != 0 {
		return c
	}
	return comparePart(ra, rb)
}

func splitVersion(v string) (epoch, upstream, revision string) {
	if i := strings.IndexByte(v, ':'); i >= 0 {
		epoch, v = v[:i], v[i+1:]
	}
	if i := strings.LastIndexByte(v, '-'); i >= 0 {
		return epoch, v[:i], v[i+1:]
	}
	return epoch, v, ""
}

// comparePart compares stretches of non-digits and of digits in turn.
func comparePart(a, b string) int {
	i, j := 0, 0
	for i < len(a) || j < len(b) {
		for i < len(a) && !digit(a[i]) || j < len(b) && !digit(b[j]) {
			x, y := weight(a, i), weight(b, j)
			if x != y {
				return sign(x - y)
			}
			// Equal weights are equal letters: neither has ended.
			i++
			j++
		}
		for i < len(a) && a[i] == '0' {
			i++
		}
		for j < len(b) && b[j] == '0' {
			j++
		}
		first := 0
		for i < len(a) && digit(a[i]) && j < len(b) && digit(b[j]) {
			if first == 0 {
				first = int(a[i]) - int(b[j])
			}
			i++
			j++
		}
		switch {
		case i < len(a) && digit(a[i]):
			return 1 // the longer number
		case j < len(b) && digit(b[j]):
			return -1
		case first != 0:
			return sign(first)
		}
	}
	return 0
}

// weight orders what is no digit: "~" before the end, the end (and a digit, where
// the stretch ends) before letters, letters before the rest.
func weight(s string, i int) int {
	switch {
	case i >= len(s) || digit(s[i]):
		return 0
	case s[i] == '~':
		return -1
	case s[i] >= 'a' && s[i] <= 'z' || s[i] >= 'A' && s[i] <= 'Z':
		return int(s[i])
	}
	return int(s[i]) + 256
}

func digit(c byte) bool { return c >= '0' && c <= '9' }

func sign(n int) int {
	switch {
	case n < 0:
		return -1
	case n > 0:
		return 1
	}
	return 0
}
