package archive

import (
	"context"

	"github.com/cfbuild/cfbuild/bootstrap/fetch"
	"github.com/cfbuild/cfbuild/pipelines"
)

// Fetch downloads packages in parallel, verified, as [fetch.Client.Files] does: got
// is called once for each package.
func (c *Client) Fetch(ctx context.Context, pkgs []*Package, ev pipelines.Sink, got func(p *Package, path string) error) error {
	sets := map[*Suite]*fetch.Mirrors{}
	files := make([]fetch.File, len(pkgs))
	for i, p := range pkgs {
		if sets[p.Suite] == nil {
			sets[p.Suite] = fetch.NewMirrors(p.Suite.Mirrors)
		}
		files[i] = fetch.File{Want: fetch.Want{What: "package " + p.String(), SHA256: p.SHA256, Size: p.Size, Paths: []string{p.Filename}}, Mirrors: sets[p.Suite]}
	}
	return c.fetcher().Files(ctx, files, ev, func(i int, path string) error { return got(pkgs[i], path) })
}
