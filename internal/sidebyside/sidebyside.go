//go:build cfbuild_sidebyside

// Package sidebyside imports every library that a room of this module uses or
// will use, so that go.mod keeps versions which resolve and compile together.
// It is compiled by "make sidebyside" and part of no program.
package sidebyside

import (
	_ "dagger.io/dagger"
	_ "github.com/distribution/distribution/v3/registry/handlers"
	_ "github.com/moby/buildkit/client"
	_ "github.com/moby/buildkit/client/llb"
	_ "github.com/sylabs/sif/v2/pkg/integrity"
	_ "github.com/sylabs/sif/v2/pkg/sif"
	_ "gitlab.com/gitlab-org/api/client-go"
	_ "go.podman.io/buildah"
	_ "go.podman.io/common/libimage"
	_ "go.podman.io/image/v5/copy"
)
