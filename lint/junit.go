package lint

import (
	"fmt"
	"io"
	"strings"

	"github.com/cfbuild/cfbuild/internal/junit"
)

// WriteJUnit writes the report as JUnit XML: a suite for each image, a case for each
// rule that may find something in it. A rule fails at or above a severity; what it
// finds below that is the case's output.
func (r Report) WriteJUnit(w io.Writer, least Severity, p Paths) error {
	var suites []junit.Suite
	for _, image := range names(r.Images) {
		s := junit.Suite{Name: "lint " + image.head}
		for _, rule := range Rules() {
			c := junit.Case{Name: rule.ID + " " + rule.Name, Outcome: junit.Passed}
			var bad, fine []string
			for _, f := range r.byPlace(image.image, p) {
				if f.Rule != rule.ID {
					continue
				}
				if c.File == "" {
					c.File = f.place
				}
				line := strings.TrimSpace(fmt.Sprintf("%s %s: %s", f.place, f.Severity, f.Message))
				if f.Severity >= least {
					bad = append(bad, line)
				} else {
					fine = append(fine, line)
				}
			}
			if len(bad) > 0 {
				c.Outcome, c.Message = junit.Failed, rule.Says
				c.Text = strings.Join(bad, "\n") + "\nfix: " + rule.Fix
			}
			c.Output = strings.Join(fine, "\n")
			s.Cases = append(s.Cases, c)
		}
		suites = append(suites, s)
	}
	b, err := junit.Marshal("cfbuild lint", suites)
	if err != nil {
		return err
	}
	_, err = w.Write(b)
	return err
}
