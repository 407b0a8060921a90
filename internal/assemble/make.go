package assemble

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"path"
	"slices"

	"github.com/cfbuild/cfbuild/internal/oci"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// started is when a group began; never, if that is not known.
func started(g Group) int64 {
	if g.Started.IsZero() {
		return math.MaxInt64
	}
	return g.Started.Unix()
}

// layer gives the final layer of a group, made now unless it is kept, and puts it on
// top.
func (a *assembly) layer(ctx context.Context, g Group) (Layer, error) {
	if Bare(g.Nodes) {
		return Layer{}, errors.New("steps that only configure have no layer")
	}
	if err := g.Raw.Digest.Validate(); err != nil {
		return Layer{}, fmt.Errorf("%w: digest %q: %w", oci.ErrCorrupt, g.Raw.Digest, err)
	}
	key := a.key(g)
	made, ok := a.c.layer(key)
	var items []item
	if !ok {
		var err error
		if made, items, err = a.make(ctx, g); err != nil {
			return Layer{}, err
		}
	}
	if !made.Empty {
		s := source{layout: a.c.blobs.Layout, desc: v1.Descriptor{MediaType: v1.MediaTypeImageLayerGzip, Digest: made.Digest, Size: made.Size},
			diff: made.DiffID, items: items}
		if !ok {
			if err := a.c.keepItems(s); err != nil {
				return Layer{}, err
			}
		}
		a.push(s)
	}
	if !ok {
		return made, a.c.keepLayer(key, made)
	}
	return made, nil
}

func (a *assembly) make(ctx context.Context, g Group) (Layer, []item, error) {
	below, err := a.tree(ctx)
	if err != nil {
		return Layer{}, nil, err
	}
	raw, items, err := spoolOf(ctx, source{layout: a.s.Raw, desc: *g.Raw}, a.tempDir())
	if err != nil {
		return Layer{}, nil, err
	}
	defer raw.Close()
	var keep func(old *node, f *inode)
	if a.s.LostXattrs {
		keep = keepXattrs
	}
	n := len(a.sources)
	above, err := below.with(n, items, true, keep)
	if err != nil {
		return Layer{}, nil, err
	}
	clamp := Clamp(a.s.Epoch.Unix(), started(g))
	changes := withoutPoints(above.changes(below, clamp), below, g.Points)
	if len(changes) == 0 {
		return Layer{Empty: true}, nil, nil
	}
	var out []item
	made, err := MakeLayer(a.c.blobs.Layout, a.s.Epoch, func(w *LayerWriter) error {
		first := map[*inode]string{}
		for _, c := range changes {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			it, err := addChange(w, c, clamp, first, func() (io.ReadCloser, error) {
				if c.f.layer == n {
					return raw.member(c.f.Start)
				}
				return a.sources[c.f.layer].member(c.f.Start)
			})
			if err != nil {
				return fmt.Errorf("/%s: %w", c.path, err)
			}
			out = append(out, it)
		}
		return nil
	})
	return made, out, err
}

// withoutPoints leaves out what was made to mount something on and holds nothing.
func withoutPoints(all []change, below *tree, points []string) []change {
	var out []change
	full := map[string]bool{}                // directories that something is left in
	for _, c := range slices.Backward(all) { // what is in a directory follows it
		if c.f != nil && slices.Contains(points, c.path) && below.at(c.path) == nil && !full[c.path] &&
			(c.f.Type == tar.TypeDir || (c.f.Type == tar.TypeReg && c.f.Size == 0)) {
			continue
		}
		full[path.Dir(c.path)] = true
		out = append(out, c)
	}
	slices.Reverse(out)
	return out
}

// addChange writes a change, and says what a reader of the layer will find.
func addChange(w *LayerWriter, c change, clamp func(int64) int64, first map[*inode]string, open func() (io.ReadCloser, error)) (it item, err error) {
	start, err := w.at()
	if err != nil {
		return it, err
	}
	if c.f == nil {
		return item{Path: c.path, Type: typeGone, Start: start}, w.Add(Entry{Path: c.path, Gone: true}, nil)
	}
	it = c.f.item
	it.Path, it.Time, it.Start = c.path, clamp(it.Time), start
	e := Entry{Path: it.Path, Type: it.Type, Mode: it.Mode, UID: it.UID, GID: it.GID, Time: it.Time, Size: it.Size, Link: it.Link,
		Major: it.Major, Minor: it.Minor, Xattrs: it.Xattrs}
	if it.Type == tar.TypeReg {
		e.File = c.f
		if name, ok := first[c.f]; ok {
			it = item{Path: it.Path, Type: tar.TypeLink, Link: name, Start: start}
		} else {
			first[c.f] = it.Path
		}
	}
	return it, w.Add(e, open)
}

// keepXattrs gives a file the attributes that the raw layer cannot have.
func keepXattrs(old *node, f *inode) {
	if old.f.Type != f.Type || (f.Type != tar.TypeDir && (old.f.Type != tar.TypeReg || old.f.Sum != f.Sum || old.f.Size != f.Size)) {
		return
	}
	for k, v := range old.f.Xattrs {
		if k == capability {
			continue
		}
		if _, ok := f.Xattrs[k]; ok {
			continue
		}
		f.Xattrs = maps.Clone(f.Xattrs)
		if f.Xattrs == nil {
			f.Xattrs = map[string]string{}
		}
		f.Xattrs[k] = v
	}
}

const capability = "security.capability"
