package archive

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/cfbuild/cfbuild/bootstrap/fetch"
	"github.com/cfbuild/cfbuild/internal/httpx"
	"github.com/cfbuild/cfbuild/pipelines"
)

// maxIndex bounds an index that a release does not give the plain size of.
const maxIndex = 1 << 30

// Packages reads the suite's indexes for one Debian architecture, in the order of
// its components. The error matches [ErrNoArchitecture] or [ErrNoComponent] when
// the suite does not have them.
func (c *Client) Packages(ctx context.Context, s *Suite, arch string, ev pipelines.Sink) ([]*Package, error) {
	if !slices.Contains(s.Release.Architectures, arch) {
		return nil, fmt.Errorf("release %s: %w %s: it has %s", s.Source.Suite, ErrNoArchitecture, arch, strings.Join(s.Release.Architectures, ", "))
	}
	var names []string // directories of the indexes
	comps := s.Source.Components
	if len(comps) == 0 {
		comps = []string{"main"}
	}
	for _, comp := range comps {
		dir := comp + "/binary-" + arch
		if _, err := s.Release.pick(dir); err != nil {
			return nil, &componentError{s: s, component: comp, arch: arch}
		}
		names = append(names, dir)
		if all := comp + "/binary-all"; s.Release.separateAll {
			if _, err := s.Release.pick(all); err == nil {
				names = append(names, all)
			}
		}
	}
	ms := fetch.NewMirrors(s.Mirrors)
	lists := make([][]*Package, len(names))
	g, ctx := errgroup.WithContext(ctx)
	for i, dir := range names {
		g.Go(func() (err error) {
			lists[i], err = c.index(ctx, s, ms, dir, arch)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	return slices.Concat(lists...), nil
}

// componentError: a component that the release does not list.
type componentError struct {
	s               *Suite
	component, arch string
}

func (e *componentError) Error() string {
	return fmt.Sprintf("release %s: %v: %s for %s", e.s.Source.Suite, ErrNoComponent, e.component, e.arch)
}
func (e *componentError) Unwrap() error { return ErrNoComponent }

// Hint is what to do about it.
func (e *componentError) Hint() string {
	return "its components are " + strings.Join(e.s.Release.Components, ", ")
}

// pick chooses the form of an index to read. gzip is larger than xz by a third and
// unpacks in a fifth of the time.
func (r Release) pick(dir string) (name string, err error) {
	for _, ext := range []string{".gz", ".xz", ""} {
		if _, ok := r.files[dir+"/Packages"+ext]; ok {
			return dir + "/Packages" + ext, nil
		}
	}
	return "", fmt.Errorf("%w %s", ErrNoComponent, dir)
}

// index fetches and parses one index file.
func (c *Client) index(ctx context.Context, s *Suite, ms *fetch.Mirrors, dir, arch string) ([]*Package, error) {
	name, err := s.Release.pick(dir)
	if err != nil {
		return nil, err
	}
	f := s.Release.files[name]
	base := "dists/" + s.Source.Suite + "/"
	sum := hex.EncodeToString(f.sha256[:])
	w := fetch.Want{What: fmt.Sprintf("index %s of %s", name, s.Source.Suite), SHA256: sum, Size: f.size}
	if s.Release.ByHash {
		w.Paths = append(w.Paths, base+path.Dir(name)+"/by-hash/SHA256/"+sum)
	}
	w.Paths = append(w.Paths, base+name)
	file, err := c.fetcher().Blob(ctx, w, ms, func(int64) {})
	if err != nil {
		return nil, err
	}
	in, err := os.Open(file)
	if err != nil {
		return nil, &fetch.CacheError{Dir: c.CacheDir, Err: err}
	}
	defer in.Close()
	limit := int64(maxIndex)
	if plain, ok := s.Release.files[dir+"/Packages"]; ok {
		limit = plain.size
	}
	component, _, _ := strings.Cut(dir, "/binary-")
	var pkgs []*Package
	err = fetch.Decompress(path.Ext(name), in, func(r io.Reader) error {
		pkgs, err = parsePackages(fetch.Limit(r, limit), arch, component, s)
		return err
	})
	if err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, fmt.Errorf("index %s of %s: %w", name, s.Source.Suite, err)
	}
	return pkgs, nil
}

// unobtainable says whether another release may help: no mirror had an index as
// the release has it, or has it in a form that cannot be read.
func unobtainable(err error) bool {
	var me *MirrorsError
	if !errors.As(err, &me) {
		return false
	}
	for _, f := range me.Faults {
		var he *httpx.Error
		if errors.Is(f.Err, ErrMismatch) || errors.As(f.Err, &he) && he.Kind != httpx.Untrusted {
			return true
		}
	}
	return false
}
