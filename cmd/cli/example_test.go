package cli

import (
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/cfbuild/cfbuild"
	"github.com/cfbuild/cfbuild/cmd/cli/scaffold"
	"github.com/cfbuild/cfbuild/internal/golden"
)

// The example is a module of its own: its go.mod follows this one's, as that of a
// program made by init does. "go test ./cmd/cli -run ExampleModule -update" brings
// it up to date.
func TestExampleModule(t *testing.T) {
	mod, err := scaffold.GoMod(scaffold.Options{Name: "custom", GoMod: cfbuild.GoMod, Replace: "../.."})
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"go.mod": mod, "go.sum": cfbuild.GoSum} {
		path := filepath.Join("..", "..", "examples", "custom", name)
		if flag.Lookup("update").Value.String() == "true" {
			if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		got, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if d := golden.Diff(want, string(got)); d != "" {
			t.Errorf("%s: %s (-update brings it up to date)", path, d)
		}
	}
}
