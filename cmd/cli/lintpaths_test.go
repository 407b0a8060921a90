package cli

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/cfbuild/cfbuild/pipelines"
)

func TestSourcePaths(t *testing.T) {
	repo := t.TempDir()
	deep := filepath.Join(repo, "ci", "images")
	for _, d := range []string{filepath.Join(repo, ".git"), deep} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	module := (&program{}).buildInfo().module
	for name, c := range map[string]struct{ project, file, want string }{
		"below the repository":     {"", filepath.Join(deep, "base.go"), "ci/images/base.go"},
		"CI_PROJECT_DIR":           {deep, filepath.Join(deep, "base.go"), "base.go"},
		"trimmed, of this module":  {"", module + "/images/base.go", "images/base.go"},
		"trimmed, of another":      {"", "example.org/other@v1.0.0/images/base.go", "images/base.go"},
		"elsewhere on the machine": {"", "/somewhere/else/images/base.go", "images/base.go"},
	} {
		p := &program{env: Env{Dir: deep, Getenv: func(k string) string {
			if k == "CI_PROJECT_DIR" {
				return c.project
			}
			return ""
		}}}
		if got := p.sourcePaths()(pipelines.Position{File: c.file, Line: 3}); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}
