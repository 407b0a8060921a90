//go:build linux && cgo && containers_image_openpgp && exclude_graphdriver_btrfs

package buildah

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/cfbuild/cfbuild/builders"
	"github.com/cfbuild/cfbuild/internal/assemble"
	"github.com/cfbuild/cfbuild/internal/atomicfile"
	"github.com/cfbuild/cfbuild/internal/oci"
	"github.com/cfbuild/cfbuild/internal/stepcache"
	"github.com/cfbuild/cfbuild/pipelines"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// cacheFrom is a cache that results of steps are taken from. Without a place it is
// what was taken before: layers that came here and were not unpacked.
type cacheFrom struct {
	place stepcache.Place
	asked bool
	gone  bool // it failed: this build asks it nothing more
	byKey map[string][]stepcache.Entry
}

// openCaches makes the places of a build's caches; one that is both read and written
// is one place.
func (x *executor) openCaches() error {
	open := map[string]stepcache.Place{}
	place := func(r builders.CacheRef) (stepcache.Place, error) {
		name := r.Type + " " + r.String()
		if p, ok := open[name]; ok {
			return p, nil
		}
		var p stepcache.Place
		var err error
		switch r.Type {
		case builders.CacheLocal:
			p = stepcache.Local(r.Dir, Name, x.r.Graph.Platform)
		case builders.CacheRegistry:
			p, err = stepcache.Registry(r.Ref, Name, x.r.Graph.Platform, stepcache.RegistryOptions{Site: x.r.Site,
				Credentials: x.r.credentials(), AuthFile: x.r.AuthFile})
		default:
			err = fmt.Errorf("cache of type %q: this builder has none", r.Type)
		}
		open[name] = p
		return p, err
	}
	if !x.r.NoCache && len(x.r.CacheFrom) > 0 {
		x.from = append(x.from, &cacheFrom{})
		for _, r := range x.r.CacheFrom {
			p, err := place(r)
			if err != nil {
				return err
			}
			x.from = append(x.from, &cacheFrom{place: p})
		}
	}
	for _, r := range x.r.CacheTo {
		p, err := place(r)
		if err != nil {
			return err
		}
		x.to = append(x.to, cacheTo{p, r.Mode != "min"})
	}
	return nil
}

func (x *executor) closeCaches() {
	for _, c := range x.from {
		if c.place != nil {
			c.place.Close()
		}
	}
	for _, t := range x.to {
		t.place.Close()
	}
}

// outside are results of the lowest groups of a state that a cache has.
type outside struct {
	entries []stepcache.Entry
	from    *cacheFrom
}

// outside finds the cache that has most of a state's groups, if it is more than
// there are here. A result counts only on top of the layers it was made on.
func (x *executor) outside(ctx context.Context, gs []group, here int) (outside, bool) {
	var best outside
	for _, c := range x.from {
		if len(best.entries) == len(gs) {
			break // nobody has more
		}
		o := outside{from: c}
		below, real := "", 0
		for _, g := range gs {
			e, ok := stepcache.Entry{Key: g.key, Epoch: x.epoch.Unix(), Below: below}, true
			if !g.bare {
				e, ok = x.entry(ctx, c, g.key, below)
				real++
			}
			if !ok {
				break
			}
			o.entries = append(o.entries, e)
			below = stepcache.Chain(below, e)
			if real > 0 && len(o.entries) > max(here, len(best.entries)) {
				best = o
			}
		}
	}
	return best, best.from != nil
}

// entry asks one cache for one result.
func (x *executor) entry(ctx context.Context, c *cacheFrom, key, below string) (stepcache.Entry, bool) {
	fits := func(e stepcache.Entry) bool {
		return e.Key == key && e.Epoch == x.epoch.Unix() && e.Below == below
	}
	if c.place == nil {
		var e stepcache.Entry
		l, err := x.st.blobs()
		path := x.keptPath(key)
		if err != nil || !atomicfile.ReadJSON(path, &e) || !fits(e) || !(e.Empty() || l.Has(e.Digest, e.Size)) {
			return e, false
		}
		now := time.Now() // archtest: allow it only orders what prune removes
		_ = os.Chtimes(path, now, now)
		return e, true
	}
	if !c.asked {
		c.asked = true
		x.ask(ctx, c)
	}
	if c.gone {
		return stepcache.Entry{}, false
	}
	for _, e := range c.byKey[key] {
		if fits(e) {
			return e, true
		}
	}
	return stepcache.Entry{}, false
}

// ask reads the index of a cache.
func (x *executor) ask(ctx context.Context, c *cacheFrom) {
	idx, err := c.place.Read(ctx)
	if err != nil {
		c.gone = true
		if errors.Is(err, stepcache.ErrNone) {
			x.c.note(pipelines.EventNote, "cache %s: %v", c.place, err)
		} else if ctx.Err() == nil {
			x.warnCache(c.place, "is not used", err)
		}
		return
	}
	c.byKey = map[string][]stepcache.Entry{}
	for _, e := range idx.Entries {
		c.byKey[e.Key] = append(c.byKey[e.Key], e)
	}
}

