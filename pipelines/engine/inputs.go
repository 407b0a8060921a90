package engine

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"

	"github.com/cfbuild/cfbuild/bootstrap"
	"github.com/cfbuild/cfbuild/pipelines"
)

// LabelInputs is the label that [Engine.LabelInputs] sets to a job's input key.
const LabelInputs = "io.github.cfbuild.inputs"

// inputsFormat is part of input keys: raise it when the same inputs are to give
// another result.
const inputsFormat = 1

// inputs are what a graph's nodes turned out to be.
type inputs struct {
	// pins, by node ID: the operation with what moves in it pinned; a Bootstrap is a
	// layout of its identity.
	pins map[string]pipelines.Op
	// metadata that packages were chosen from.
	metadata []string
	// unknown: a bootstrapper does not say what it makes.
	unknown bool
}

func newInputs() *inputs { return &inputs{pins: map[string]pipelines.Op{}} }

func (in *inputs) root(n pipelines.Node, id bootstrap.Identity) {
	in.unknown = in.unknown || id.Root == ""
	in.pins[n.ID] = pipelines.Layout{Digest: "root:" + id.Root}
	in.metadata = append(in.metadata, id.Metadata...)
}

// Inputs gives the key of everything that decides a job's image: the definition, with
// what the site put into it, the packages of its roots by their hashes, images and
// layouts by digest, directories by content, the epoch, the builder and the program.
// Where a step has a network, the package metadata is part of it too: the step may ask
// the same repositories. What such a step finds elsewhere, and the values of secrets,
// no key knows; the cache of steps does not either. Nothing is fetched but metadata.
//
// The key is empty when something cannot be pinned.
func (e *Engine) Inputs(ctx context.Context, job pipelines.Job) (string, error) {
	ev := e.Events.With(job.ID, "")
	in, out := newInputs(), lowered{}
	for _, n := range job.Graph.Nodes {
		if err := ctx.Err(); err != nil {
			return "", context.Cause(ctx)
		}
		o, ok := n.Op.(pipelines.Bootstrap)
		if !ok {
			ops, err := e.pinned(ctx, n, &out)
			if err != nil {
				return "", err
			}
			in.pins[n.ID] = ops[0]
			continue
		}
		b, req, err := e.asked(ctx, n, o, ev)
		if err != nil {
			return "", err
		}
		id := bootstrap.Identity{}
		if knows, ok := b.(bootstrap.Identifier); ok {
			if id, err = knows.Identify(ctx, req); err != nil {
				return "", placed(n, err)
			}
		}
		in.root(n, id)
	}
	return e.inputKey(job, in, out.volatile)
}

func (e *Engine) inputKey(job pipelines.Job, in *inputs, volatile bool) (string, error) {
	if volatile || in.unknown {
		return "", nil
	}
	g, err := job.Graph.Map(func(n pipelines.Node) ([]pipelines.Op, error) { return []pipelines.Op{in.pins[n.ID]}, nil })
	if err != nil {
		return "", err
	}
	key := struct {
		Format   int      `json:"format"`
		Program  string   `json:"program"`
		Builder  string   `json:"builder"`
		Epoch    int64    `json:"epoch"`
		Graph    string   `json:"graph"`
		Metadata []string `json:"metadata,omitempty"`
	}{Format: inputsFormat, Program: e.Program, Builder: e.Builder.Name(), Epoch: lowered{epoch: e.Epoch}.unixEpoch(), Graph: g.ID()}
	for _, n := range job.Graph.Nodes {
		if r, ok := n.Op.(pipelines.Run); ok && r.Network != pipelines.NetworkNone {
			key.Metadata = slices.Sorted(slices.Values(in.metadata))
		}
	}
	b, err := json.Marshal(key)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:]), nil
}

// labelled sets the label of the input key on a graph's result. An image to which no
// step does anything stays what it is.
func labelled(g pipelines.Graph, key string) (pipelines.Graph, error) {
	if key == "" || len(g.Result().Inputs) == 0 {
		return g, nil
	}
	last := g.ID()
	return g.Map(func(n pipelines.Node) ([]pipelines.Op, error) {
		if n.ID != last {
			return []pipelines.Op{n.Op}, nil
		}
		return []pipelines.Op{n.Op, pipelines.Configure{Labels: map[string]string{LabelInputs: key}}}, nil
	})
}
