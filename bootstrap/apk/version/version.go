// Package version compares Alpine's package versions, as apk-tools 3 does
// (apk-package(5), "version"):
//
//	NUMBER{.NUMBER}…{LETTER}{_SUFFIX{NUMBER}}…{~HASH}{-rNUMBER}
//
// apk-tools 2.14 agrees for all of these except numbers with leading zeros, which are
// rare, and the hash, which it does not know.
package version

import (
	"cmp"
	"strings"
)

// kind of a part, in the order in which parts may follow each other. Where one
// version ends and the other goes on, the later kind is the smaller version.
type kind int

const (
	first kind = iota // the number a version begins with
	number
	letter
	suffix
	suffixNumber
	hash
	revision
	end
	invalid
)

// suffixes in their order; those before the empty one are earlier than the version
// without a suffix.
var suffixes = []string{"alpha", "beta", "pre", "rc", "", "cvs", "svn", "git", "hg", "p"}

const noSuffix = 4

// part is one element of a version, and what follows it.
type part struct {
	kind  kind
	text  string
	index int // in suffixes
	rest  string
}

func digits(s string) string {
	return s[:len(s)-len(strings.TrimLeft(s, "0123456789"))]
}

func begin(s string) part {
	d := digits(s)
	if d == "" {
		return part{kind: invalid}
	}
	return part{kind: first, text: d, rest: s[len(d):]}
}

func (p part) next() part {
	s := p.rest
	if s == "" {
		return part{kind: end}
	}
	numeric := func(k kind, s string) part {
		d := digits(s)
		if d == "" {
			return part{kind: invalid}
		}
		return part{kind: k, text: d, rest: s[len(d):]}
	}
	switch c := s[0]; {
	case c >= 'a' && c <= 'z' && p.kind <= number:
		return part{kind: letter, text: s[:1], rest: s[1:]}
	case c == '.' && p.kind <= number:
		return numeric(number, s[1:])
	case c >= '0' && c <= '9' && p.kind == suffix:
		return numeric(suffixNumber, s)
	case c == '_' && p.kind <= suffixNumber:
		word := s[1 : len(s)-len(strings.TrimLeft(s[1:], "abcdefghijklmnopqrstuvwxyz"))]
		for i, known := range suffixes {
			if word != "" && word == known {
				return part{kind: suffix, text: word, index: i, rest: s[1+len(word):]}
			}
		}
	case c == '~' && p.kind < hash:
		rest := strings.TrimLeft(s[1:], "0123456789abcdef")
		if word := s[1 : len(s)-len(rest)]; word != "" {
			return part{kind: hash, text: word, rest: rest}
		}
	case strings.HasPrefix(s, "-r") && p.kind < revision:
		return numeric(revision, s[2:])
	}
	return part{kind: invalid}
}

// compare two parts of one kind.
func compare(a, b part) int {
	switch a.kind {
	case number:
		if a.text[0] == '0' || b.text[0] == '0' {
			return strings.Compare(a.text, b.text)
		}
		return numbers(a.text, b.text)
	case first, suffixNumber, revision:
		return numbers(a.text, b.text)
	case suffix:
		return cmp.Compare(a.index, b.index)
	}
	return strings.Compare(a.text, b.text)
}

// numbers compares decimal numbers of any length.
func numbers(a, b string) int {
	a, b = strings.TrimLeft(a, "0"), strings.TrimLeft(b, "0")
	return cmp.Or(cmp.Compare(len(a), len(b)), strings.Compare(a, b))
}

// Valid says whether s is a version.
func Valid(s string) bool {
	p := begin(s)
	for p.kind < end {
		p = p.next()
	}
	return p.kind == end
}

// Compare gives -1, 0 or 1. What follows the first part that is no version counts
// for nothing.
func Compare(a, b string) int { return order(a, b, false) }

// order with fuzzy: b may end before a does, and counts as equal then.
func order(a, b string, fuzzy bool) int {
	pa, pb := begin(a), begin(b)
	for ; pa.kind == pb.kind && pa.kind < end; pa, pb = pa.next(), pb.next() {
		if c := compare(pa, pb); c != 0 {
			return c
		}
	}
	switch {
	case pa.kind == pb.kind, fuzzy && pb.kind == end:
		return 0
	case pa.kind == suffix && pa.index < noSuffix:
		return -1
	case pb.kind == suffix && pb.index < noSuffix:
		return 1
	}
	return -cmp.Compare(pa.kind, pb.kind)
}

// Satisfies says whether a version fits a relation such as ">=" to another. The
// operators are combinations of "<", "=", ">" and "~" (equal as far as the other
// version goes); an empty one is always satisfied.
func Satisfies(have, op, want string) bool {
	if op == "" {
		return true
	}
	c := order(have, want, strings.Contains(op, "~"))
	switch {
	case c < 0:
		return strings.Contains(op, "<")
	case c > 0:
		return strings.Contains(op, ">")
	}
	return strings.ContainsAny(op, "=~")
}
