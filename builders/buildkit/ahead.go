//go:build !no_buildkit && linux && containers_image_openpgp

package buildkit

import (
	"context"
	"path/filepath"
	"sync"

	"github.com/cfbuild/cfbuild/internal/assemble"
)

// layersDir keeps finished layers, and what is in layers.
func (b *builder) layersDir() string { return filepath.Join(b.dir, "layers") }

// aheadOf has x.based read the layers of the base here while the daemon unpacks them and
// runs steps on them. wait waits for that, stop ends it.
func (x *build) aheadOf(ctx context.Context) (wait, stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var reading sync.WaitGroup
	var once sync.Once
	x.based = func(img *assemble.Image) {
		if img == nil {
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
