package pipelines

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
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
	// Op is the operation; Copy.From and Mount.From are zero here, see Inputs.
	Op Op `json:"-"`
	// Inputs are IDs: the base first; then, for Copy, the image copied from, and
	// for Run the images of its Mounts in their order.
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
	f := flattener{graph: Graph{Platform: i.n.platform}, seen: map[string]bool{}, ids: map[*node]string{}}
	if _, err := f.visit(i.n); err != nil {
		return Graph{}, err
	}
	return f.graph, nil
}

// flattener appends nodes to a graph, each once.
type flattener struct {
	graph Graph
	seen  map[string]bool
	ids   map[*node]string
}

// add appends a node unless an equal one is there, and gives its ID.
func (f *flattener) add(m Node) string {
	m.ID = m.identity()
	if !f.seen[m.ID] {
		f.seen[m.ID] = true
		f.graph.Nodes = append(f.graph.Nodes, m)
	}
	return m.ID
}

// visit appends a node after its inputs.
func (f *flattener) visit(n *node) (string, error) {
	if id, ok := f.ids[n]; ok {
		return id, nil
	}
	if n.invalid != nil {
		return "", n.invalid
	}
	var inputs []string
	for _, in := range n.inputs {
		id, err := f.visit(in)
		if err != nil {
			return "", err
		}
		inputs = append(inputs, id)
	}
	if err := checkNode(n); err != nil {
		return "", err
	}
	m := Node{Op: flat(n.op), Inputs: inputs, Platform: n.platform, Where: n.where}
	m.Name, m.Timeout = stepName(n.op), timeout(n.op)
	id := f.add(m)
	f.ids[n] = id
	return id, nil
}

func timeout(op Op) int64 {
	if r, ok := op.(Run); ok {
		return int64(r.Timeout)
	}
	return 0
}

// flat drops what the graph keeps elsewhere.
func flat(op Op) Op {
	switch o := op.(type) {
	case Copy:
		o.From = Image{}
		return o
	case Run:
		o.Name, o.Timeout = "", 0
		o.Mounts = slices.Clone(o.Mounts)
		for i := range o.Mounts {
			o.Mounts[i].From = Image{}
		}
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
	}{op.kind(), op, n.Platform, append([]string(nil), n.Inputs...)}) // an empty list and none are the same
	if err != nil {
		panic(fmt.Sprintf("pipelines: a closed operation does not marshal: %v", err)) // no Op holds a channel or function
	}
	sum := sha256.Sum256(b)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// Map replaces operations: f is called for each node in order with its inputs
// already replaced, and gives a list of operations to put in its place, each on
// top of the one before (a Bootstrap becomes a Layout and Run steps). Giving back
// just n.Op keeps the node. Images that new operations read (Mount.From) are
// taken into the graph. IDs are made anew.
func (g Graph) Map(f func(n Node) ([]Op, error)) (Graph, error) {
	out := flattener{graph: Graph{Platform: g.Platform}, seen: map[string]bool{}, ids: map[*node]string{}}
	moved := map[string]string{}
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
			if len(ops) > 1 || op.kind() != n.Op.kind() {
				m.Name, m.Timeout = stepName(op), timeout(op)
			}
			if k > 0 {
				m.Inputs = []string{moved[old]}
			}
			for _, other := range from(op) {
				id, err := out.visit(other)
				if err != nil {
					return Graph{}, err
				}
				m.Inputs = append(slices.Clip(m.Inputs), id)
			}
			moved[old] = out.add(m)
		}
	}
	// The result comes last, also where an equal node had come before.
	return out.graph.resultLast(moved[g.ID()]), nil
}

// resultLast moves the node that is the result to the end. It can be elsewhere
// only when nothing depends on it, so the order stays topological.
func (g Graph) resultLast(id string) Graph {
	i := slices.IndexFunc(g.Nodes, func(n Node) bool { return n.ID == id })
	n := g.Nodes[i]
	g.Nodes = append(slices.Delete(g.Nodes, i, i+1), n)
	return g
}
