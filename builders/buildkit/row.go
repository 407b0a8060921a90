//go:build !no_buildkit && linux && containers_image_openpgp

package buildkit

import (
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/moby/buildkit/client/llb"
)

// row is File, Copy, Remove and Configure steps that follow each other. They become
// one file operation of several actions, so that a row is one layer. Files that the
// definition brings along lie in one pack, in numbered directories: BuildKit's own
// file action knows neither setuid bits nor what becomes of a link in its place,
// while a copy keeps all there is to keep.
type row struct {
	nodes []pipelines.Node
	acts  []act
	packs *item
}

// act is one file action; f adds it to those before it.
type act struct {
	node int
	f    func(prev *llb.FileAction, packs llb.State) *llb.FileAction
}

func (r row) with(n pipelines.Node) row {
	r.nodes = append(slices.Clip(r.nodes), n)
	return r
}

// do adds an action of the newest node.
func (r *row) do(f func(prev *llb.FileAction, packs llb.State) *llb.FileAction) {
	r.acts = append(slices.Clip(r.acts), act{len(r.nodes) - 1, f})
}

// put packs a directory and gives its path in the pack.
func (r *row) put(it *item) string {
	root := newDir(0o755, 0, 0)
	if r.packs != nil {
		root.below = maps.Clone(r.packs.below)
	}
	name := strconv.Itoa(len(root.below))
	root.add(name, it)
	r.packs = root
	return "/" + name
}

// copy adds a copy; nil from is the row's pack.
func (r *row) copy(from *llb.State, src, dst string, info llb.CopyInfo) {
	info.CreateDestPath = true
	r.do(func(prev *llb.FileAction, packs llb.State) *llb.FileAction {
		in := packs
		if from != nil {
			in = *from
		}
		if prev == nil {
			return llb.Copy(in, src, dst, &info)
		}
		return prev.Copy(in, src, dst, &info)
	})
}

// lay copies what a packed directory holds into a directory. at is the time stamp that
// everything gets; without it each item has its own. The daemon takes a pack that
// differs in times alone for the same, so the time has to be in the operation.
func (r *row) lay(it *item, dst string, at *time.Time) {
	r.copy(nil, r.put(it), dst, llb.CopyInfo{CopyDirContentsOnly: true, CreatedTime: at})
}

// mkdir makes a directory and its parents.
func (r *row) mkdir(dir string, uid, gid int, at time.Time) {
	opts := []llb.MkdirOption{llb.WithParents(true), llb.WithUIDGID(uid, gid), llb.WithCreatedTime(at)}
	r.do(func(prev *llb.FileAction, _ llb.State) *llb.FileAction {
		if prev == nil {
			return llb.Mkdir(dir, 0o755, opts...)
		}
		return prev.Mkdir(dir, 0o755, opts...)
	})
}

// rm removes a path, or what matches a pattern.
func (r *row) rm(p string, wildcard bool) {
	opts := []llb.RmOption{llb.WithAllowNotFound(true), llb.WithAllowWildcard(wildcard)}
	r.do(func(prev *llb.FileAction, _ llb.State) *llb.FileAction {
		if prev == nil {
			return llb.Rm(p, opts...)
		}
		return prev.Rm(p, opts...)
	})
}

// close turns what is open into an operation. quiet: it is looked at only, and
// another one will be made of it and what follows.
func (l *lowering) close(s state, quiet bool) (llb.State, error) {
	r := s.open
	if len(r.acts) == 0 {
		return s.base, nil
	}
	last := r.nodes[len(r.nodes)-1]
	var packs llb.State
	if r.packs != nil {
		d, err := pack(l.packs, last.Platform, l.epoch, r.packs)
		if err != nil {
			return llb.State{}, failed(last, err)
		}
		packs = l.layout(d.Digest, last.Platform, "pack", "files of this definition")
	}
	key, v := last.ID, &vertex{nodes: r.nodes, quiet: quiet}
	if quiet {
		key += "+"
	}
	var all *llb.FileAction
	for _, a := range r.acts {
		all = a.f(all, packs)
		v.acts = append(v.acts, a.node)
	}
	l.note(key, v)
	return s.base.File(all, l.step(key, names(r.nodes), last.Platform)...), nil
}

func names(nodes []pipelines.Node) string {
	var out []string
	for _, n := range nodes {
		out = append(out, n.Name)
	}
	return strings.Join(out, "; ")
}

// sealed is a state whose row is an operation.
func (l *lowering) sealed(s state) (llb.State, error) { return l.close(s, false) }

// asDir writes a destination so that it means a directory.
func asDir(dst string) string { return path.Clean("/"+dst) + "/" }
