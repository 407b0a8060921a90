package testneed

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/cfbuild/cfbuild/internal/filelock"
)

// kept gives a directory that a script fills once for all runs of the tests, and brings up
// to date at each: outside the checkout, readable by all users.
func kept(t testing.TB, name, script string) string {
	t.Helper()
	base := fmt.Sprintf("/var/tmp/cfbuild-test-%d", os.Getuid())
	if err := os.Mkdir(base, 0o755); err != nil && !os.IsExist(err) {
		t.Fatal(err)
	}
	// /var/tmp is everyone's.
	if st, err := os.Lstat(base); err != nil || !st.IsDir() || st.Sys().(*syscall.Stat_t).Uid != uint32(os.Getuid()) || st.Mode()&0o022 != 0 {
		t.Fatalf("%s is not ours: %v", base, err)
	}
	dir := filepath.Join(base, name)
	// Tests of several packages run at once.
	unlock, err := filelock.Lock(t.Context(), dir+".lock", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	if out, err := exec.Command(script, dir).CombinedOutput(); err != nil {
		Skip(t, fmt.Sprintf("no %s: %v\n%s", name, err, out))
	}
	return dir
}
