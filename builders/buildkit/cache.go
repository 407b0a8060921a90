//go:build !no_buildkit && linux && containers_image_openpgp

package buildkit

import "github.com/moby/buildkit/client"

func (x *build) caches(*client.SolveOpt) error { return nil }
