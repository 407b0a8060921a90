//go:build no_buildkit || !linux || !containers_image_openpgp

package buildkit

import "github.com/cfbuild/cfbuild/builders"

const stub = "this binary was built without it: build on Linux with -tags containers_image_openpgp,exclude_graphdriver_btrfs and without no_buildkit"

// Backend says why the backend is not there.
func Backend() builders.Backend {
	return builders.Backend{Name: Name, Describe: describe, Stub: stub}
}
