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

// Apptainer gives the real one, set up once for all runs of the tests by
// scripts/apptainer (script is its path), where an ordinary user can start it too.
func Apptainer(t testing.TB, script string) string {
	t.Helper()
	Root(t)
	for _, p := range []string{"patchelf", "squashfuse", "mksquashfs"} {
		Program(t, p)
	}
	base := fmt.Sprintf("/var/lib/cfbuild-test-%d", os.Getuid())
	if err := os.Mkdir(base, 0o755); err != nil && !os.IsExist(err) {
		t.Fatal(err)
	}
	// Not in /var/tmp, where steps of builds have another, and which is everyone's.
	if st, err := os.Lstat(base); err != nil || !st.IsDir() || st.Sys().(*syscall.Stat_t).Uid != uint32(os.Getuid()) || st.Mode()&0o022 != 0 {
		t.Fatalf("%s is not ours: %v", base, err)
	}
	dir := filepath.Join(base, "apptainer")
	// Tests of several packages run at once.
	unlock, err := filelock.Lock(t.Context(), dir+".lock", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	if out, err := exec.Command(script, dir).CombinedOutput(); err != nil {
		Skip(t, fmt.Sprintf("no Apptainer: %v\n%s", err, out))
	}
	return filepath.Join(dir, "usr/bin/apptainer")
}
