package ca

import (
	"fmt"

	"github.com/cfbuild/cfbuild/internal/junit"
	"github.com/cfbuild/cfbuild/pipelines"
)

// Modes of an authority, as a site file has them.
const (
	ModeBoth      = "both"
	ModeBuildOnly = "build-only"
	ModeBaked     = "baked"
)

// Status of one client in one image.
type Status string

// The statuses.
const (
	Passed Status = "passed" // succeeds with the authority and fails without
	Failed Status = "failed"
	Absent Status = "absent" // the image has no such client: nothing is proven
)

// Verdict is what was found out about one client in one image.
type Verdict struct {
	Client string `json:"client"`
	Status Status `json:"status"`
	// Why it failed, one line.
	Why string `json:"why,omitempty"`
	// With and Without the authority; nil where the client was not there.
	With    *Side `json:"with,omitempty"`
	Without *Side `json:"without,omitempty"`
}

// Side is one run of a client.
type Side struct {
	Exit int `json:"exit"`
	// Served requests reached the origin.
	Served int `json:"served"`
	// Line of the output that tells most, empty for a success.
	Line string `json:"line,omitempty"`

	output string
}

// Image is the verdicts on one image.
type Image struct {
	Target   string             `json:"target"`
	Platform pipelines.Platform `json:"platform"`
	Mode     string             `json:"mode"`
	// With and Without are the digests of the two images that were run; for
	// build-only they are equal, or the authority has left a trace.
	With    string    `json:"digest_with"`
	Without string    `json:"digest_without"`
	Clients []Verdict `json:"clients"`
	// Fault is what is wrong with the image as a whole.
	Fault string `json:"fault,omitempty"`
}

// Red says whether anything failed, or nothing was proven.
func (i Image) Red() bool {
	there := 0
	for _, v := range i.Clients {
		if v.Status == Failed {
			return true
		}
		if v.Status == Passed {
			there++
		}
	}
	return i.Fault != "" || there == 0
}

// Judge compares two runs of an image's clients. mode says where the first run had
// the authority: with "both" and "baked" in the image, with "build-only" in the
// step.
func Judge(mode string, with, without map[string]Ran) []Verdict {
	var out []Verdict
	for _, c := range Clients() {
		a, hadA := with[c.Name]
		b, hadB := without[c.Name]
		v := Verdict{Client: c.Name, Status: Absent}
		if hadA {
			v.With = side(a, a.Got())
		}
		if hadB {
			v.Without = side(b, b.Exit == 0)
		}
		if hadA || hadB {
			v.Status = Passed
			if v.Why = fault(mode, a, b, hadA, hadB); v.Why != "" {
				v.Status = Failed
			}
		}
		out = append(out, v)
	}
	return out
}

func side(r Ran, good bool) *Side {
	s := &Side{Exit: r.Exit, Served: r.Served, Line: r.Line, output: r.Output}
	if good {
		s.Line = ""
	}
	return s
}

// fault says why a client is red; "" if it is not.
func fault(mode string, a, b Ran, hadA, hadB bool) string {
	where := "with the authority in the image"
	lacks := "without the authority"
	if mode == ModeBuildOnly {
		where, lacks = "while building", "in the image, which must not have the authority"
	}
	switch {
	case !hadA || !hadB:
		return "is there in only one of the two images"
	case b.Exit == 0 && b.Served > 0:
		return "succeeds " + lacks + ": it does not verify certificates"
	case b.Served > 0:
		return "asked its question " + lacks + ": it does not verify certificates"
	case a.Exit == 0 && a.Served == 0:
		return "says it succeeded " + where + ", but no request arrived"
	case a.Exit != 0:
		return fmt.Sprintf("fails %s (exit status %d): %s", where, a.Exit, orNothing(a.Line))
	case b.Exit == 0:
		return "says it succeeded " + lacks + ", though no request arrived"
	}
	return ""
}

func orNothing(s string) string {
	if s == "" {
		return "it printed nothing"
	}
	return s
}

// JUnit gives the suite of an image: a case for each client, those that are not
// there as skipped.
func (i Image) JUnit() junit.Suite {
	s := junit.Suite{Name: fmt.Sprintf("ca %s %s", i.Target, i.Platform)}
	if i.Fault != "" {
		s.Cases = append(s.Cases, junit.Case{Name: "image", Outcome: junit.Failed, Message: i.Fault})
	}
	for _, v := range i.Clients {
		c := junit.Case{Name: v.Client, Outcome: junit.Passed}
		switch v.Status {
		case Absent:
			c.Outcome, c.Message = junit.Skipped, "not in the image"
		case Failed:
			c.Outcome, c.Message = junit.Failed, v.Why
			if v.With != nil && v.Without != nil {
				c.Output = "with the authority:\n" + v.With.output + "\nwithout:\n" + v.Without.output
			}
		}
		s.Cases = append(s.Cases, c)
	}
	return s
}
