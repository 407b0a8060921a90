// Package testneed says what a test needs from the machine. Where it is lacking
// the test is skipped, or failed when CFBUILD_REQUIRE=all, as CI sets it: there a
// skip would hide a backend that no longer works. What only a person can provide
// ([Named]) is skipped there too.
package testneed

import (
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// Skip skips the test, or fails it under CFBUILD_REQUIRE=all.
func Skip(t testing.TB, why string) {
	t.Helper()
	if os.Getenv("CFBUILD_REQUIRE") == "all" {
		t.Fatalf("CFBUILD_REQUIRE=all, and this test cannot run: %s", why)
	}
	t.Skip(why)
}

// Root needs the test to run as root.
func Root(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		Skip(t, "needs root")
	}
}

// Program needs a program on PATH and gives its path.
func Program(t testing.TB, name string) string {
	t.Helper()
	p, err := exec.LookPath(name)
	if err != nil {
		Skip(t, name+" is not installed (make setup installs it)")
	}
	return p
}

// Account is an ordinary user to run a test as.
type Account struct {
	Name     string
	UID, GID int
	Home     string
}

// User gives an ordinary user with subordinate ids: the user running the test,
// or, as root, the account "cfbuild-test" that make setup creates.
func User(t testing.TB) Account {
	t.Helper()
	u, err := user.Current()
	if err == nil && u.Uid == "0" {
		u, err = user.Lookup("cfbuild-test")
	}
	if err != nil {
		Skip(t, "no ordinary user cfbuild-test (make setup creates it)")
	}
	subuid, err := os.ReadFile("/etc/subuid")
	if err != nil || !strings.Contains("\n"+string(subuid), "\n"+u.Username+":") {
		Skip(t, "user "+u.Username+" has no subordinate ids in /etc/subuid")
	}
	uid, _ := strconv.Atoi(u.Uid)
	gid, _ := strconv.Atoi(u.Gid)
	return Account{Name: u.Username, UID: uid, GID: gid, Home: u.HomeDir}
}

// Named gives the path of a file that an environment variable names: something that
// comes with no package and from no mirror that tests may use, so that only whoever runs
// them can have it. Where the variable is empty the test is skipped, also under
// CFBUILD_REQUIRE=all; where it names what cannot be read the test fails. CONTRIBUTING.md
// lists the variables.
func Named(t testing.TB, variable, what string) string {
	t.Helper()
	path := os.Getenv(variable)
	if path == "" {
		t.Skip("set " + variable + " to the path of " + what)
	}
	if !filepath.IsAbs(path) {
		t.Fatalf("%s=%s: not an absolute path", variable, path)
	}
	if st, err := os.Stat(path); err != nil {
		t.Fatalf("%s: %v", variable, err)
	} else if !st.Mode().IsRegular() {
		t.Fatalf("%s=%s: not a regular file", variable, path)
	}
	return path
}
