package engine

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/cfbuild/cfbuild/bootstrap"
	"github.com/cfbuild/cfbuild/builders"
	"github.com/cfbuild/cfbuild/internal/oci"
	"github.com/cfbuild/cfbuild/pipelines"
)

// lowered is a graph that a builder takes: nothing in it moves any more, unless
// volatile says so.
type lowered struct {
	graph pipelines.Graph
	epoch time.Time
	// volatile: some input could not be pinned, so the result cannot be known
	// from the graph alone.
	volatile bool
	// inputs is the key of what went in, see [Engine.Inputs].
	inputs string
}

// unixEpoch is the epoch in seconds, -1 when the builder finds it.
func (l lowered) unixEpoch() int64 {
	if l.epoch.IsZero() {
		return -1
	}
	return l.epoch.Unix()
}

// lower replaces each Bootstrap by its root and pins what moves: references to
// digests, layouts to manifests, local directories to content hashes.
func (e *Engine) lower(ctx context.Context, job pipelines.Job, ev pipelines.Sink) (lowered, error) {
	out := lowered{epoch: e.Epoch}
	in := newInputs()
	g, err := job.Graph.Map(func(n pipelines.Node) (ops []pipelines.Op, err error) {
		o, ok := n.Op.(pipelines.Bootstrap)
		if ok {
			return e.bootstrap(ctx, n, o, &out, in, ev)
		}
		if ops, err = e.pinned(ctx, n, &out); err == nil {
			in.pins[n.ID] = ops[0]
		}
		return ops, err
	})
	if err != nil {
		return out, err
	}
	out.graph = g
	if out.inputs, err = e.inputKey(job, in, out.volatile); err == nil && e.LabelInputs {
		out.graph, err = labelled(g, out.inputs)
	}
	return out, err
}

// pinned gives an operation, but no Bootstrap, with what moves in it pinned.
func (e *Engine) pinned(ctx context.Context, n pipelines.Node, out *lowered) ([]pipelines.Op, error) {
	switch o := n.Op.(type) {
	case pipelines.Pull:
		return e.pin(ctx, n, o, out)
	case pipelines.Layout:
		return pinLayout(n, o)
	case pipelines.Local:
		return pinLocal(n, o)
	}
	return []pipelines.Op{n.Op}, nil
}

// asked gives a node's bootstrapper and what it is asked.
func (e *Engine) asked(ctx context.Context, n pipelines.Node, o pipelines.Bootstrap, ev pipelines.Sink) (b bootstrap.Bootstrapper, req bootstrap.Request, err error) {
	if b, err = e.bootstrapper(n, o); err != nil {
		return nil, req, err
	}
	req = e.request(n, o, ev)
	req.Helper, err = e.helper(ctx, n.Platform)
	return b, req, err
}

func (e *Engine) bootstrap(ctx context.Context, n pipelines.Node, o pipelines.Bootstrap, out *lowered, in *inputs, ev pipelines.Sink) ([]pipelines.Op, error) {
	b, req, err := e.asked(ctx, n, o, ev)
	if err != nil {
		return nil, err
	}
	root, err := b.Make(ctx, req)
	if err != nil {
		return nil, placed(n, err)
	}
	in.root(n, root.Identity)
	if root.Epoch.After(out.epoch) && e.Epoch.IsZero() {
		out.epoch = root.Epoch
	}
	from := pipelines.Layout{Path: root.Layout, Digest: root.Digest}
	if root.Subtree == "" {
		ops := []pipelines.Op{from}
		for _, r := range root.Configure {
			ops = append(ops, r)
		}
		return ops, nil
	}
	platform := n.Platform
	if root.StagePlatform != (pipelines.Platform{}) {
		platform = root.StagePlatform
	}
	stage := pipelines.From(platform, from)
	for _, r := range root.Configure {
		// A bootstrapper's steps do without, somehow.
		if len(r.Roots) > 0 {
			caps, err := e.Builder.Capabilities(ctx)
			if err != nil {
				return nil, err
			}
			if !caps.Roots {
				r.Roots = nil
			}
		}
		stage = stage.Then(r)
	}
	// A trailing slash: what is in the directory, not the directory.
	return []pipelines.Op{pipelines.Scratch{}, pipelines.Copy{From: stage, Src: []string{root.Subtree + "/"}, Dst: "/"}}, nil
}

// placed adds the author's line to an error in what the definition asks for.
func placed(n pipelines.Node, err error) error {
	var inv *pipelines.InvalidError
	if errors.As(err, &inv) {
		if inv.Where == (pipelines.Position{}) {
			inv.Where = n.Where
		}
		return err
	}
	if w := n.Where.String(); w != "" && errors.Is(err, pipelines.ErrInvalid) {
		return fmt.Errorf("%s: %w", w, err)
	}
	return err
}

// helper is a platform that runs natively where p is emulated.
func (e *Engine) helper(ctx context.Context, p pipelines.Platform) (pipelines.Platform, error) {
	if p == pipelines.HostPlatform() {
		return pipelines.Platform{}, nil // the builder may still be finding out what it can do
	}
	caps, err := e.Builder.Capabilities(ctx)
	if err != nil || !contains(caps.Emulated, p) {
		return pipelines.Platform{}, err
	}
	if host := pipelines.HostPlatform(); contains(caps.Platforms, host) && !contains(caps.Emulated, host) {
		return host, nil
	}
	return pipelines.Platform{}, nil
}

