//go:build !no_buildkit && linux && containers_image_openpgp

package buildkit

import (
	"context"
	"path/filepath"
	"sync"

	"github.com/cfbuild/cfbuild/internal/assemble"
	"github.com/cfbuild/cfbuild/pipelines"
)

// layersDir keeps finished layers, and what is in layers.
func (b *builder) layersDir() string { return filepath.Join(b.dir, "layers") }

// ahead reads the layers of the image that the result stands on here, as soon as that is
// known, while the daemon unpacks them and runs steps. wait waits for that, stop ends it.
func (x *build) ahead(ctx context.Context) (wait, stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var reading sync.WaitGroup
	var once sync.Once
	base := x.r.Graph.Base().ID
	x.l.opened = func(n pipelines.Node, img *assemble.Image) {
		if n.ID != base {
			return
		}
		once.Do(func() {
			reading.Go(func() {
				// What is wrong with the base is said when the image is made.
				_ = assemble.ReadAhead(ctx, assemble.Base{Layout: img.Layout, Desc: img.Stored}, x.r.Graph.Platform, x.b.layersDir())
			})
		})
	}
	return reading.Wait, func() {
		cancel()
		reading.Wait()
	}
}
