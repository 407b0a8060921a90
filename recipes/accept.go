package recipes

import (
	"strings"

	"github.com/cfbuild/cfbuild/pipelines"
)

// accept says which practices the targets that are made from upstream images go
// against, and why.
func accept(targets []pipelines.Target) []pipelines.Target {
	for i, t := range targets {
		if !strings.HasSuffix(t.Name, "-upstream") {
			continue
		}
		targets[i].Accepts = append(t.Accepts,
			pipelines.Acceptance{Rule: "base-outside-site", Why: "it makes a base image of the site out of the distribution's own (NCCS 2.1: the hybrid system)"})
		if strings.HasPrefix(t.Name, "ubi") {
			targets[i].Accepts = append(targets[i].Accepts,
				pipelines.Acceptance{Rule: "base-floating", Why: "the release is in the image's name, ubi9/ubi, and Red Hat keeps latest up to date"})
		}
	}
	return targets
}
