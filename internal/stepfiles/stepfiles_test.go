package stepfiles

import (
	"io/fs"
	"testing"
)

func TestWanted(t *testing.T) {
	f := Filter{Include: []string{"app", "*.txt"}, Exclude: []string{"app/*.log", "/app/tmp"}}
	for rel, want := range map[string]bool{"": false, "app": true, "app/main": true, "app/x.log": false, "app/tmp/deep": false, "a.txt": true, "b": false, "sub/a.txt": false} {
		if f.Wanted(rel) != want {
			t.Errorf("%q: got %v", rel, !want)
		}
	}
	if !(Filter{}).Wanted("") || !(Filter{}).Wanted("any/thing") {
		t.Error("without patterns not everything counts")
	}
}

func TestNumbers(t *testing.T) {
	if u, g, ok := Owner("5:6"); u != 5 || g != 6 || !ok {
		t.Error(u, g, ok)
	}
	for _, s := range []string{"", "5", "root:root"} {
		if _, _, ok := Owner(s); ok {
			t.Errorf("%q is an owner", s)
		}
	}
	for m, want := range map[fs.FileMode]uint32{0o644: 0o644, 0o4755: 0o4755, fs.ModeSetuid | 0o755: 0o4755, fs.ModeSticky | fs.ModeDir | 0o777: 0o1777, fs.ModeSetgid: 0o2000} {
		if got := UnixMode(m); got != want {
			t.Errorf("%v: got %o, want %o", m, got, want)
		}
	}
}

func TestSecretLines(t *testing.T) {
	got := SecretLines([]byte("abc\n long one \n\n"))
	if len(got) != 2 || string(got[0]) != "long one" {
		t.Errorf("got %q", got)
	}
}
