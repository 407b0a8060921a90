package pool

import (
	"cmp"
	"slices"

	"github.com/cfbuild/cfbuild/builders"
	"github.com/cfbuild/cfbuild/pipelines"
)

// The ranks behind those of [worker.distance]: others that can stand in for the workers
// a platform is listed with, then such as did not answer.
const (
	standIn   = 3
	wasLost   = 6
	unreached = 7
)

// best gives the worker for a graph, its build counted; nil when nobody is left. A
// worker that could not be reached comes last, and is tried again then. The error is
// of the first worker that is listed for the platform and cannot do what the graph
// asks for, when no other can.
func (p *Pool) best(g pipelines.Graph, gone []*worker) (*worker, error) {
	if !slices.ContainsFunc(p.workers, func(w *worker) bool { return w.For(g.Platform) }) {
		return nil, p.nobody(g)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	type ranked struct {
		*worker
		rank [3]int
		at   int
	}
	var all []ranked
	var cannot error
	for i, w := range p.workers {
		if slices.Contains(gone, w) {
			continue
		}
		if w.builder == nil {
			if w.For(g.Platform) {
				all = append(all, ranked{w, [3]int{unreached}, i})
			}
			continue
		}
		if err := w.can(p.name, g); err != nil {
			if cannot == nil && w.For(g.Platform) {
				cannot = err
			}
			continue
		}
		r := ranked{w, [3]int{w.distance(g), w.load, 0}, i}
		switch {
		case w.down != nil:
			r.rank[0] = wasLost
		case !w.For(g.Platform):
			r.rank[0] += standIn
		case len(w.Platforms) == 0: // among equals, one that is listed for it
			r.rank[2] = 1
		}
		all = append(all, r)
	}
	if len(all) == 0 {
		return nil, cannot
	}
	slices.SortFunc(all, func(a, b ranked) int {
		return cmp.Or(slices.Compare(a.rank[:], b.rank[:]), cmp.Compare(a.at, b.at))
	})
	all[0].load++
	return all[0].worker, nil
}

// can says what a worker that is open lacks for a graph.
func (w *worker) can(name string, g pipelines.Graph) error {
	if err := builders.Missing(name, w.caps, g); err != nil {
		return err
	}
	for _, n := range g.Nodes {
		if h := helpers(g, n); len(h) > 0 && !w.caps.CanRun(h[0]) {
			return &builders.UnsupportedError{Builder: name, Node: n, What: "worker " + w.Address + " cannot run " + h[0].String() + ", which the step's tools are made for",
				Fix: "install the emulator there, or list a worker that runs " + h[0].String()}
		}
	}
	return nil
}

// distance is 0 where everything that runs is native, 1 where the image is emulated and
// the tools it is given are native, 2 where these are emulated too.
func (w *worker) distance(g pipelines.Graph) int {
	emulated := func(p pipelines.Platform) bool { return slices.Contains(w.caps.Emulated, p) }
	for _, n := range g.Nodes {
		if slices.ContainsFunc(helpers(g, n), emulated) {
			return 2
		}
	}
	if emulated(g.Platform) {
		return 1
	}
	return 0
}

// helpers are the platforms, other than its own, of what a step has mounted: tools
// that run natively where the step's platform is emulated.
func helpers(g pipelines.Graph, n pipelines.Node) []pipelines.Platform {
	if _, ok := n.Op.(pipelines.Run); !ok || len(n.Inputs) < 2 {
		return nil
	}
	var out []pipelines.Platform
	for _, in := range n.Inputs[1:] {
		for _, m := range g.Nodes {
			if m.ID == in && m.Platform != n.Platform && m.Platform != (pipelines.Platform{}) {
				out = append(out, m.Platform)
			}
		}
	}
	return out
}

// tells says how a platform runs on a worker.
func (w *worker) tells(p pipelines.Platform) string {
	if slices.Contains(w.caps.Emulated, p) {
		return p.String() + " (emulated)"
	}
	return p.String()
}

// nobody: no worker of the list is for the platform.
func (p *Pool) nobody(g pipelines.Graph) error {
	return &builders.UnsupportedError{Builder: p.name, Node: g.Result(), What: "no worker is listed for " + g.Platform.String(),
		Fix: "add " + g.Platform.String() + "=ADDRESS or *=ADDRESS to the list of workers"}
}
