package testneed

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// fake is a test that says how it ended.
type fake struct {
	testing.TB
	ended string
}

func (*fake) Helper() {}

func (f *fake) Skip(args ...any) {
	f.ended = "skip: " + fmt.Sprint(args...)
	panic(f)
}

func (f *fake) Fatalf(format string, args ...any) {
	f.ended = "fail: " + fmt.Sprintf(format, args...)
	panic(f)
}

// end calls a function with a test and says how that ended, "" where it did not.
func end(call func(testing.TB)) (ended string) {
	f := &fake{}
	defer func() {
		if r := recover(); r != nil && r != any(f) {
			panic(r)
		}
		ended = f.ended
	}()
	call(f)
	return ""
}

func TestNamed(t *testing.T) {
	dir := t.TempDir()
	there := filepath.Join(dir, "there")
	if err := os.WriteFile(there, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, require := range []string{"", "all"} {
		t.Setenv("CFBUILD_REQUIRE", require)
		for value, want := range map[string]string{
			"":                              "skip: set CFBUILD_TEST_X to the path of an image",
			"there":                         "fail: CFBUILD_TEST_X=there: not an absolute path",
			dir:                             "not a regular file",
			filepath.Join(dir, "not there"): "no such file",
			there:                           "",
		} {
			t.Setenv("CFBUILD_TEST_X", value)
			got := ""
			ended := end(func(tb testing.TB) { got = Named(tb, "CFBUILD_TEST_X", "an image") })
			if !strings.Contains(ended, want) || (ended == "") != (want == "") || want == "" && got != there {
				t.Errorf("%q, CFBUILD_REQUIRE=%s: %q, %q; want %q", value, require, got, ended, want)
			}
		}
	}
	// What a machine can have is demanded there.
	if got := end(func(tb testing.TB) { Skip(tb, "no emulator") }); !strings.HasPrefix(got, "fail: CFBUILD_REQUIRE=all") {
		t.Errorf("got %q", got)
	}
}
