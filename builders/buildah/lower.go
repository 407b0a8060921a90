//go:build linux && cgo && containers_image_openpgp && exclude_graphdriver_btrfs

package buildah

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/cfbuild/cfbuild/builders"
	"github.com/cfbuild/cfbuild/internal/assemble"
	"github.com/cfbuild/cfbuild/pipelines"
)

// keyVersion changes when the meaning of a key or the making of a layer does.
const keyVersion = "1"

// state is what a node means here: a source and the steps on top of it. It is a
// value; every step makes a new one.
type state struct {
	key   string
	src   source
	steps []step
}

// source is where a state starts: the empty image, an image of a layout, or a
// directory of this machine.
type source struct {
	key   string
	node  pipelines.Node
	image *image    // nil for the empty image and for a directory
	local *localDir // for Local
}

// step is one operation on top of another state.
type step struct {
	key  string
	node pipelines.Node
	from state // of Copy
	// shown are the images of a Run's mounts, in order.
	shown []state
}

// lowering gives operations their meaning. It reads what sources are, which may
// ask a registry, and makes nothing.
type lowering struct{ x *executor }

var _ builders.Lowering[state] = lowering{}

// keyOf hashes what makes a step what it is.
func keyOf(parts ...any) string {
	h := sha256.New()
	enc := json.NewEncoder(h)
	for _, p := range append([]any{keyVersion}, parts...) {
		if err := enc.Encode(p); err != nil {
			panic(fmt.Sprintf("buildah: a key does not marshal: %v", err)) // operations hold no channel or function
		}
	}
	return hex.EncodeToString(h.Sum(nil))
}

func (l lowering) Scratch(_ context.Context, n pipelines.Node, _ pipelines.Scratch) (state, error) {
	key := keyOf("scratch", n.Platform)
	return state{key: key, src: source{key: key, node: n}}, nil
}

func (l lowering) Pull(ctx context.Context, n pipelines.Node, o pipelines.Pull) (state, error) {
	img, err := l.x.resolvePull(ctx, n, o)
	if err != nil {
		return state{}, &builders.StepError{Node: n, ExitCode: -1, Err: err}
	}
	return imageState(n, img), nil
}

func (l lowering) Layout(_ context.Context, n pipelines.Node, o pipelines.Layout) (state, error) {
	img, err := openImage(n, o)
	if err != nil {
		return state{}, &builders.StepError{Node: n, ExitCode: -1, Err: err}
	}
	return imageState(n, img), nil
}

func imageState(n pipelines.Node, img *image) state {
	key := keyOf("image", img.desc.Digest, n.Platform)
	return state{key: key, src: source{key: key, node: n, image: img}}
}

func (l lowering) Local(_ context.Context, n pipelines.Node, o pipelines.Local) (state, error) {
	dir, err := readLocal(o)
	if err != nil {
		return state{}, &builders.StepError{Node: n, ExitCode: -1, Err: err}
	}
	// The key of a directory is made by Copy, of what is copied.
	return state{key: keyOf("local", n.ID), src: source{node: n, local: dir}}, nil
}

// then adds a step.
func (s state) then(st step) state {
	return state{key: st.key, src: s.src, steps: append(slices.Clip(s.steps), st)}
}

func (l lowering) Run(_ context.Context, n pipelines.Node, base state, mounts []state, o pipelines.Run) (state, error) {
	if err := l.usable(n, base); err != nil {
		return state{}, err
	}
	for _, s := range o.Secrets {
		if _, ok := l.x.r.Secrets[s.ID]; !ok && !s.Optional {
			return state{}, &builders.StepError{Node: n, ExitCode: -1, Err: &hinted{
				fmt.Errorf("secret %s was not given", s.ID), "give it with --secret id=" + s.ID + ",…"}}
		}
	}
	var shown []string
	for _, m := range mounts {
		if m.src.local != nil {
			return state{}, &builders.UnsupportedError{Builder: Name, Node: n, What: "a Local directory is not an image to mount",
				Fix: "copy it into an image from Scratch first"}
		}
		shown = append(shown, m.key)
	}
	// The epoch is in the step's environment.
	return base.then(step{key: keyOf("run", o, l.x.epoch.Unix(), shown, base.key), node: n, shown: mounts}), nil
}

func (l lowering) Copy(_ context.Context, n pipelines.Node, base, from state, o pipelines.Copy) (state, error) {
	if err := l.usable(n, base); err != nil {
		return state{}, err
	}
	content := from.key
	if d := from.src.local; d != nil {
		sum, err := d.digest(o.Src)
		if err != nil {
			return state{}, &builders.StepError{Node: n, ExitCode: -1, Err: err}
		}
		content = sum
	}
	return base.then(step{key: keyOf("copy", o, content, base.key), node: n, from: from}), nil
}

func (l lowering) File(_ context.Context, n pipelines.Node, base state, o pipelines.File) (state, error) {
	return l.plain("file", n, base, o)
}

func (l lowering) Remove(_ context.Context, n pipelines.Node, base state, o pipelines.Remove) (state, error) {
	return l.plain("remove", n, base, o)
}

func (l lowering) Configure(_ context.Context, n pipelines.Node, base state, o pipelines.Configure) (state, error) {
	return l.plain("configure", n, base, o)
}

func (l lowering) plain(kind string, n pipelines.Node, base state, op any) (state, error) {
	if err := l.usable(n, base); err != nil {
		return state{}, err
	}
	return base.then(step{key: keyOf(kind, op, base.key), node: n}), nil
}

// usable: a directory of this machine can be copied from and nothing else.
func (l lowering) usable(n pipelines.Node, base state) error {
	if base.src.local == nil {
		return nil
	}
	return &builders.UnsupportedError{Builder: Name, Node: n, What: "a Local directory is not an image to build on",
		Fix: "start from Scratch and use Copy with From: the Local"}
}

// epochOf is the time stamp everything made here gets.
func epochOf(t time.Time) time.Time {
	if t.IsZero() {
		return time.Unix(0, 0).UTC()
	}
	return t.UTC().Truncate(time.Second)
}

// group is steps that make one layer.
type group struct {
	key   string
	steps []step
	bare  bool // it only changes the configuration
}

// groups cuts the steps of a state as [assemble.Groups] has it.
func (s state) groups() []group {
	nodes := make([]pipelines.Node, len(s.steps))
	for i, st := range s.steps {
		nodes[i] = st.node
	}
	var out []group
	at := 0
	for _, part := range assemble.Groups(nodes) {
		g := group{steps: s.steps[at : at+len(part)], bare: assemble.Bare(part)}
		g.key = g.steps[len(part)-1].key
		out = append(out, g)
		at += len(part)
	}
	return out
}
