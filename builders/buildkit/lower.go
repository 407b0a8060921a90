//go:build !no_buildkit && linux && containers_image_openpgp

package buildkit

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/cfbuild/cfbuild/builders"
	"github.com/cfbuild/cfbuild/internal/assemble"
	"github.com/cfbuild/cfbuild/internal/oci"
	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/moby/buildkit/client/llb"
	solvererr "github.com/moby/buildkit/solver/errdefs"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// state is what a node means here. It is a value; every step makes a new one.
type state struct {
	src source
	// nodes are the steps on top of the source.
	nodes []pipelines.Node
	// base holds the groups that are whole; open the file steps on top of them,
	// which become one operation, and so one layer, when something needs it.
	base llb.State
	open row
}

// source is where a state starts: the empty image, an image of a layout, or a
// directory of this machine.
type source struct {
	node  pipelines.Node
	image *assemble.Image // nil for the empty image and for a directory
	local *localDir       // for Local
}

// lowering gives operations their meaning as BuildKit's low-level build definition.
// Without look it is a pure function of the graph, its sources and the epoch; with
// it, Copy and Secrets see what the steps before have made.
type lowering struct {
	r     *builders.Request
	epoch time.Time
	// packs takes the files that the definition brings along.
	packs *oci.Layout
	// show lets the daemon read a layout; pull brings an image of a registry here.
	show func(*oci.Layout)
	pull func(ctx context.Context, n pipelines.Node, o pipelines.Pull) (*assemble.Image, error)
	look looker
	// hostNetwork: the daemon's network is not what a step has by default.
	hostNetwork bool
	// native is the daemon's own platform.
	native pipelines.Platform

	// opened is told of each image that the definition starts from; may be nil.
	opened func(n pipelines.Node, img *assemble.Image)

	mu sync.Mutex // the daemon asks while lowering goes on
	// lent are the files that steps see while they run, by secret.
	lent map[string][]byte
	// vertices by the key that their names carry.
	vertices map[string]*vertex
}

func newLowering(r *builders.Request, epoch time.Time, packs *oci.Layout) *lowering {
	return &lowering{r: r, epoch: epoch, packs: packs, lent: map[string][]byte{}, vertices: map[string]*vertex{}}
}

// note remembers what a key stands for.
func (l *lowering) note(key string, v *vertex) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.vertices[key] = v
}

func (l *lowering) vertex(key string) *vertex {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.vertices[key]
}

// give lends the steps a file, by the name of a secret.
func (l *lowering) give(id string, b []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lent[id] = b
}

var _ builders.Lowering[state] = (*lowering)(nil)

// vertex is what an operation of the definition stands for.
type vertex struct {
	nodes []pipelines.Node
	// acts gives the node of each file action.
	acts []int
	// quiet: a part of a group, made to look at.
	quiet bool
	// source: an image the definition starts from.
	source bool
}

func (l *lowering) Scratch(_ context.Context, n pipelines.Node, _ pipelines.Scratch) (state, error) {
	return state{src: source{node: n}, base: llb.Scratch()}, nil
}

func (l *lowering) Pull(ctx context.Context, n pipelines.Node, o pipelines.Pull) (state, error) {
	img, err := l.pull(ctx, n, o)
	if err != nil {
		return state{}, failed(n, err)
	}
	return l.image(n, img), nil
}

func (l *lowering) Layout(_ context.Context, n pipelines.Node, o pipelines.Layout) (state, error) {
	img, err := openLayout(n, o)
	if err != nil {
		return state{}, failed(n, err)
	}
	return l.image(n, img), nil
}

// openLayout finds the image of a Layout node.
func openLayout(n pipelines.Node, o pipelines.Layout) (*assemble.Image, error) {
	l, err := oci.Open(o.Path)
	if err != nil {
		return nil, err
	}
	var desc v1.Descriptor
	if o.Digest == "" {
		if desc, err = l.Manifest(n.Platform); err != nil {
			return nil, err
		}
	} else {
		d, err := digest.Parse(o.Digest)
		if err != nil {
			return nil, fmt.Errorf("digest %q: %w", o.Digest, err)
		}
		fi, err := os.Stat(l.BlobPath(d))
		if err != nil {
			return nil, fmt.Errorf("%s: has no image %s", o.Path, d)
		}
		desc = v1.Descriptor{MediaType: v1.MediaTypeImageManifest, Digest: d, Size: fi.Size()}
	}
	return assemble.OpenImage(l, desc, n.Platform)
}

