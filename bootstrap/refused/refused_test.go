package refused_test

import (
	"errors"
	"io"
	"testing"

	"github.com/cfbuild/cfbuild/bootstrap/refused"
)

func TestPackageError(t *testing.T) {
	for want, e := range map[string]*refused.PackageError{
		"package a=1: is damaged":                        {Package: "a=1", Reason: "is damaged"},
		"package a=1: unexpected EOF":                    {Package: "a=1", Err: io.ErrUnexpectedEOF},
		`package a=1: "d\n": is damaged: unexpected EOF`: {Package: "a=1", Member: "d\n", Reason: "is damaged", Err: io.ErrUnexpectedEOF},
	} {
		if got := e.Error(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
		if !errors.Is(e, refused.ErrPackage) || errors.Is(e, io.ErrUnexpectedEOF) != (e.Err != nil) || e.Hint() == "" {
			t.Errorf("%v: hint %q", e, e.Hint())
		}
	}
	if got := (&refused.PackageError{Advice: "this"}).Hint(); got != "this" {
		t.Errorf("hint %q", got)
	}
}
