package testneed

import (
	"path/filepath"
	"testing"
)

// Apptainer gives the real one, set up once for all runs of the tests by
// scripts/apptainer (script is its path), where an ordinary user can start it too.
func Apptainer(t testing.TB, script string) string {
	t.Helper()
	Root(t)
	for _, p := range []string{"patchelf", "squashfuse", "mksquashfs"} {
		Program(t, p)
	}
	return filepath.Join(Kept(t, "apptainer", byScript(script)), "usr/bin/apptainer")
}