func (x *executor) warnCache(p stepcache.Place, what string, err error) {
	text := fmt.Sprintf("cache %s %s: %v", p, what, err)
	if hint := stepcache.Hint(err); hint != "" {
		text += "; " + hint
	}
	x.c.note(pipelines.EventWarning, "%s", text)
}

// keptPath is where an entry is kept whose layer came here.
func (x *executor) keptPath(key string) string {
	return filepath.Join(x.st.dir, "meta", "step-"+key+"-"+strconv.FormatInt(x.epoch.Unix(), 10))
}

// fetch brings layers here. When a cache fails it says so, and the cache is gone.
func (x *executor) fetch(ctx context.Context, o outside) error {
	l, err := x.st.blobs()
	if err != nil {
		return err
	}
	layers := 0
	for _, e := range o.entries {
		if e.Empty() || l.Has(e.Digest, e.Size) {
			continue
		}
		if o.from.place == nil {
			o.from.gone = true // pruned meanwhile
			return fmt.Errorf("layer %s is gone", e.Digest)
		}
		if err := o.from.place.Fetch(ctx, e, l.Layout); err != nil {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			if isFull(err) {
				return err
			}
			o.from.gone = true
			x.warnCache(o.from.place, "is not used", err)
			return err
		}
		layers++
	}
	if o.from.place == nil {
		return nil
	}
	for _, e := range o.entries {
		if err := atomicfile.WriteJSON(x.keptPath(e.Key), e); err != nil {
			return err
		}
	}
	x.c.note(pipelines.EventNote, "cache %s has %d results, of which %d layers were fetched", o.from.place, len(o.entries), layers)
	return nil
}

// taken makes what it can of a state out of caches. Of the image itself no layer is
// unpacked when nothing is left to be done on top of them.
func (x *executor) taken(ctx context.Context, s state, gs []group, here int, final bool) (m made, ok bool, err error) {
	for {
		o, some := x.outside(ctx, gs, here)
		if !some {
			return made{}, false, context.Cause(ctx)
		}
		if err := x.fetch(ctx, o); err != nil {
			if ctx.Err() != nil || !o.from.gone {
				return made{}, false, err
			}
			continue // another cache may do
		}
		if final && len(o.entries) == len(gs) {
			if err := x.load(ctx, s.src); err != nil {
				return made{}, false, err
			}
			if s.src.image != nil {
				x.c.event(s.src.node, pipelines.EventCached, "")
			}
			for _, e := range o.entries {
				m.blobs = append(m.blobs, blobOfEntry(e))
			}
			return m, true, nil
		}
		m, err := x.stack(ctx, s, gs, o)
		return m, err == nil, err
	}
}

func blobOfEntry(e stepcache.Entry) assemble.Layer {
	return assemble.Layer{Empty: e.Empty(), DiffID: e.DiffID, Digest: e.Digest, Size: e.Size}
}

// stack unpacks layers that came from a cache on top of each other; those that are
// here already, with the same content, stay.
func (x *executor) stack(ctx context.Context, s state, gs []group, o outside) (made, error) {
	top, err := x.unpack(ctx, s.src)
	if err != nil {
		return made{}, err
	}
	m := made{top: top}
	l, err := x.st.blobs()
	if err != nil {
		return made{}, err
	}
	for i, e := range o.entries {
		g, parent := gs[i], m.top
		same := func(r record) bool {
			if g.bare {
				return r.Layer == parent
			}
			var b assemble.Layer
			return r.sits(parent) && atomicfile.ReadJSON(x.st.blobMeta(r.Layer, x.epoch), &b) && b == blobOfEntry(e)
		}
		r, _, err := x.keyed(ctx, g.key, g.steps[0].node, same, func() (record, error) {
			if g.bare {
				r := record{Layer: parent, Started: farFuture}
				return r, x.st.keep(g.key, r)
			}
			return x.unpackEntry(ctx, g.key, parent, l.Layout, e)
		})
		if err != nil {
			return made{}, x.failed(g.steps[0].node, err)
		}
		m.groups = append(m.groups, r)
		m.top = r.Layer
	}
	return m, nil
}

// unpackEntry makes the layer of an entry. It holds the time stamps of one epoch, and
// has its blob already.
func (x *executor) unpackEntry(ctx context.Context, key, parent string, l *oci.Layout, e stepcache.Entry) (record, error) {
	epoch := x.epoch.Unix()
	return x.fill(key, record{Parent: parent, Started: farFuture, Epoch: &epoch}, func(layer, target string) error {
		if !e.Empty() {
			d := v1.Descriptor{MediaType: v1.MediaTypeImageLayerGzip, Digest: e.Digest, Size: e.Size}
			if err := x.unpackBlob(ctx, target, parent != "", l, d, e.DiffID); err != nil {
				return err
			}
		}
		return atomicfile.WriteJSON(x.st.blobMeta(layer, x.epoch), blobOfEntry(e))
	})
}
