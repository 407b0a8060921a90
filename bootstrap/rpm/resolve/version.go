package resolve

import (
	"cmp"
	"strings"
)

// EVR is a version as rpm orders them: epoch, version, release. An empty release
// in a dependency fits any.
type EVR struct{ Epoch, Version, Release string }

// String is [epoch:]version[-release], without the epoch 0.
func (e EVR) String() string {
	s := e.Version
	if e.Epoch != "" && e.Epoch != "0" {
		s = e.Epoch + ":" + s
	}
	if e.Release != "" {
		s += "-" + e.Release
	}
	return s
}

// ParseEVR takes [epoch:]version[-release] apart.
func ParseEVR(s string) EVR {
	var e EVR
	if epoch, rest, ok := strings.Cut(s, ":"); ok {
		e.Epoch, s = epoch, rest
	}
	e.Version = s
	if i := strings.LastIndexByte(s, '-'); i >= 0 {
		e.Version, e.Release = s[:i], s[i+1:]
	}
	return e
}

// Compare orders two versions; a missing epoch is 0.
func (e EVR) Compare(o EVR) int {
	if c := Vercmp(cmp.Or(e.Epoch, "0"), cmp.Or(o.Epoch, "0")); c != 0 {
		return c
	}
	if c := Vercmp(e.Version, o.Version); c != 0 {
		return c
	}
	return Vercmp(e.Release, o.Release)
}

// compareLoose leaves out the release where one side has none, as in
// "Requires: b >= 2".
func (e EVR) compareLoose(o EVR) int {
	if e.Release == "" || o.Release == "" {
		e.Release, o.Release = "", ""
	}
	return e.Compare(o)
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }
func isAlpha(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }

// Vercmp orders versions or releases segment by segment as rpm does (rpm,
// docs/manual/dependencies and rpmio/rpmvercmp.c): runs of digits as numbers, runs
// of letters as text, a number after letters; "~" before everything, the end
// included, "^" after the end and before everything else.
func Vercmp(a, b string) int {
	for {
		skip := func(s string) string {
			i := 0
			for i < len(s) && !isDigit(s[i]) && !isAlpha(s[i]) && s[i] != '~' && s[i] != '^' {
				i++
			}
			return s[i:]
		}
		a, b = skip(a), skip(b)
		if at, bt := strings.HasPrefix(a, "~"), strings.HasPrefix(b, "~"); at || bt {
			if !at {
				return 1
			}
			if !bt {
				return -1
			}
			a, b = a[1:], b[1:]
			continue
		}
		if ac, bc := strings.HasPrefix(a, "^"), strings.HasPrefix(b, "^"); ac || bc {
			switch {
			case a == "":
				return -1
			case b == "":
				return 1
			case !ac:
				return 1
			case !bc:
				return -1
			}
			a, b = a[1:], b[1:]
			continue
		}
		if a == "" || b == "" {
			return cmp.Compare(len(a), len(b))
		}
		kind := isAlpha
		if isDigit(a[0]) {
			kind = isDigit
		}
		cut := func(s string) (string, string) {
			i := 0
			for i < len(s) && kind(s[i]) {
				i++
			}
			return s[:i], s[i:]
		}
		var x, y string
		x, a = cut(a)
		y, b = cut(b)
		if y == "" { // of different kinds: a number is newer than letters
			if isDigit(x[0]) {
				return 1
			}
			return -1
		}
		if isDigit(x[0]) {
			x, y = strings.TrimLeft(x, "0"), strings.TrimLeft(y, "0")
			if c := cmp.Compare(len(x), len(y)); c != 0 {
				return c
			}
		}
		if c := strings.Compare(x, y); c != 0 {
			return c
		}
	}
}
