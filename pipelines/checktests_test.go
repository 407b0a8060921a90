package pipelines

import (
	"errors"
	"strings"
	"testing"
)

func TestCheckTests(t *testing.T) {
	good := Tests(
		TestFile{Path: "/etc/motd", Mode: 0o4755, Owner: "0:0", Contains: []string{"x"}}, TestFile{Path: "/x", Absent: true}, TestFile{Path: "/bin", Link: "usr/bin"},
		TestFile{Path: "/"}, TestPackage{Name: "curl", Version: "7.*"}, TestPackage{Name: "libc6:amd64"}, TestUser{Name: "app", UID: "7", Home: "/"},
		TestCommand{Shell: "true", ExitCode: 255}, TestCommand{Args: []string{"/hello"}}, TestEnv{Name: "PATH"}, TestLabel{Name: "a"}, TestPlatform{Except: []string{"/boot/*"}})
	if err := CheckTests(Target{Name: "t", Tests: good}); err != nil {
		t.Error(err)
	}
	for _, c := range []struct {
		test Test
		says string
	}{
		{nil, "is nil"},
		{TestFile{Path: "etc/motd"}, "is not absolute"},
		{TestFile{Path: "/a/../b"}, "holds a .. element"},
		{TestFile{Path: "/a", Absent: true, Mode: 1}, "must not be there"},
		{TestFile{Path: "/a", Dir: true, Link: "b"}, "a directory and a symbolic link"},
		{TestFile{Path: "/a", Dir: true, Contains: []string{"x"}}, "not a regular file"},
		{TestFile{Path: "/a", Lacks: []string{""}}, "in every file"},
		{TestFile{Path: "/a", Mode: 0o10000}, "more than permission bits"},
		{TestFile{Path: "/a", Mode: 0o755, Link: "b"}, "no mode of its own"},
		{TestFile{Path: "/a", Owner: "root"}, "not uid:gid"},
		{TestPackage{}, "not a package name"},
		{TestPackage{Name: "curl=7"}, "not a package name"},
		{TestPackage{Name: "curl", Version: "["}, "syntax error"},
		{TestPackage{Name: "curl", Version: "7", Absent: true}, "must not be there"},
		{TestUser{Name: "a:b"}, "not a user name"},
		{TestUser{Name: "a", UID: "0x7"}, "not a number"},
		{TestUser{Name: "a", Home: "home"}, "is not absolute"},
		{TestUser{Name: "a", Absent: true, Shell: "/bin/sh"}, "must not be there"},
		{TestCommand{}, "exactly one of Shell and Args"},
		{TestCommand{Shell: "true", Args: []string{"true"}}, "exactly one of Shell and Args"},
		{TestCommand{Args: []string{""}}, "names no program"},
		{TestCommand{Shell: "x", ExitCode: 256}, "0 to 255"},
		{TestCommand{Shell: "x", Network: "lan"}, "is unknown"},
		{TestCommand{Shell: "x", Timeout: -1}, "is negative"},
		{TestCommand{Shell: "x", Output: []string{""}}, "in every output"},
		{TestEnv{Name: "A=b"}, "not the name of a variable"},
		{TestEnv{Name: "A", Value: "x", Absent: true}, "must not be set"},
		{TestLabel{}, "names no label"},
		{TestPlatform{Except: []string{"boot/*"}}, "is not absolute"},
		{TestPlatform{Except: []string{"/boot/[a"}}, "syntax error"},
	} {
		tg := Target{Name: "t", Tests: Tests(c.test), Build: func(p Platform) Image { return From(p, Scratch{}) }}
		_, err := NewJob(tg, HostPlatform())
		if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), "checktests_test.go:") {
			t.Errorf("%+v: %v, want %q", c.test, err, c.says)
		}
	}
}

func TestTestsAreIdentifiedByWhatTheySay(t *testing.T) {
	a, err := EncodeTests(Tests(TestFile{Path: "/a"}, TestUser{Name: "u"}))
	if err != nil {
		t.Fatal(err)
	}
	b, _ := EncodeTests([]Test{TestFile{Path: "/a"}, TestUser{Name: "u"}})
	if string(a) != string(b) || string(a) != `[{"kind":"file","test":{"path":"/a"}},{"kind":"user","test":{"name":"u"}}]` {
		t.Errorf("%s\n%s", a, b)
	}
	for want, test := range map[string]Test{"no file /a": TestFile{Path: "/a", Absent: true}, "command echo hi": TestCommand{Shell: "echo hi\nfalse"},
		"command n": TestCommand{Name: "n", Shell: "x"}, "command /a b": TestCommand{Args: []string{"/a", "b"}}, "package p": Tests(TestPackage{Name: "p"})[0]} {
		if got := TestName(test); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestTheFirstDeclarationCounts(t *testing.T) {
	inner := Tests(TestEnv{Name: "A"})
	_, first := Declared(inner[0])
	bare, again := Declared(Tests(inner...)[0])
	if first.Line == 0 || first != again || bare != (TestEnv{Name: "A"}) {
		t.Errorf("%v, then %v, %+v", first, again, bare)
	}
	if _, none := Declared(TestEnv{}); none != (Position{}) {
		t.Errorf("a test by itself is at %v", none)
	}
}
