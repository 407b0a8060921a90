package deffile_test

import (
	"testing"

	"github.com/cfbuild/cfbuild/internal/deffile"
	"github.com/cfbuild/cfbuild/internal/golden"
	"github.com/cfbuild/cfbuild/internal/recipetest"
	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/cfbuild/cfbuild/recipes"
	"github.com/cfbuild/cfbuild/site"
)

var amd64 = pipelines.Platform{OS: "linux", Architecture: "amd64"}

// One target of each agent, at the public site and at one with mirrors, authorities and
// language indexes.
func TestGolden(t *testing.T) {
	for where, s := range map[string]site.Site{"public": site.Public(), "lab": recipetest.Lab()} {
		for _, name := range []string{"debian12", "centos9", "opensuse-leap15", "ubuntu24.04-upstream"} {
			target, err := recipes.Pipeline(s).Target(name)
			if err != nil {
				t.Fatal(err)
			}
			job, err := pipelines.NewJob(target, amd64)
			if err != nil {
				t.Fatal(err)
			}
			d, err := deffile.Lower(t.Context(), job.Graph, deffile.Options{Site: s})
			if err != nil {
				t.Errorf("%s at %s: %v", name, where, err)
				continue
			}
			text, err := d.Text()
			if err != nil {
				t.Errorf("%s at %s: %v", name, where, err)
			}
			golden.Check(t, where+"/"+name+".def", []byte(text))
		}
	}
}
