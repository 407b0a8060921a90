package pipelines

import "fmt"

// Acceptance lets a target go against a rule of cfbuild lint, for a reason. What is
// accepted is counted and shown, and fails nothing.
type Acceptance struct {
	// Rule is the rule's id or name: "CFB503" or "setuid".
	Rule string
	// Subject is a path.Match pattern of what the finding is about (a path of the
	// image or one of its parents, a variable, a label); empty: all of the rule.
	Subject string
	// Why is the reason; there has to be one.
	Why string
}

// check says whether an acceptance is complete; whether there is such a rule is
// lint's to say.
func (a Acceptance) check(target string) error {
	if a.Rule == "" || a.Why == "" {
		return &InvalidError{What: fmt.Sprintf("target %q", target), Cause: fmt.Sprintf("accepts rule %q without a reason", a.Rule),
			Fix: "fill in Rule and Why: pipelines.Acceptance{Rule: \"setuid\", Subject: \"/usr/bin/at\", Why: \"…\"}"}
	}
	return nil
}
