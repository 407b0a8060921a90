package lint_test

import (
	"testing"
	"time"

	"github.com/cfbuild/cfbuild/internal/recipetest"
	"github.com/cfbuild/cfbuild/lint"
	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/cfbuild/cfbuild/recipes"
	"github.com/cfbuild/cfbuild/site"
)

// The built-in targets go by the rules, at every kind of site: their definitions
// have no finding above an info that they do not accept with a reason.
func TestOurRecipes(t *testing.T) {
	now := time.Now()
	n := 0
	for _, s := range []site.Site{site.Public(), site.ORNL(), site.NCCS(), site.Univention(), recipetest.Lab()} {
		for _, target := range recipes.Pipeline(s).Targets {
			platforms := target.Platforms
			if len(platforms) > 2 {
				platforms = platforms[:2]
			}
			if platforms == nil {
				platforms = []pipelines.Platform{{OS: "linux", Architecture: "amd64"}, {OS: "linux", Architecture: "arm64"}}
			}
			var found []lint.Finding
			for _, p := range platforms {
				job, err := pipelines.NewJob(target, p)
				if err != nil {
					t.Fatal(err)
				}
				found = append(found, lint.Definition(job, target, s, now)...)
			}
			accepted, err := lint.Accepted(target)
			if err != nil {
				t.Error(err)
			}
			for _, f := range lint.NewReport(nil, lint.Join(false, found, nil), accepted).Findings {
				if f.Severity > lint.Info {
					t.Errorf("site %s: %s: %s: %s %s: %s", s.Name, target.Name, f.Where, f.Rule, f.Name, f.Message)
				}
			}
			n++
		}
	}
	if n < 15 {
		t.Errorf("only %d targets were looked at", n)
	}
}
