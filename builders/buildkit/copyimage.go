//go:build !no_buildkit && linux && containers_image_openpgp

package buildkit

import (
	"context"
	"fmt"
	"path"

	"github.com/moby/buildkit/client/llb"
)

// fromImage copies from another image.
func (c *copyStep) fromImage(ctx context.Context, from state) error {
	// Files keep the times they have, which the daemon does not look at: this has the
	// epoch in the operation.
	c.r.mkdir("/", 0, 0, c.l.epoch)
	var err error
	if c.src, err = c.l.sealed(from); err != nil {
		return err
	}
	if c.l.look != nil {
		if c.from, err = c.l.look.at(ctx, c.src); err != nil {
			return err
		}
	} else {
		for _, src := range c.o.Src {
			c.r.copy(&c.src, path.Clean("/"+src), c.target(len(c.o.Src)), c.info(llb.CopyInfo{FollowSymlinks: true, CopyDirContentsOnly: true, AllowWildcard: hasWildcard(src)}))
		}
		return nil
	}
	var all []foundIn
	for _, src := range c.o.Src {
		f, err := glob(ctx, c.from, src)
		if err != nil {
			return err
		}
		if len(f) == 0 {
			return fmt.Errorf("%s: nothing there to copy", src)
		}
		all = append(all, f...)
	}
	for _, f := range all {
		if f.dir {
			err = c.directory(ctx, f.at, path.Clean("/"+c.o.Dst))
		} else {
			c.fileParents()
			// The name is that of a link, the content that of what it leads to.
			c.r.copy(&c.src, f.path, c.target(len(all)), c.info(llb.CopyInfo{FollowSymlinks: true}))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// info adds the owner and mode asked for.
func (c *copyStep) info(i llb.CopyInfo) llb.CopyInfo {
	if c.o.Mode != 0 {
		i.Mode = &llb.ChmodOpt{Mode: c.o.Mode}
	}
	return c.chown(i)
}

// fileParents: the daemon gives parents that it makes the mode meant for the files.
func (c *copyStep) fileParents() {
	if c.o.Mode != 0 {
		dir := path.Dir(c.target(1))
		if t := c.target(2); c.target(1) == t {
			dir = path.Clean(t)
		}
		c.r.mkdir(dir, c.uid, c.gid, c.l.epoch)
	}
}

// directory copies what a directory holds. What the daemon would change on the way,
// directories that are there and the modes of new ones, is put right after it.
func (c *copyStep) directory(ctx context.Context, src, dst string) error {
	at, st, err := resolve(ctx, c.to, dst, true)
	if err != nil {
		return err
	}
	fix := newDir(0o755, 0, 0)
	if st == nil {
		if c.o.Mode != 0 {
			c.r.mkdir(path.Dir(at), c.uid, c.gid, c.l.epoch)
		} else {
			c.parents(path.Dir(at))
		}
		c.r.copy(&c.src, src, at, c.info(llb.CopyInfo{}))
		if c.o.Mode != 0 {
			own, err := c.asItWas(ctx, src)
			if err != nil {
				return err
			}
			fix.add(path.Base(at), own)
			c.r.lay(fix, path.Dir(at), nil)
		}
		return nil
	}
	if !isDir(st) {
		return fmt.Errorf("%s: cannot copy a directory over what is none", dst)
	}
	m := &merging{c: c}
	if err := m.walk(ctx, src, at, "", fix); err != nil {
		return err
	}
	c.r.copy(&c.src, src, at, c.info(llb.CopyInfo{CopyDirContentsOnly: true, ExcludePatterns: m.elsewhere}))
	if len(fix.below) > 0 {
		c.r.lay(fix, at, nil)
	}
	for i, rel := range m.elsewhere {
		if err := c.directory(ctx, path.Join(src, m.paths[i]), path.Join(at, m.paths[i])); err != nil {
			return fmt.Errorf("%s: %w", rel, err)
		}
	}
	return nil
}

// merging finds what two directories have in common.
type merging struct {
	c         *copyStep
	elsewhere []string // patterns of directories that are links at the other end
	paths     []string // the same as paths
}

func (m *merging) walk(ctx context.Context, src, dst, rel string, fix *item) error {
	have, _, err := m.c.from.list(ctx, src)
	if err != nil {
		return err
	}
	there, _, err := m.c.to.list(ctx, dst)
	if err != nil {
		return err
	}
	for _, name := range sorted(have) {
		if !isDir(have[name]) {
			continue
		}
		from, to, sub := path.Join(src, name), path.Join(dst, name), path.Join(rel, name)
		st := there[name]
		switch {
		case st != nil && isDir(st):
			kept := newDir(0, 0, 0)
			keep(kept, st)
			fix.add(name, kept)
			if err := m.walk(ctx, from, to, sub, kept); err != nil {
				return err
			}
		case st != nil && isLink(st):
			if _, target, err := resolve(ctx, m.c.to, to, true); err != nil {
				return err
			} else if target != nil && isDir(target) {
				m.elsewhere, m.paths = append(m.elsewhere, escape(sub)), append(m.paths, sub)
			}
		case st == nil && m.c.o.Mode != 0:
			own, err := m.c.asItWas(ctx, from)
			if err != nil {
				return err
			}
			fix.add(name, own)
		}
	}
	return nil
}

// asItWas gives the directories of a tree with the modes they have in the source.
func (c *copyStep) asItWas(ctx context.Context, src string) (*item, error) {
	_, st, err := resolve(ctx, c.from, src, true)
	if err != nil || st == nil {
		return nil, err
	}
	out := newDir(0, 0, 0)
	keep(out, st)
	if c.owned {
		out.uid, out.gid = c.uid, c.gid
	}
	have, _, err := c.from.list(ctx, src)
	if err != nil {
		return nil, err
	}
	for _, name := range sorted(have) {
		if isDir(have[name]) {
			sub, err := c.asItWas(ctx, path.Join(src, name))
			if err != nil {
				return nil, err
			}
			out.add(name, sub)
		}
	}
	return out, nil
}
