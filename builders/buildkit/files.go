//go:build !no_buildkit && linux && containers_image_openpgp

package buildkit

import (
	"archive/tar"
	"context"
	"fmt"
	"path"
	"strings"
	"time"

	"github.com/cfbuild/cfbuild/builders"
	"github.com/cfbuild/cfbuild/internal/stepfiles"
	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/moby/buildkit/client/llb"
)

func (l *lowering) File(ctx context.Context, n pipelines.Node, base state, o pipelines.File) (state, error) {
	if err := usable(n, base); err != nil {
		return state{}, err
	}
	dir, name := path.Split(path.Clean("/" + o.Path))
	if name == "" {
		return state{}, &builders.UnsupportedError{Builder: Name, Node: n, What: "cannot change the root directory itself",
			Fix: "use a Run step: chmod, chown"}
	}
	it := &item{kind: tar.TypeReg, mode: int64(o.Mode & 0o7777), data: o.Data}
	it.uid, it.gid, _ = stepfiles.Owner(o.Owner)
	at := &l.epoch
	switch {
	case o.Dir:
		it.kind, it.data = tar.TypeDir, nil
		if it.mode == 0 {
			it.mode = 0o755
		}
		// One that is there keeps its time stamp.
		if t, err := l.before(ctx, base); err != nil {
			return state{}, err
		} else if t != nil {
			if _, st, err := resolve(ctx, t, path.Join(dir, name), false); err != nil {
				return state{}, failed(n, err)
			} else if st != nil && isDir(st) {
				it.mtime, at = time.Unix(0, st.ModTime), nil
			}
		}
	case o.Link != "":
		it.kind, it.mode, it.data, it.link = tar.TypeSymlink, 0o777, nil, o.Link
	case it.mode == 0:
		it.mode = 0o644
	}
	top := newDir(0o755, 0, 0)
	top.add(name, it)
	r := base.open.with(n)
	r.lay(top, dir, at)
	base.open = r
	return base.then(n), nil
}

func (l *lowering) Remove(ctx context.Context, n pipelines.Node, base state, o pipelines.Remove) (state, error) {
	if err := usable(n, base); err != nil {
		return state{}, err
	}
	r := base.open.with(n)
	for _, p := range o.Paths {
		p = path.Clean("/" + p)
		dir, name := path.Split(p)
		if !hasWildcard(name) {
			r.rm(p, false)
			continue
		}
		// The daemon stumbles over a directory that is a link or not there.
		t, err := l.before(ctx, base)
		if err != nil {
			return state{}, err
		}
		if t == nil {
			r.rm(p, true)
			continue
		}
		real, _, err := resolve(ctx, t, dir, true)
		if err != nil {
			return state{}, failed(n, err)
		}
		have, _, err := t.list(ctx, real)
		if err != nil {
			return state{}, failed(n, err)
		}
		for _, has := range sorted(have) {
			if ok, err := path.Match(name, has); err != nil {
				return state{}, failed(n, fmt.Errorf("pattern %q: %w", p, err))
			} else if ok {
				r.rm(path.Join(real, has), false)
			}
		}
	}
	base.open = r
	return base.then(n), nil
}

