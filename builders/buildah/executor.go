//go:build linux && cgo && containers_image_openpgp && exclude_graphdriver_btrfs

package buildah

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/cfbuild/cfbuild/builders"
	"github.com/cfbuild/cfbuild/internal/assemble"
	"github.com/cfbuild/cfbuild/pipelines"
	"golang.org/x/sys/unix"
)

// executor does one build.
type executor struct {
	c     *child
	st    *store
	r     *buildRequest
	epoch time.Time
	emu   *emulation

	ran, cached int

	from []*cacheFrom
	to   []cacheTo

	// Layers are compressed while the next step runs.
	press   sync.WaitGroup
	pressMu sync.Mutex // one at a time: the compressor is parallel itself
}

func newExecutor(c *child, st *store, r *buildRequest) *executor {
	return &executor{c: c, st: st, r: r, epoch: epochOf(r.Epoch), emu: newEmulation(st.run)}
}

// close waits for work that is still going on.
func (x *executor) close() {
	x.press.Wait()
	x.closeCaches()
}

// made is a state turned into layers.
type made struct {
	top    string
	groups []record // one for each group
	// blobs, one for each group, instead: nothing had to be unpacked.
	blobs []assemble.Layer
}

func (x *executor) build(ctx context.Context) (builders.Result, error) {
	final, err := builders.Lower(ctx, x.r.Graph, lowering{x})
	if err != nil {
		return builders.Result{}, err
	}
	if final.src.local != nil {
		return builders.Result{}, lowering{x}.usable(x.r.Graph.Result(), final)
	}
	m, err := x.realize(ctx, final, true)
	if err != nil {
		return builders.Result{}, err
	}
	res, err := x.output(ctx, final, m)
	if err != nil {
		return builders.Result{}, x.space(fmt.Errorf("output: %w", err))
	}
	res.Ran, res.Cached = x.ran, x.cached
	res.Exported = x.export(ctx, final, m)
	return res, nil
}

// realize makes what is not yet made of a state, from the bottom upwards.
func (x *executor) realize(ctx context.Context, s state, final bool) (made, error) {
	gs := s.groups()
	var m made
	if !x.r.NoCache {
		m = x.local(gs)
	}
	unpacked := false
	if len(m.groups) < len(gs) && len(x.from) > 0 {
		t, ok, err := x.taken(ctx, s, gs, len(m.groups), final)
		switch {
		case err != nil:
			return made{}, err
		case ok && t.blobs != nil:
			for _, g := range gs {
				x.fromCache(g)
			}
			return t, nil
		case ok:
			m, unpacked = t, true
		}
	}
	if unpacked {
		// Its source was told of.
	} else if len(m.groups) > 0 {
		if err := x.load(ctx, s.src); err != nil {
			return made{}, err
		}
		if s.src.image != nil {
			x.c.event(s.src.node, pipelines.EventCached, "")
		}
	} else {
		top, err := x.unpack(ctx, s.src)
		if err != nil {
			return made{}, err
		}
		m.top = top
	}
	for i := range m.groups {
		x.fromCache(gs[i])
		x.compress(final && !gs[i].bare, m.groups[i])
	}
	before := 0
	for i, g := range gs {
		if i >= len(m.groups) {
			parent := m.top
			sits := func(r record) bool { return !x.r.NoCache && x.fits(r) && r.sits(parent) }
			r, ran, err := x.keyed(ctx, g.key, g.steps[0].node, sits, func() (record, error) {
				return x.runGroup(ctx, s, before, g, parent)
			})
			if err != nil {
				return made{}, err
			}
			if ran {
				x.ran += len(g.steps)
			} else {
				x.fromCache(g)
			}
			m.groups = append(m.groups, r)
			m.top = r.Layer
			x.compress(final && !g.bare, r)
		}
		before += len(g.steps)
	}
	return m, nil
}

// local gives what is here of a state's lowest groups.
func (x *executor) local(gs []group) (m made) {
	for _, g := range gs {
		r, ok := x.st.lookup(g.key)
		// A layer that was made anew below takes those above with it.
		if !ok || !x.fits(r) || (len(m.groups) > 0 && !r.sits(m.top)) {
			break
		}
		m.groups = append(m.groups, r)
		m.top = r.Layer
	}
	return m
}

// fits: the layer's time stamps are not those of another epoch.
func (x *executor) fits(r record) bool { return r.Epoch == nil || *r.Epoch == x.epoch.Unix() }

func (x *executor) fromCache(g group) {
	for _, st := range g.steps {
		x.c.event(st.node, pipelines.EventCached, "")
	}
	x.cached += len(g.steps)
}

// compress makes the blob of a layer that will be in the image. Whether that went
// well shows when the blob is asked for.
func (x *executor) compress(wanted bool, r record) {
	if !wanted {
		return
	}
	x.press.Go(func() {
		x.pressMu.Lock()
		defer x.pressMu.Unlock()
		_, _ = x.st.blobOf(r, x.epoch)
	})
}

// keyed gives what a key stands for, if good says so, or makes it. Of several builds that want
// the same key at once, in this process or another, one makes it.
func (x *executor) keyed(ctx context.Context, key string, n pipelines.Node, good func(record) bool, make func() (record, error)) (r record, ran bool, err error) {
	if r, ok := x.st.lookup(key); ok && good(r) {
		return r, false, nil
	}
	l, err := lock(ctx, filepath.Join(x.st.dir, "locks", key), unix.LOCK_EX, func() {
		x.c.event(n, pipelines.EventNote, "another build is making this; waiting for it")
	})
	if err != nil {
		return record{}, false, err
	}
	defer l.remove()
	if r, ok := x.st.lookup(key); ok && good(r) {
		return r, false, nil
	}
	r, err = make()
	return r, true, err
}

