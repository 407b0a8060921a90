//go:build !no_buildkit && linux && containers_image_openpgp

package buildkit

import (
	"context"
	"errors"

	"github.com/cfbuild/cfbuild/internal/assemble"
	"github.com/cfbuild/cfbuild/pipelines"
)

func (x *build) pull(ctx context.Context, n pipelines.Node, o pipelines.Pull) (*assemble.Image, error) {
	return nil, errors.New("not yet")
}
