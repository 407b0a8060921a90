package engine

import (
	"slices"
	"strings"

	"github.com/cfbuild/cfbuild/pipelines"
)

func contains(all []pipelines.Platform, p pipelines.Platform) bool { return slices.Contains(all, p) }

// intersect keeps what of a is in b too, in a's order.
func intersect(a, b []pipelines.Platform) []pipelines.Platform {
	var out []pipelines.Platform
	for _, p := range a {
		if contains(b, p) {
			out = append(out, p)
		}
	}
	return out
}

func join(ps []pipelines.Platform) string {
	names := make([]string, len(ps))
	for i, p := range ps {
		names[i] = p.String()
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}