func (e *Engine) bootstrapper(n pipelines.Node, o pipelines.Bootstrap) (bootstrap.Bootstrapper, error) {
	var names []string
	for _, b := range e.Bootstrappers {
		if b.Method() == o.Method {
			return b, nil
		}
		names = append(names, b.Method())
	}
	return nil, &pipelines.InvalidError{Where: n.Where, What: "bootstrap method " + o.Method,
		Cause: "is unknown", Fix: "this program has: " + strings.Join(names, ", ")}
}

func (e *Engine) request(n pipelines.Node, o pipelines.Bootstrap, ev pipelines.Sink) bootstrap.Request {
	return bootstrap.Request{Op: o, Platform: n.Platform, Site: e.Site, CacheDir: filepath.Join(e.StateDir, "bootstrap"),
		Epoch: e.Epoch, Now: e.Now, Events: ev}
}

// pin adds the digest a reference stands for now. A registry that does not answer
// is left to the builder, which may have the image.
func (e *Engine) pin(ctx context.Context, n pipelines.Node, o pipelines.Pull, out *lowered) ([]pipelines.Op, error) {
	if strings.Contains(o.Ref, "@sha256:") {
		return []pipelines.Op{o}, nil
	}
	if e.Resolve == nil {
		out.volatile = true
		return []pipelines.Op{o}, nil
	}
	platforms, digest, err := e.Resolve(ctx, o.Ref)
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		out.volatile = true
		e.Events.Send(pipelines.Event{Kind: pipelines.EventWarning, Text: fmt.Sprintf("%s: cannot be pinned: %v", o.Ref, err)})
		return []pipelines.Op{o}, nil
	}
	if !contains(platforms, n.Platform) {
		return nil, &pipelines.InvalidError{Where: n.Where, What: "pull " + o.Ref,
			Cause: fmt.Sprintf("has no image for %s", n.Platform), Fix: "it has " + join(platforms)}
	}
	o.Ref += "@" + digest
	return []pipelines.Op{o}, nil
}

func pinLayout(n pipelines.Node, o pipelines.Layout) ([]pipelines.Op, error) {
	bad := func(err error) ([]pipelines.Op, error) {
		return nil, &pipelines.InvalidError{Where: n.Where, What: "layout " + o.Path, Cause: err.Error(),
			Fix: "name an OCI image layout directory, such as cfbuild run writes"}
	}
	if o.Path == "" {
		return bad(errors.New("has no path"))
	}
	path, err := filepath.Abs(o.Path)
	if err != nil {
		return bad(err)
	}
	o.Path = path
	if o.Digest != "" {
		return []pipelines.Op{o}, nil
	}
	l, err := oci.Open(o.Path)
	if err != nil {
		return bad(err)
	}
	d, err := l.Manifest(n.Platform)
	if err != nil {
		return bad(err)
	}
	o.Digest = d.Digest.String()
	return []pipelines.Op{o}, nil
}

// Offered lists the platforms a target's source offers, and those of them the
// builder can run steps for.
func (e *Engine) Offered(ctx context.Context, t pipelines.Target) (offered, runnable []pipelines.Platform, err error) {
	host := pipelines.HostPlatform()
	if len(t.Platforms) > 0 && !contains(t.Platforms, host) {
		host = t.Platforms[0]
	}
	g, err := t.Build(host).Graph()
	if err != nil {
		return nil, nil, err
	}
	caps, err := e.Builder.Capabilities(ctx)
	if err != nil {
		return nil, nil, err
	}
	if !caps.Available {
		return nil, nil, &builders.UnavailableError{Builder: e.Builder.Name(), Reason: caps.Reason, Fix: caps.Fix}
	}
	if _, ok := g.Base().Op.(pipelines.Scratch); ok {
		offered = caps.Platforms // the empty image is for any platform
	} else if offered, err = e.sourceOffers(ctx, g.Base()); err != nil {
		return nil, nil, err
	}
	if len(t.Platforms) > 0 {
		offered = intersect(t.Platforms, offered)
	}
	return offered, intersect(offered, caps.Platforms), nil
}

func (e *Engine) sourceOffers(ctx context.Context, n pipelines.Node) ([]pipelines.Platform, error) {
	switch o := n.Op.(type) {
	case pipelines.Bootstrap:
		b, err := e.bootstrapper(n, o)
		if err != nil {
			return nil, err
		}
		return b.Platforms(ctx, e.request(n, o, e.Events))
	case pipelines.Pull:
		if e.Resolve == nil {
			return nil, fmt.Errorf("%s: the platforms of a registry reference cannot be asked here", o.Ref)
		}
		ps, _, err := e.Resolve(ctx, o.Ref)
		return ps, err
	case pipelines.Layout:
		l, err := oci.Open(o.Path)
		if err != nil {
			return nil, err
		}
		return l.Platforms()
	}
	return []pipelines.Platform{n.Platform}, nil
}
