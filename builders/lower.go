package builders

import (
	"context"
	"fmt"

	"github.com/cfbuild/cfbuild/pipelines"
)

// Lowering gives each operation of a graph its meaning in one backend. S is a
// value (an llb.State, a list of stages): a method makes a new one and changes
// nothing.
type Lowering[S any] interface {
	Scratch(ctx context.Context, n pipelines.Node, o pipelines.Scratch) (S, error)
	Pull(ctx context.Context, n pipelines.Node, o pipelines.Pull) (S, error)
	Layout(ctx context.Context, n pipelines.Node, o pipelines.Layout) (S, error)
	Local(ctx context.Context, n pipelines.Node, o pipelines.Local) (S, error)
	// Run has one image for each of o.Mounts.
	Run(ctx context.Context, n pipelines.Node, base S, mounts []S, o pipelines.Run) (S, error)
	Copy(ctx context.Context, n pipelines.Node, base, from S, o pipelines.Copy) (S, error)
	File(ctx context.Context, n pipelines.Node, base S, o pipelines.File) (S, error)
	Remove(ctx context.Context, n pipelines.Node, base S, o pipelines.Remove) (S, error)
	Configure(ctx context.Context, n pipelines.Node, base S, o pipelines.Configure) (S, error)
}

// Lower folds a graph into the backend's form, each node once, inputs first.
func Lower[S any](ctx context.Context, g pipelines.Graph, l Lowering[S]) (S, error) {
	done := make(map[string]S, len(g.Nodes))
	var last S
	for _, n := range g.Nodes {
		if err := ctx.Err(); err != nil {
			return last, err
		}
		s, err := lowerNode(ctx, n, done, l)
		if err != nil {
			var zero S
			return zero, err
		}
		done[n.ID] = s
		last = s
	}
	return last, nil
}

func lowerNode[S any](ctx context.Context, n pipelines.Node, done map[string]S, l Lowering[S]) (S, error) {
	var base S
	if len(n.Inputs) > 0 {
		base = done[n.Inputs[0]]
	}
	switch o := n.Op.(type) {
	case pipelines.Scratch:
		return l.Scratch(ctx, n, o)
	case pipelines.Pull:
		return l.Pull(ctx, n, o)
	case pipelines.Layout:
		return l.Layout(ctx, n, o)
	case pipelines.Local:
		return l.Local(ctx, n, o)
	case pipelines.Run:
		var mounts []S
		for _, in := range n.Inputs[1:] {
			mounts = append(mounts, done[in])
		}
		return l.Run(ctx, n, base, mounts, o)
	case pipelines.Copy:
		return l.Copy(ctx, n, base, done[n.Inputs[1]], o)
	case pipelines.File:
		return l.File(ctx, n, base, o)
	case pipelines.Remove:
		return l.Remove(ctx, n, base, o)
	case pipelines.Configure:
		return l.Configure(ctx, n, base, o)
	}
	return base, fmt.Errorf("builders: %s must be lowered before a builder sees the graph", n.Name)
}

// Missing gives an [UnsupportedError] for the first thing the graph needs and the
// capabilities lack, or nil.
func Missing(name string, c Capabilities, g pipelines.Graph) error {
	for _, n := range g.Nodes {
		r, ok := n.Op.(pipelines.Run)
		if !ok {
			continue
		}
		lack := func(what, fix string) error {
			return &UnsupportedError{Builder: name, Node: n, What: what, Fix: fix}
		}
		switch {
		case !c.CanRun(n.Platform):
			return lack(fmt.Sprintf("cannot run %s here", n.Platform),
				"install the emulator (apt-get install qemu-user-static), or build on a native runner")
		case r.Network == pipelines.NetworkNone && !c.NetworkNone:
			return lack("cannot run a step without network", "drop Network from the step")
		case len(r.Roots) > 0 && !c.Roots:
			return lack("cannot give a root below the image's own devices and processes", "use another builder, or drop Roots from the step")
		case len(r.Secrets) > 0 && !c.Secrets:
			return lack("has no build secrets", "use another builder")
		case len(r.Caches) > 0 && !c.CacheMounts:
			return lack("has no cache mounts", "use another builder")
		}
	}
	return nil
}
