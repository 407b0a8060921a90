package pipelines

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
)

// Graph is the flat form of an [Image]: nodes in an order in which inputs come
// before their users, each named by the hash of its content and its inputs. Two
// equal definitions have equal graphs, wherever they were written.
type Graph struct {
	// Platform of the result.
	Platform Platform `json:"platform"`
	// Nodes in topological order; the last is the result.
	Nodes []Node `json:"nodes"`
}

// Node is one operation of a graph.
type Node struct {
	// ID is "sha256:" and the hash of the operation, platform and inputs' IDs.
	ID string `json:"id"`
	// Op is the operation; Copy.From is the zero Image here, see Inputs.
	Op Op `json:"-"`
	// Inputs are IDs: the base first; for Copy, the image copied from second.
	Inputs []string `json:"inputs,omitempty"`
	// Platform the node is built for.
	Platform Platform `json:"platform"`
	// Where is the author's line, Name what progress shows, Timeout a bound on
	// a Run in nanoseconds: none is part of ID.
	Where   Position `json:"where,omitzero"`
	Name    string   `json:"name,omitempty"`
	Timeout int64    `json:"timeout,omitempty"`
}

// Graph flattens and checks the image. The error is an [InvalidError] with the
// author's line.
func (i Image) Graph() (Graph, error) {
	if i.n == nil {
		return Graph{}, &InvalidError{What: "image", Cause: "is empty: it has no source", Fix: "start it with pipelines.From"}
	}
	g := Graph{Platform: i.n.platform}
	ids := map[*node]string{}
	seen := map[string]bool{}
	var visit func(n *node) error
	visit = func(n *node) error {
		if _, ok := ids[n]; ok {
			return nil
		}
		for _, in := range n.inputs {
			if err := visit(in); err != nil {
				return err
			}
		}
		if err := checkNode(n); err != nil {
			return err
		}
		m := Node{Op: flat(n.op), Platform: n.platform, Where: n.where, Name: stepName(n.op)}
		if r, ok := n.op.(Run); ok {
			m.Timeout = int64(r.Timeout)
		}
		for _, in := range n.inputs {
			m.Inputs = append(m.Inputs, ids[in])
		}
		m.ID = m.identity()
		ids[n] = m.ID
		if !seen[m.ID] {
			seen[m.ID] = true
			g.Nodes = append(g.Nodes, m)
		}
		return nil
	}
	if err := visit(i.n); err != nil {
		return Graph{}, err
	}
	return g, nil
}

// flat drops what the graph keeps elsewhere.
func flat(op Op) Op {
	switch o := op.(type) {
	case Copy:
		o.From = Image{}
		return o
	case Run:
		o.Name, o.Timeout = "", 0
		return o
	}
	return op
}

// Result is the last node: the image the graph describes.
func (g Graph) Result() Node { return g.Nodes[len(g.Nodes)-1] }

// ID is the identity of the whole definition: that of its result.
func (g Graph) ID() string { return g.Result().ID }

// Node finds a node by its ID.
func (g Graph) Node(id string) (Node, bool) {
	for _, n := range g.Nodes {
		if n.ID == id {
			return n, true
		}
	}
	return Node{}, false
}

// Base follows first inputs down from the result to the source it starts from.
func (g Graph) Base() Node {
	n := g.Result()
	for len(n.Inputs) > 0 {
		n, _ = g.Node(n.Inputs[0])
	}
	return n
}

// identity hashes what the node is: operation, platform, inputs.
func (n Node) identity() string {
	op := n.Op
	switch o := op.(type) {
	case Layout:
		if o.Digest != "" {
			o.Path = ""
		}
		op = o
	case Local:
		if o.Digest != "" {
			o.Path = ""
		}
		op = o
	}
	b, err := json.Marshal(struct {
		Kind     string   `json:"kind"`
		Op       Op       `json:"op"`
		Platform Platform `json:"platform"`
		Inputs   []string `json:"inputs"`
	}{op.kind(), op, n.Platform, n.Inputs})
	if err != nil {
		panic(fmt.Sprintf("pipelines: a closed operation does not marshal: %v", err)) // no Op holds a channel or function
	}
	sum := sha256.Sum256(b)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// Map replaces operations: f is called for each node in order with its inputs
// already replaced, and gives a list of operations to put in its place, each on
// top of the one before (a Bootstrap becomes a Layout and Run steps). Giving back
// just n.Op keeps the node. IDs are made anew.
func (g Graph) Map(f func(n Node) ([]Op, error)) (Graph, error) {
	out := Graph{Platform: g.Platform}
	moved := map[string]string{}
	seen := map[string]bool{}
	for _, n := range g.Nodes {
		old := n.ID
		inputs := make([]string, 0, len(n.Inputs))
		for _, in := range n.Inputs {
			inputs = append(inputs, moved[in])
		}
		n.Inputs = inputs
		ops, err := f(n)
		if err != nil {
			return Graph{}, err
		}
		if len(ops) == 0 {
			return Graph{}, fmt.Errorf("pipelines: a node cannot be replaced by nothing: %s", n.Op.kind())
		}
		for k, op := range ops {
			m := n
			m.Op = flat(op)
			if k > 0 {
				m.Inputs = []string{out.Nodes[lastIndex(out.Nodes, moved[old])].ID}
			}
			if len(ops) > 1 || op.kind() != n.Op.kind() {
				m.Name, m.Timeout = stepName(op), 0
				if r, ok := op.(Run); ok {
					m.Timeout = int64(r.Timeout)
				}
			}
			m.ID = m.identity()
			moved[old] = m.ID
			if !seen[m.ID] {
				seen[m.ID] = true
				out.Nodes = append(out.Nodes, m)
			}
		}
	}
	return out, nil
}

func lastIndex(nodes []Node, id string) int {
	for i := len(nodes) - 1; i >= 0; i-- {
		if nodes[i].ID == id {
			return i
		}
	}
	return -1
}
