package recipes

import (
	_ "embed"
	"strings"

	"github.com/cfbuild/cfbuild/pipelines"
)

//go:embed verified.txt
var verifiedText string

// Verified says how the recipe of each built-in target was last verified, by
// target name: [pipelines.VerifiedReal] or [pipelines.VerifiedSynthetic]. It is
// what the end-to-end tests recorded when they built the target and its own tests
// passed; targets that are not in it were compared with golden files only.
func Verified() map[string]string {
	out := map[string]string{}
	for line := range strings.Lines(verifiedText) {
		if name, how, ok := strings.Cut(strings.TrimSpace(line), "\t"); ok && !strings.HasPrefix(name, "#") {
			out[name] = how
		}
	}
	return out
}

// mark fills in Verified for every target.
func mark(targets []pipelines.Target) []pipelines.Target {
	how := Verified()
	for i := range targets {
		targets[i].Verified = pipelines.VerifiedGolden
		if h := how[targets[i].Name]; h != "" {
			targets[i].Verified = h
		}
	}
	return targets
}
