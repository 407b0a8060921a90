package assemble

import (
	"strings"

	"github.com/cfbuild/cfbuild/pipelines"
)

// Groups cuts steps into those that make one layer: one Run, or File, Copy, Remove
// and Configure steps that follow each other. The cut depends on the graph alone.
func Groups(nodes []pipelines.Node) [][]pipelines.Node {
	var out [][]pipelines.Node
	open := false
	for _, n := range nodes {
		_, run := n.Op.(pipelines.Run)
		if run || !open {
			out = append(out, nil)
		}
		open = !run
		out[len(out)-1] = append(out[len(out)-1], n)
	}
	return out
}

// Bare says that a group only changes the configuration, and so has no layer.
func Bare(group []pipelines.Node) bool {
	for _, n := range group {
		if _, ok := n.Op.(pipelines.Configure); !ok {
			return false
		}
	}
	return true
}

// names is what the history says of a group.
func names(group []pipelines.Node) string {
	var out []string
	for _, n := range group {
		out = append(out, n.Name)
	}
	return strings.Join(out, "; ")
}
