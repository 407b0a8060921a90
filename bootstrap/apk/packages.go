package apk

import (
	"context"
	"fmt"
	"os"

	"github.com/cfbuild/cfbuild/bootstrap"
	"github.com/cfbuild/cfbuild/bootstrap/apk/index"
	"github.com/cfbuild/cfbuild/bootstrap/fetch"
)

// fetch downloads the packages, each verified by the hashes that the signed index
// begins a chain of, and gives their paths in the cache.
func (a *apks) fetch(ctx context.Context, r bootstrap.Request, set selection) (paths []string, err error) {
	ev, done := r.Begin("download", "download packages")
	var total int64
	defer func() { done(fmt.Sprintf("%d packages, %d MB", len(paths), total/1e6), err) }()
	c, err := a.client(r)
	if err != nil {
		return nil, err
	}
	files := make([]fetch.File, len(set.Packages))
	for i, p := range set.Packages {
		total += p.Size
		sum, err := p.Sum()
		if err != nil {
			return nil, err
		}
		files[i] = fetch.File{Mirrors: p.repo.mirrors, Want: fetch.Want{
			What:  "package " + p.String(),
			Size:  p.Size,
			Key:   fmt.Sprintf("apk/%x-%d", sum, p.Size),
			Check: func(path string) error { return verify(p.Package, path) },
			Paths: []string{p.repo.dir + "/" + p.File()},
		}}
	}
	paths = make([]string, len(files))
	return paths, c.Files(ctx, files, ev, func(i int, path string) error {
		paths[i] = path
		return nil
	})
}

// verify says what is wrong with a file that should be a package.
func verify(p *index.Package, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return err
	}
	_, _, err = p.Open(f, st.Size())
	return err
}
