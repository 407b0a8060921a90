//go:build !no_buildkit && linux && containers_image_openpgp

package buildkit

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/cfbuild/cfbuild/builders"
	"github.com/cfbuild/cfbuild/internal/assemble"
	"github.com/cfbuild/cfbuild/internal/oci"
	"github.com/cfbuild/cfbuild/internal/stepfiles"
	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

func (b *builder) newBuild(r *builders.Request) (*build, error) {
	x := &build{b: b, r: r, epoch: epochOf(r.Epoch), outside: &caches{}}
	var err error
	if x.blobs, err = openBlobs(b.dir); err != nil {
		return nil, err
	}
	x.l = newLowering(r, x.epoch, x.blobs.shared)
	x.l.show, x.l.pull = x.blobs.show, x.pull
	x.again()
	return x, nil
}

// again begins to watch, or begins anew; an event that was sent is not sent twice.
func (x *build) again() {
	w := newWatch(x.l)
	w.send, w.claim, w.cache = x.event, x.b.claim, x.cacheVertex
	for _, v := range x.r.Secrets {
		w.secrets = append(w.secrets, stepfiles.SecretLines(v)...)
	}
	if x.w != nil {
		x.w.close()
		w.said = x.w.said
	}
	x.w = w
}

func (x *build) event(n pipelines.Node, kind pipelines.EventKind, text string) {
	e := pipelines.Event{Kind: kind, Job: x.r.Job, Step: n.ID, Name: n.Name, Where: n.Where.String(), Text: text}
	if kind == pipelines.EventLog {
		e.Name, e.Where = "", ""
	}
	x.r.Events.Send(e)
}

func (x *build) note(kind pipelines.EventKind, format string, args ...any) {
	x.r.Events.Send(pipelines.Event{Kind: kind, Job: x.r.Job, Text: fmt.Sprintf(format, args...)})
}

// image makes the output.
func (x *build) image(ctx context.Context) (builders.Result, error) {
	if x.r.Keep {
		x.note(pipelines.EventNote, "a failed step's files stay within the daemon; --keep has no effect with BuildKit")
	}
	defer func() { x.outside.close() }()
	res, err := x.make(ctx)
	// The manifest, then the layers it names.
	for again := 0; again < 2 && ctx.Err() == nil; again++ {
		var bad *spoiled
		if !errors.As(err, &bad) {
			break
		}
		// The daemon has it still.
		for _, d := range bad.blobs {
			_ = os.Remove(x.blobs.shared.BlobPath(d))
		}
		x.outside.close()
		x.outside = &caches{}
		x.again()
		res, err = x.make(ctx)
	}
	return res, err
}

// spoiled: blobs of daemons that were kept here are not what they were.
type spoiled struct {
	error
	blobs []digest.Digest
}

func (s *spoiled) Unwrap() error { return s.error }

// make makes the output once.
func (x *build) make(ctx context.Context) (builders.Result, error) {
	wait, stop := x.ahead(ctx)
	defer stop()
	final, layers, err := x.run(ctx)
	var bad *spoiled
	if errors.As(err, &bad) {
		return builders.Result{}, err
	}
	if err != nil {
		return builders.Result{}, x.end(ctx, err)
	}
	ran, cached := x.w.done(final.nodes)
	spec := assemble.Spec{Platform: x.r.Graph.Platform, Epoch: x.epoch, Raw: x.blobs.shared, LostXattrs: true,
		Output: x.r.Output, Cache: x.b.layersDir()}
	if img := final.src.image; img != nil {
		spec.Base = &assemble.Base{Layout: img.Layout, Desc: img.Stored}
	}
	if spec.Groups, err = raw(final, layers); err != nil {
		return builders.Result{}, err
	}
	if err := x.used(spec.Groups); err != nil {
		return builders.Result{}, err
	}
	wait()
	res, err := assemble.Write(ctx, spec)
	var layer *assemble.LayerError
	if errors.As(err, &layer) && layer.Node != nil && errors.Is(err, oci.ErrCorrupt) {
		bad = &spoiled{error: err}
		for _, d := range layers {
			bad.blobs = append(bad.blobs, d.Digest)
		}
		return builders.Result{}, bad
	}
	if err != nil {
		return builders.Result{}, x.space(err)
	}
	res.Ran, res.Cached = ran, cached
	res.Exported = x.outside.finish(x)
	return res, nil
}

// points are what a container's runtime makes for its own mounts and leaves there; the
// daemon takes away those of the step's.
var points = []string{"dev", "proc", "sys"}

// raw gives each group its layer: one operation makes one layer.
func raw(final state, layers []v1.Descriptor) ([]assemble.Group, error) {
	if img := final.src.image; img != nil && len(layers) > 0 {
		layers = layers[min(len(layers), len(img.Manifest.Layers)):]
	}
	var out []assemble.Group
	for _, nodes := range assemble.Groups(final.nodes) {
		g := assemble.Group{Nodes: nodes}
		if !assemble.Bare(nodes) {
			if len(layers) == 0 {
				return nil, fmt.Errorf("builder buildkit: the daemon sent no layer for %q", names(nodes))
			}
			g.Raw, layers = &layers[0], layers[1:]
			g.Points = points
		}
		out = append(out, g)
	}
	if len(layers) > 0 {
		return nil, fmt.Errorf("builder buildkit: the daemon sent %d layers that no step asked for", len(layers))
	}
	return out, nil
}

// used notes that blobs were of use, for pruning. The daemon does not send what one of
// the graph's layouts has.
func (x *build) used(groups []assemble.Group) error {
	now := time.Now() // archtest: allow it only orders what prune removes
	for _, g := range groups {
		if g.Raw == nil {
			continue
		}
		at := x.blobs.shared.BlobPath(g.Raw.Digest)
		if err := os.Chtimes(at, now, now); !errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if p, _, err := x.blobs.find(g.Raw.Digest); err == nil {
			if err := x.blobs.shared.LinkBlob(p, g.Raw.Digest); err != nil {
				return err
			}
		}
	}
	return nil
}