// runGroup makes one layer. before is how many steps of the state lie below it.
func (x *executor) runGroup(ctx context.Context, s state, before int, g group, parent string) (_ record, err error) {
	if g.bare {
		for _, st := range g.steps {
			x.c.event(st.node, pipelines.EventStart, "")
			x.c.event(st.node, pipelines.EventDone, "")
		}
		r := record{Layer: parent, Started: farFuture}
		return r, x.st.keep(g.key, r)
	}
	// Copies and mounts need their sources: make them before this layer is begun.
	from := make([]made, len(g.steps))
	var shown []made
	for i, st := range g.steps {
		for _, img := range st.shown {
			m, err := x.realize(ctx, img, false)
			if err != nil {
				return record{}, err
			}
			shown = append(shown, m)
		}
		if _, ok := st.node.Op.(pipelines.Copy); ok && st.from.src.local == nil {
			if from[i], err = x.realize(ctx, st.from, false); err != nil {
				return record{}, err
			}
		}
	}
	layers, err := x.st.layers()
	if err != nil {
		return record{}, x.failed(g.steps[0].node, err)
	}
	w, err := x.st.begin(g.key)
	if err != nil {
		return record{}, x.failed(g.steps[0].node, err)
	}
	started := time.Now().Unix() // archtest: allow to tell time stamps made here from older ones
	kept := false
	defer func() {
		if err != nil && !kept {
			err = errors.Join(err, w.drop())
		}
	}()
	if _, err := layers.CreateLayer(w.layer, parent, nil, "", true, nil); err != nil {
		return record{}, x.failed(g.steps[0].node, fmt.Errorf("storage: %w", err))
	}
	rootfs, done, err := x.st.view(w.layer, true)
	if err != nil {
		return record{}, x.failed(g.steps[0].node, err)
	}
	if parent == "" {
		err = os.Chmod(rootfs, 0o755)
	}
	for i, st := range g.steps {
		if err != nil {
			break
		}
		x.c.event(st.node, pipelines.EventStart, "")
		if err = x.apply(ctx, s, before+i, st, root(rootfs), from[i], shown); err != nil {
			err = x.failed(st.node, err)
			break
		}
		x.c.event(st.node, pipelines.EventDone, "")
	}
	if derr := done(); err == nil && derr != nil {
		err = x.failed(g.steps[0].node, derr)
	}
	if err != nil {
		kept = x.r.Keep && ctx.Err() == nil && x.keepFailed(w, parent)
		return record{}, err
	}
	r := record{Layer: w.layer, Parent: parent, Started: started}
	return r, w.done(g.key, r)
}

// keepFailed leaves a failed layer for a person to look at.
func (x *executor) keepFailed(w *wip, parent string) bool {
	if _, err := w.held.f.WriteAt([]byte(keptMark), 0); err != nil {
		return false
	}
	x.c.note(pipelines.EventNote, "what the failed step changed is kept in %s until the cache is pruned", layerPath(x.st.dir, x.st.driver, w.layer))
	w.held.unlock()
	return true
}

// apply does one step in a mounted root.
func (x *executor) apply(ctx context.Context, s state, index int, st step, r root, from made, shown []made) (err error) {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	switch o := st.node.Op.(type) {
	case pipelines.Run:
		views := map[string]root{} // one view of each image
		var all []root
		for _, m := range shown {
			if _, ok := views[m.top]; !ok {
				view, done, err := x.st.view(m.top, false)
				if err != nil {
					return err
				}
				defer func() { err = errors.Join(err, done()) }()
				views[m.top] = root(view)
			}
			all = append(all, views[m.top])
		}
		return x.run(ctx, s, index, st.node, o, r, all)
	case pipelines.File:
		return r.writeFile(o)
	case pipelines.Remove:
		return r.remove(o)
	case pipelines.Configure:
		return nil
	case pipelines.Copy:
		if d := st.from.src.local; d != nil {
			return copyStep(d.root, r, d, o)
		}
		view, done, err := x.st.view(from.top, false)
		if err != nil {
			return err
		}
		return errors.Join(copyStep(root(view), r, nil, o), done())
	}
	return fmt.Errorf("unknown operation %T", st.node.Op)
}

// failed makes the error of a step, once, and says so in an event.
func (x *executor) failed(n pipelines.Node, err error) error {
	var step *builders.StepError
	var uns *builders.UnsupportedError
	if errors.As(err, &step) || errors.As(err, &uns) {
		if step != nil && step.Node.ID == n.ID {
			x.c.event(n, pipelines.EventFailed, step.Error())
		}
		return err
	}
	step = &builders.StepError{Node: n, ExitCode: -1, Err: x.space(err)}
	x.c.event(n, pipelines.EventFailed, step.Error())
	return step
}

// space says what to do about a full disk.
func (x *executor) space(err error) error { return spaceError(err, x.st.dir) }

func isFull(err error) bool { return errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) }

func spaceError(err error, dir string) error {
	if !isFull(err) && (err == nil || !strings.Contains(err.Error(), unix.ENOSPC.Error())) {
		return err
	}
	return &hinted{err, "the disk of " + dir + " or of the output is full: free some space, or run cfbuild cache prune"}
}
