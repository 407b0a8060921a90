package imagetest

import (
	"fmt"
	"io"
	"time"

	"github.com/cfbuild/cfbuild/internal/junit"
)

// Suites are reports as JUnit has them: a suite for each target and platform.
func Suites(reports []Report) []junit.Suite {
	outcomes := map[Outcome]junit.Outcome{Passed: junit.Passed, Failed: junit.Failed, Error: junit.Errored}
	var out []junit.Suite
	for _, r := range reports {
		s := junit.Suite{Name: r.Target + " " + r.Platform.String()}
		for _, res := range r.Results {
			c := junit.Case{Name: res.Name, File: res.Where.String(), Took: time.Duration(res.Seconds * float64(time.Second)),
				Outcome: outcomes[res.Outcome], Message: res.Message(), Output: res.Output}
			for _, p := range res.Problems {
				c.Text += p + "\n"
			}
			s.Cases = append(s.Cases, c)
		}
		out = append(out, s)
	}
	return out
}

// WriteText prints one line for a report, and below it what did not pass.
func WriteText(w io.Writer, r Report) {
	how := ""
	if r.Cached {
		how = " (as before)"
	}
	fmt.Fprintf(w, "  tests  %s: %s%s\n", r.Platform, r.Summary(), how)
	for _, res := range r.Results {
		if res.Outcome == Passed {
			continue
		}
		fmt.Fprintf(w, "    %s: %s\n", res.Outcome, title(res))
		for _, p := range res.Problems {
			fmt.Fprintf(w, "      %s\n", p)
		}
	}
}
