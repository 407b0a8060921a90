package testneed

import "testing"

// BuildKit gives a directory with buildkitd, buildctl and runc, static, of the versions in
// go.mod, compiled once for all runs of the tests by scripts/buildkit (script is its path),
// where an ordinary user can start them too.
func BuildKit(t testing.TB, script string) string {
	t.Helper()
	Program(t, "gcc")
	return Kept(t, "buildkit", byScript(script))
}