func (l *lowering) image(n pipelines.Node, img *assemble.Image) state {
	l.show(img.Layout)
	l.note(n.ID, &vertex{nodes: []pipelines.Node{n}, source: true})
	if l.opened != nil {
		l.opened(n, img)
	}
	if len(img.Manifest.Layers) == 0 {
		return state{src: source{node: n, image: img}, base: llb.Scratch()}
	}
	return state{src: source{node: n, image: img}, base: l.layout(img.Stored.Digest, n.Platform, n.ID, n.Name)}
}

// layout is an image that the session serves, by digest: the daemon keeps it under
// that, and asks for it again only when it has forgotten it.
func (l *lowering) layout(d digest.Digest, p pipelines.Platform, key, name string) llb.State {
	return llb.OCILayout("cfbuild/image@"+d.String(), llb.OCIStore("", storeID), llb.Platform(oci.ToPlatform(p)), named(key, name))
}

func (l *lowering) Local(_ context.Context, n pipelines.Node, o pipelines.Local) (state, error) {
	dir, err := readLocal(o)
	if err != nil {
		return state{}, failed(n, err)
	}
	return state{src: source{node: n, local: dir}, base: llb.Scratch()}, nil
}

func (l *lowering) Configure(_ context.Context, n pipelines.Node, base state, _ pipelines.Configure) (state, error) {
	if err := usable(n, base); err != nil {
		return state{}, err
	}
	base.open = base.open.with(n)
	return base.then(n), nil
}

// then adds a step.
func (s state) then(n pipelines.Node) state {
	s.nodes = append(slices.Clip(s.nodes), n)
	return s
}

// config is the configuration as the steps so far have it.
func (s state) config() (*assemble.Config, error) {
	c, err := assemble.ReadConfig(s.src.image)
	if err != nil {
		return nil, err
	}
	for _, n := range s.nodes {
		if o, ok := n.Op.(pipelines.Configure); ok {
			c.Configure(o)
		}
	}
	return c, nil
}

// usable: a directory of this machine can be copied from and nothing else.
func usable(n pipelines.Node, base state) error {
	if base.src.local == nil {
		return nil
	}
	return &builders.UnsupportedError{Builder: Name, Node: n, What: "a Local directory is not an image to build on",
		Fix: "start from Scratch and use Copy with From: the Local"}
}

// failed makes the error of a step that did not get as far as the daemon. What the
// daemon said of an earlier step stays that.
func failed(n pipelines.Node, err error) error {
	var step *builders.StepError
	var uns *builders.UnsupportedError
	var vertex *solvererr.VertexError
	if errors.As(err, &step) || errors.As(err, &uns) || errors.As(err, &vertex) {
		return err
	}
	return &builders.StepError{Node: n, ExitCode: -1, Err: err}
}

// step gives the constraints of an operation.
func (l *lowering) step(key, name string, p pipelines.Platform) []llb.ConstraintsOpt {
	out := []llb.ConstraintsOpt{llb.Platform(oci.ToPlatform(p)), named(key, name)}
	if l.r.NoCache {
		out = append(out, llb.IgnoreCache)
	}
	return out
}

// mark stands before the key in the name of a vertex. The daemon computes the digests
// of vertices anew, and vertices of several builds are one: a name is what is left.
const mark = " [cfbuild "

func named(key, name string) llb.ConstraintsOpt { return llb.WithCustomName(name + mark + key + "]") }

// keyOf reads the key out of a vertex's name.
func keyOf(name string) (string, bool) {
	i := strings.LastIndex(name, mark)
	if i < 0 || !strings.HasSuffix(name, "]") {
		return "", false
	}
	return name[i+len(mark) : len(name)-1], true
}

// epochOf is the time stamp everything made here gets.
func epochOf(t time.Time) time.Time {
	if t.IsZero() {
		return time.Unix(0, 0).UTC()
	}
	return t.UTC().Truncate(time.Second)
}
