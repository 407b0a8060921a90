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

// Kept gives a directory that fill makes once for all runs of the tests and brings up to
// date at each, one at a time: outside the checkout, readable by all users. What fill lacks
// skips the test.
func Kept(t testing.TB, name string, fill func(dir string) error) string {
	t.Helper()
	base := fmt.Sprintf("/var/tmp/cfbuild-test-%d", os.Getuid())
	if os.Getuid() == 0 {
		// Not in /var/tmp, where steps of some builders have another.
		base = "/var/lib/cfbuild-test-0"
	}
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
	if err := fill(dir); err != nil {
		Skip(t, fmt.Sprintf("no %s: %v", name, err))
	}
	return dir
}

// byScript fills a directory with a script.
func byScript(script string) func(dir string) error {
	return func(dir string) error {
		if out, err := exec.Command(script, dir).CombinedOutput(); err != nil {
			return fmt.Errorf("%w\n%s", err, out)
		}
		return nil
	}
}
