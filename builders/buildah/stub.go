//go:build !(linux && cgo && containers_image_openpgp && exclude_graphdriver_btrfs)

package buildah

import (
	"context"
	"errors"
	"time"

	"github.com/cfbuild/cfbuild/builders"
)

const stub = "this binary was built without it: build on Linux with cgo and -tags containers_image_openpgp,exclude_graphdriver_btrfs"

var errStub = errors.New("builder buildah: " + stub)

// Backend says which build tags the backend needs.
func Backend() builders.Backend {
	return builders.Backend{Name: Name, Describe: describe, Stub: stub}
}

// Child is never a child in this binary.
func Child() bool { return false }

// Size fails in this binary.
func Size(context.Context, builders.Options) (Usage, error) { return Usage{}, errStub }

// Prune fails in this binary.
func Prune(context.Context, builders.Options, time.Duration, int64) (Usage, error) {
	return Usage{}, errStub
}
