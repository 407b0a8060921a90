package recipes_test

import (
	"bytes"
	"testing"

	"github.com/cfbuild/cfbuild/internal/golden"
	"github.com/cfbuild/cfbuild/internal/recipetest"
	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/cfbuild/cfbuild/recipes"
)

// Every target at a site with everything: its graph as programs see it, and as a
// Containerfile for people.
func TestGolden(t *testing.T) {
	for _, target := range recipes.Pipeline(recipetest.Lab()).Targets {
		platform := pipelines.Platform{OS: "linux", Architecture: "amd64"}
		job, err := pipelines.NewJob(target, platform)
		if err != nil {
			t.Errorf("%s: %v", target.Name, err)
			continue
		}
		golden.Check(t, target.Name+".json", recipetest.JSON(t, job.Graph))
		var b bytes.Buffer
		if err := job.Graph.Containerfile(&b); err != nil {
			t.Errorf("%s: %v", target.Name, err)
		}
		golden.Check(t, target.Name+".containerfile", b.Bytes())
	}
}
