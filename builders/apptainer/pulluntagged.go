//go:build !containers_image_openpgp

package apptainer

import (
	"context"

	"github.com/cfbuild/cfbuild/builders"
	"github.com/cfbuild/cfbuild/internal/oci"
	"github.com/cfbuild/cfbuild/pipelines"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

func pull(_ context.Context, _ builders.Request, n pipelines.Node, _ pipelines.Pull, _ *oci.Layout, _ string) (v1.Descriptor, error) {
	return v1.Descriptor{}, &builders.UnsupportedError{Builder: Name, Node: n, What: "this program was built without what pulls images", Fix: "build it with -tags containers_image_openpgp,exclude_graphdriver_btrfs"}
}
