//go:build linux && cgo && containers_image_openpgp && exclude_graphdriver_btrfs

package buildah

import (
	"context"
	"fmt"

	"github.com/cfbuild/cfbuild/internal/stepcache"
	"github.com/cfbuild/cfbuild/pipelines"
)

// cacheTo is a cache that results of steps are kept in.
type cacheTo struct {
	place stepcache.Place
	// all: those of other images that steps copy from or look into, too.
	all bool
}

// export keeps the results of steps in caches, now that the image is whole. That
// something failed is said and nothing else; it gives how many caches have them.
func (x *executor) export(ctx context.Context, final state, m made) (done int) {
	if len(x.to) == 0 || ctx.Err() != nil {
		return 0
	}
	if x.st.single {
		x.c.note(pipelines.EventWarning, "nothing is kept in caches: with one user id only, files lack their owners (%s)", singleIDFix())
		return 0
	}
	for _, t := range x.to {
		err := x.exportTo(ctx, t, final, m)
		if err == nil {
			done++
		} else if ctx.Err() == nil {
			x.warnCache(t.place, "does not keep the results of steps", err)
		}
	}
	return done
}

func (x *executor) exportTo(ctx context.Context, t cacheTo, final state, m made) error {
	l, err := x.st.blobs()
	if err != nil {
		return err
	}
	idx := stepcache.Index{Builder: Name, Platform: x.r.Graph.Platform}
	if idx.Entries, err = x.results(final.groups(), m); err != nil {
		return err
	}
	if t.all {
		seen := map[string]bool{final.key: true}
		for _, s := range others(final, seen) {
			more, err := x.other(ctx, s)
			if err != nil {
				return err
			}
			idx.Entries = append(idx.Entries, more...)
		}
	}
	if idx.Entries = unique(idx.Entries); len(idx.Entries) == 0 {
		return nil // an image without steps
	}
	sent, err := t.place.Write(ctx, idx, l.Layout)
	if err != nil {
		return err
	}
	x.c.note(pipelines.EventNote, "cache %s keeps the results of %d steps; %d bytes were new", t.place, len(idx.Entries), sent)
	return nil
}

// results are the entries of a state's groups.
func (x *executor) results(gs []group, m made) ([]stepcache.Entry, error) {
	var out []stepcache.Entry
	below := ""
	for i := range max(len(m.groups), len(m.blobs)) {
		b, err := x.blobAt(gs[i], m, i)
		if err != nil {
			return nil, err
		}
		e := stepcache.Entry{Key: gs[i].key, Epoch: x.epoch.Unix(), Below: below}
		if !b.Empty {
			e.DiffID, e.Digest, e.Size = b.DiffID, b.Digest, b.Size
		}
		below = stepcache.Chain(below, e)
		out = append(out, e)
	}
	return out, nil
}

// other gives the results of an image that steps read: those that are here, or what
// a cache has, which need not come here to stay there.
func (x *executor) other(ctx context.Context, s state) ([]stepcache.Entry, error) {
	gs := s.groups()
	m := x.local(gs)
	if o, ok := x.outside(ctx, gs, len(m.groups)); ok {
		return o.entries, nil
	}
	out, err := x.results(gs, m)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s.src.node.Name, err)
	}
	return out, nil
}

// others lists the states that a state's steps read, and those theirs read.
func others(s state, seen map[string]bool) []state {
	var out []state
	for _, st := range s.steps {
		reads := st.shown
		if _, ok := st.node.Op.(pipelines.Copy); ok && st.from.src.local == nil {
			reads = append(reads[:len(reads):len(reads)], st.from)
		}
		for _, r := range reads {
			if !seen[r.key] {
				seen[r.key] = true
				out = append(append(out, r), others(r, seen)...)
			}
		}
	}
	return out
}

// unique drops entries that several states share.
func unique(all []stepcache.Entry) []stepcache.Entry {
	seen := map[stepcache.Entry]bool{}
	var out []stepcache.Entry
	for _, e := range all {
		if !seen[e] {
			seen[e] = true
			out = append(out, e)
		}
	}
	return out
}
