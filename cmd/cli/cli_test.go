package cli

import (
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"cfbuild":    func() { os.Exit(Main(fakeApp())) },
		"onlyabsent": func() { os.Exit(Main(onlyAbsent())) },
		"other":      func() { a := fakeApp(); a.Name = "other"; os.Exit(Main(a)) },
	})
}

// TestScripts runs every command as a process of its own, with backends that
// build nothing. "code N CMD…" runs a command and wants its exit code.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		Setup: func(e *testscript.Env) error {
			e.Setenv("CFBUILD_STATE_DIR", e.WorkDir+"/state")
			e.Setenv("HOME", e.WorkDir+"/home")
			e.Setenv("TERM", "")
			for _, v := range []string{"CI", "GITLAB_CI", "CI_REGISTRY", "CI_REGISTRY_IMAGE", "SOURCE_DATE_EPOCH", "CFBUILD_SITE",
				"CI_COMMIT_TAG", "CI_COMMIT_BRANCH", "CI_COMMIT_SHA", "CI_COMMIT_REF_SLUG", "CI_COMMIT_TIMESTAMP", "CI_MERGE_REQUEST_IID", "CI_PIPELINE_CREATED_AT"} {
				e.Setenv(v, "")
			}
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"code": code, "waitfile": waitFile},
	})
}

// code runs a program and compares its exit code.
func code(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: code N program [args…]")
	}
	err := ts.Exec(args[1], args[2:]...)
	got := "0"
	if exit, ok := err.(interface{ ExitCode() int }); ok {
		got = strconv.Itoa(exit.ExitCode())
	} else if err != nil {
		ts.Fatalf("%v", err)
	}
	if got != args[0] {
		ts.Fatalf("exit code %s, want %s", got, args[0])
	}
}

// waitFile waits for a file that a background command makes.
func waitFile(ts *testscript.TestScript, neg bool, args []string) {
	for range 600 {
		if _, err := os.Stat(ts.MkAbs(args[0])); err == nil {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	ts.Fatalf("%s was not made", args[0])
}
