package apptainer

import (
	"context"
	"errors"
	"io/fs"
	"path/filepath"
	"slices"

	"github.com/cfbuild/cfbuild/builders"
	"github.com/cfbuild/cfbuild/internal/oci"
	"github.com/cfbuild/cfbuild/pipelines"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// pullAll brings images of registries here, by the site's mirrors, authorities, proxies
// and logins, of which Apptainer knows nothing. In the graph they become layouts.
func (b *builder) pullAll(ctx context.Context, r builders.Request, w *workplace) (pipelines.Graph, error) {
	g := r.Graph
	g.Nodes = slices.Clone(g.Nodes)
	for i, n := range g.Nodes {
		o, ok := n.Op.(pipelines.Pull)
		if !ok {
			continue
		}
		dir := filepath.Join(b.o.StateDir, "images")
		l, err := oci.Open(dir)
		if errors.Is(err, oci.ErrNotLayout) || errors.Is(err, fs.ErrNotExist) {
			l, err = oci.Create(dir)
		}
		if err != nil {
			return g, err
		}
		d, err := pull(ctx, r, n, o, l, w.path("tmp"))
		if err != nil {
			return g, err
		}
		g.Nodes[i].Op = pipelines.Layout{Path: dir, Digest: d.Digest.String()}
	}
	return g, nil
}

type puller func(ctx context.Context, r builders.Request, n pipelines.Node, o pipelines.Pull, l *oci.Layout, tmp string) (v1.Descriptor, error)

var _ puller = pull
