// Package bootstrap turns distribution packages into the first layer of an image
// without the distribution's own tools on the host.
//
// A [Bootstrapper] gives an OCI layout of unpacked packages and the [pipelines.Run]
// steps that configure them in the image itself, so that any builder can finish
// the work.
package bootstrap

import (
	"context"
	"time"

	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/cfbuild/cfbuild/site"
)

// Bootstrapper makes roots by one method ("deb"). Implementations may be used by
// several goroutines and processes at once on the same cache directory.
type Bootstrapper interface {
	// Method is what Bootstrap.Method names.
	Method() string
	// Platforms lists what the sources offer, from their release metadata.
	Platforms(ctx context.Context, r Request) ([]pipelines.Platform, error)
	// Make fetches, verifies, resolves and unpacks. The same metadata and
	// request give the same Root, byte for byte.
	Make(ctx context.Context, r Request) (Root, error)
}

// Identifier is a [Bootstrapper] that knows beforehand what Make would make.
type Identifier interface {
	Bootstrapper
	// Identify resolves from metadata alone: no package is fetched. While the
	// metadata stays the same, Make gives a Root of the same Identity.
	Identify(ctx context.Context, r Request) (Identity, error)
}

// Identity is what decides a root. Equal identities are equal roots, wherever they
// are made; the zero Identity is none.
type Identity struct {
	// Root hashes the packages and the epoch.
	Root string
	// Metadata are the digests of the signed metadata the packages were chosen from,
	// for steps that ask the same repositories again.
	Metadata []string
}

// Request is one root.
type Request struct {
	Job      string
	Op       pipelines.Bootstrap
	Platform pipelines.Platform
	Site     site.Site
	// Helper is a platform whose programs run natively where steps for Platform
	// are emulated. A bootstrapper may use it to make its Configure steps faster,
	// never to change their result. Zero: steps for Platform run natively.
	Helper pipelines.Platform
	// CacheDir holds metadata, packages and finished layers.
	CacheDir string
	// Epoch bounds time stamps; zero: the newest of the sources' Release dates.
	Epoch time.Time
	// Now is the clock that Valid-Until is judged by.
	Now time.Time
	// Offline uses the cache only (metadata as it was last seen).
	Offline bool
	Events  pipelines.Sink
}

// Root is an unpacked root filesystem.
type Root struct {
	// Layout is an OCI layout directory in the cache with one image of one
	// layer; Digest is its manifest. The directory stays until pruned.
	Layout string
	Digest string
	// Configure are the steps that finish the root inside the image. They work, if
	// less well, also with a builder that does not know Run.Roots.
	Configure []pipelines.Run
	// Subtree, an absolute path: Layout is a throw-away first stage, and after
	// Configure the root is what lies below Subtree, copied into an empty image.
	// Empty: the layout itself is the root.
	Subtree string
	// StagePlatform is the platform of Layout and of the Configure steps where it
	// differs from the request's; only with Subtree. Zero: the request's.
	StagePlatform pipelines.Platform
	// Epoch used.
	Epoch time.Time
	// Packages that are in the root, sorted by name.
	Packages []Package
	// Identity of the root; zero where the Bootstrapper is no [Identifier].
	Identity Identity
	// Cached: nothing had to be unpacked.
	Cached bool
}

// Package is one package and why it is there.
type Package struct {
	Name         string `json:"name"`
	Version      string `json:"version"`
	Architecture string `json:"architecture"`
	SHA256       string `json:"sha256"`
	Size         int64  `json:"size"`
	// Why: "essential", "priority: required", "requested", or "depends: NAME".
	Why string `json:"why"`
}
