package apptainer

import (
	"slices"

	"github.com/cfbuild/cfbuild/builders"
	"github.com/cfbuild/cfbuild/pipelines"
)

// pass is a part of a graph that one apptainer build makes.
type pass struct {
	graph   pipelines.Graph
	network network
}

// network that the steps of a part have.
type network int

const (
	noSteps network = iota
	loopbackOnly
	hostNetwork
)

// with joins the needs of two parts; fits says that they go together.
func (n network) with(m network) (both network, fits bool) {
	if n == noSteps || n == m {
		return m, true
	}
	return n, m == noSteps
}

// own is the network of one node's step.
func own(n pipelines.Node) network {
	r, ok := n.Op.(pipelines.Run)
	switch {
	case !ok:
		return noSteps
	case r.Network == pipelines.NetworkNone:
		return loopbackOnly
	}
	return hostNetwork
}

// split cuts a graph where its steps change between having a network and having none:
// Apptainer has one for all. A part after the first starts from a [pipelines.Layout]
// without path and digest, which stands for what the part before it made.
func split(g pipelines.Graph) ([]pass, error) {
	needs, mixed := map[string]network{}, map[string]bool{} // of a node with all it is made of
	for _, n := range g.Nodes {
		need := own(n)
		for _, in := range n.Inputs {
			both, fits := need.with(needs[in])
			need, mixed[n.ID] = both, mixed[n.ID] || mixed[in] || !fits
		}
		needs[n.ID] = need
	}
	if !mixed[g.ID()] {
		return []pass{{g, needs[g.ID()]}}, nil
	}
	line := []pipelines.Node{g.Result()} // from the source to the result
	for len(line[0].Inputs) > 0 {
		below, _ := g.Node(line[0].Inputs[0])
		line = slices.Insert(line, 0, below)
	}
	var out []pass
	from, now := 0, noSteps
	for i, n := range line {
		need := own(n)
		for _, in := range n.Inputs[min(1, len(n.Inputs)):] {
			both, fits := need.with(needs[in])
			if mixed[in] || !fits {
				return nil, &builders.UnsupportedError{Builder: Name, Node: n,
					What: "what it copies from is made by steps with and without a network, and Apptainer has one for all",
					Fix:  "give these steps the same Network, or use another builder"}
			}
			need = both
		}
		both, fits := now.with(need)
		if !fits {
			out = append(out, pass{part(g, line[from:i], from > 0), now})
			from, both = i, need
		}
		now = both
	}
	return append(out, pass{part(g, line[from:], from > 0), now}), nil
}

// part is a graph of some nodes of the line and what they copy from.
func part(g pipelines.Graph, line []pipelines.Node, onTop bool) pipelines.Graph {
	want := map[string]bool{}
	var take func(id string)
	take = func(id string) {
		n, _ := g.Node(id)
		want[id] = true
		for _, in := range n.Inputs {
			take(in)
		}
	}
	for _, n := range line {
		want[n.ID] = true
		for _, in := range n.Inputs[min(1, len(n.Inputs)):] {
			take(in)
		}
	}
	out := pipelines.Graph{Platform: g.Platform}
	if onTop {
		out.Nodes = append(out.Nodes, pipelines.Node{ID: line[0].Inputs[0], Op: pipelines.Layout{}, Platform: g.Platform})
	}
	for _, n := range g.Nodes {
		if want[n.ID] && (len(out.Nodes) == 0 || n.ID != out.Nodes[0].ID) {
			out.Nodes = append(out.Nodes, n)
		}
	}
	// The result comes last, also where it is copied from as well.
	i := slices.IndexFunc(out.Nodes, func(n pipelines.Node) bool { return n.ID == line[len(line)-1].ID })
	n := out.Nodes[i]
	out.Nodes = append(slices.Delete(out.Nodes, i, i+1), n)
	return out
}
