//go:build !no_buildkit && linux && containers_image_openpgp

package buildkit

import (
	"context"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/moby/buildkit/client/llb"
	fstypes "github.com/tonistiigi/fsutil/types"
)

// looker shows what the daemon has made of a state.
type looker interface {
	at(ctx context.Context, st llb.State) (tree, error)
}

// tree is the files of an image. Paths have no links in them.
type tree interface {
	// list gives what a directory holds; false where there is none.
	list(ctx context.Context, dir string) (map[string]*fstypes.Stat, bool, error)
	// read gives a file, or nil where there is none.
	read(ctx context.Context, file string) ([]byte, error)
}

// before shows what a step finds; nil when nobody looks.
func (l *lowering) before(ctx context.Context, s state) (tree, error) {
	if l.look == nil {
		return nil, nil
	}
	st, err := l.close(s, true)
	if err != nil {
		return nil, err
	}
	return l.look.at(ctx, st)
}

func isDir(st *fstypes.Stat) bool     { return fs.FileMode(st.Mode).IsDir() }
func isRegular(st *fstypes.Stat) bool { return fs.FileMode(st.Mode).IsRegular() }
func isLink(st *fstypes.Stat) bool    { return fs.FileMode(st.Mode)&fs.ModeSymlink != 0 }

// keep makes a packed directory what one is that is there.
func keep(it *item, st *fstypes.Stat) {
	it.mode, it.uid, it.gid = unixMode(fs.FileMode(st.Mode)), int(st.Uid), int(st.Gid)
	it.mtime = time.Unix(0, st.ModTime)
}

func sorted(m map[string]*fstypes.Stat) []string { return slices.Sorted(maps.Keys(m)) }

// maxLinks is where following links ends, as in the kernel.
const maxLinks = 40

// rootStat stands for the root directory, which no list holds.
var rootStat = fstypes.Stat{Mode: uint32(fs.ModeDir | 0o755)}

// resolve follows links below the root and gives the path without them, and what is
// there, or nil. last: a link at the end is followed too.
func resolve(ctx context.Context, t tree, p string, last bool) (string, *fstypes.Stat, error) {
	at, st := "/", &rootStat
	todo := strings.Split(path.Clean("/" + p)[1:], "/")
	for links := 0; len(todo) > 0; {
		name := todo[0]
		todo = todo[1:]
		switch name {
		case "", ".":
			continue
		case "..":
			at, st = path.Dir(at), &rootStat
			continue
		}
		if st == nil || !isDir(st) {
			at, st = path.Join(at, name), nil
			continue
		}
		have, _, err := t.list(ctx, at)
		if err != nil {
			return "", nil, err
		}
		next := have[name]
		if next == nil || !isLink(next) || (len(todo) == 0 && !last) {
			at, st = path.Join(at, name), next
			continue
		}
		if links++; links > maxLinks {
			return "", nil, fmt.Errorf("%s: too many symbolic links", p)
		}
		if path.IsAbs(next.Linkname) {
			at, st = "/", &rootStat
		}
		todo = append(strings.Split(next.Linkname, "/"), todo...)
	}
	return at, st, nil
}

// foundIn is one thing that a source of a Copy names in an image.
type foundIn struct {
	path string // as it was written, with wildcards filled in
	at   string // with links followed
	dir  bool
}

// glob gives what a pattern names, sorted, with links in its parents followed.
func glob(ctx context.Context, t tree, pattern string) ([]foundIn, error) {
	paths := []string{"/"}
	for _, e := range strings.Split(path.Clean("/" + pattern)[1:], "/") {
		if e == "" {
			continue
		}
		var next []string
		for _, dir := range paths {
			real, st, err := resolve(ctx, t, dir, true)
			if err != nil {
				return nil, err
			}
			if st == nil || !isDir(st) {
				continue
			}
			have, _, err := t.list(ctx, real)
			if err != nil {
				return nil, err
			}
			for _, name := range sorted(have) {
				ok := name == e
				if hasWildcard(e) {
					if ok, err = path.Match(e, name); err != nil {
						return nil, fmt.Errorf("pattern %q: %w", pattern, err)
					}
				}
				if ok {
					next = append(next, path.Join(real, name))
				}
			}
		}
		paths = next
	}
	slices.Sort(paths)
	var out []foundIn
	for _, p := range slices.Compact(paths) {
		at, st, err := resolve(ctx, t, p, true)
		if err != nil {
			return nil, err
		}
		if st == nil {
			return nil, fmt.Errorf("%s: leads nowhere", p)
		}
		out = append(out, foundIn{path: p, at: at, dir: isDir(st)})
	}
	return out, nil
}