// escape makes a path mean itself where patterns are read.
func escape(p string) string {
	var b strings.Builder
	for _, c := range p {
		if strings.ContainsRune(`*?[\`, c) {
			b.WriteByte('\\')
		}
		b.WriteRune(c)
	}
	return b.String()
}

func (l *lowering) Copy(ctx context.Context, n pipelines.Node, base, from state, o pipelines.Copy) (state, error) {
	if err := usable(n, base); err != nil {
		return state{}, err
	}
	c := &copyStep{l: l, o: o, r: base.open.with(n)}
	c.uid, c.gid, c.owned = stepfiles.Owner(o.Owner)
	var err error
	if c.to, err = l.before(ctx, base); err != nil {
		return state{}, err
	}
	if d := from.src.local; d != nil {
		err = c.fromLocal(ctx, d)
	} else {
		err = c.fromImage(ctx, from)
	}
	if err != nil {
		return state{}, failed(n, err)
	}
	base.open = c.r
	return base.then(n), nil
}

// copyStep lowers one Copy.
type copyStep struct {
	l        *lowering
	o        pipelines.Copy
	r        row
	owned    bool
	uid, gid int
	// to and from are what is there now; nil when nobody looks.
	to, from tree
	src      llb.State
}

// fromLocal packs what the sources name.
func (c *copyStep) fromLocal(ctx context.Context, d *localDir) error {
	var all []found
	for _, src := range c.o.Src {
		f, err := d.find(src)
		if err != nil {
			return err
		}
		if len(f) == 0 {
			return fmt.Errorf("%s: nothing there to copy", src)
		}
		all = append(all, f...)
	}
	as := copying{uid: c.uid, gid: c.gid, mode: unixMode(c.o.Mode)}
	// Files that follow each other are one action: each costs the daemon 10 ms.
	var files *item
	lay := func() {
		if files != nil {
			c.r.copy(nil, c.r.put(files), asDir(c.o.Dst), c.chown(llb.CopyInfo{CopyDirContentsOnly: true, CreatedTime: &c.l.epoch}))
			files = nil
		}
	}
	for _, f := range all {
		if f.dir {
			it, err := d.tree(f.at, as)
			if err != nil {
				return err
			}
			if it == nil {
				continue
			}
			lay()
			if err := c.place(ctx, it); err != nil {
				return err
			}
			continue
		}
		if !d.wanted(f.at) {
			return fmt.Errorf("%s: is excluded", f.at)
		}
		it, err := d.entry(f.at, as)
		if err != nil {
			return err
		}
		if it == nil {
			continue
		}
		if files == nil {
			files = newDir(0o755, 0, 0)
		}
		files.add(f.name, it)
		if len(all) == 1 { // which may get another name
			c.r.copy(nil, path.Join(c.r.put(files), f.name), c.target(1), c.chown(llb.CopyInfo{CreatedTime: &c.l.epoch}))
			return nil
		}
	}
	lay()
	return nil
}

// target writes the destination of a file: one of several goes into a directory.
func (c *copyStep) target(sources int) string {
	if sources > 1 || strings.HasSuffix(c.o.Dst, "/") {
		return asDir(c.o.Dst)
	}
	return path.Clean("/" + c.o.Dst)
}

// chown has parents that are missing made with the owner asked for.
func (c *copyStep) chown(info llb.CopyInfo) llb.CopyInfo {
	if c.owned {
		o := llb.WithUIDGID(c.uid, c.gid).(llb.ChownOpt)
		info.ChownOpt = &o
	}
	return info
}

// parents makes missing ones where their owner is not root.
func (c *copyStep) parents(dir string) {
	if c.uid != 0 || c.gid != 0 {
		c.r.mkdir(dir, c.uid, c.gid, c.l.epoch)
	}
}

// place lays a packed directory at the destination. Directories that are there keep
// what they are; where one is a link, what is below goes to where it leads.
func (c *copyStep) place(ctx context.Context, it *item) error {
	dst := path.Clean("/" + c.o.Dst)
	c.parents(path.Dir(dst))
	if c.to == nil {
		c.r.lay(it, dst, &c.l.epoch)
		return nil
	}
	at, st, err := resolve(ctx, c.to, dst, true)
	if err != nil {
		return err
	}
	switch {
	case st == nil:
		top := newDir(0o755, 0, 0)
		top.add(path.Base(at), it)
		c.r.lay(top, path.Dir(at), &c.l.epoch)
		return nil
	case !isDir(st):
		return fmt.Errorf("%s: cannot copy a directory over what is none", dst)
	}
	return c.merge(ctx, it, at)
}

func (c *copyStep) merge(ctx context.Context, it *item, at string) error {
	type job struct {
		it *item
		at string
	}
	var moved []job
	var walk func(it *item, at string) error
	walk = func(it *item, at string) error {
		there, _, err := c.to.list(ctx, at)
		if err != nil {
			return err
		}
		for _, name := range it.names() {
			child, st := it.below[name], there[name]
			if st == nil || !child.dir() {
				continue
			}
			if isDir(st) {
				keep(child, st)
				if err := walk(child, path.Join(at, name)); err != nil {
					return err
				}
				continue
			}
			real, target, err := resolve(ctx, c.to, path.Join(at, name), true)
			if err != nil {
				return err
			}
			if isLink(st) && target != nil && isDir(target) {
				delete(it.below, name)
				moved = append(moved, job{child, real})
			}
		}
		return nil
	}
	if err := walk(it, at); err != nil {
		return err
	}
	c.r.lay(it, at, &c.l.epoch)
	for _, m := range moved {
		if err := c.merge(ctx, m.it, m.at); err != nil {
			return err
		}
	}
	return nil
}
