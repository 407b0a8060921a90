package archive

import (
	"context"
	"errors"
	"time"

	"github.com/cfbuild/cfbuild/internal/httpx"
	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/cfbuild/cfbuild/site"
)

var errTODO = errors.New("not written yet")

// HTTPFor gives a client that trusts the site's CAs and uses its proxies. Keep
// one for a whole run: connections are reused.
func HTTPFor(s site.Site) (*httpx.Client, error) { return nil, errTODO }

// Open fetches and verifies the freshest release of a suite that the mirrors
// offer.
func (c *Client) Open(ctx context.Context, src pipelines.PackageSource, mirrors []string, keys site.Keyring, now time.Time, ev pipelines.Sink) (*Suite, error) {
	return nil, errTODO
}

// Packages reads the suite's indexes for one Debian architecture.
func (c *Client) Packages(ctx context.Context, s *Suite, arch string, ev pipelines.Sink) ([]*Package, error) {
	return nil, errTODO
}

// Load opens several suites and reads their packages, falling back to an older
// release where no mirror has the index files of the newest. It is what callers
// want: Open and Packages are its parts. The suites are in the order of srcs;
// mirrors gives the base URLs of one source. A suite that has nothing for the
// architecture is left out with a warning unless it is the first.
func (c *Client) Load(ctx context.Context, srcs []pipelines.PackageSource, st site.Site, arch string, now time.Time, ev pipelines.Sink) ([]*Suite, []*Package, error) {
	return nil, nil, errTODO
}

// Fetch downloads packages in parallel, verified. got is called as each arrives
// or is found in the cache, by up to GOMAXPROCS goroutines at once and not by
// those that download, so that unpacking overlaps; the path stays in the cache
// and must not be changed. The first error ends everything.
func (c *Client) Fetch(ctx context.Context, pkgs []*Package, ev pipelines.Sink, got func(p *Package, path string) error) error {
	return errTODO
}

// Platforms of a release, sorted; architectures the product has no name for are
// left out.
func (r Release) Platforms() []pipelines.Platform { return nil }

// Architecture gives Debian's name of a platform: "armhf" for linux/arm/v7. The
// error is a [pipelines.InvalidError].
func Architecture(p pipelines.Platform) (string, error) { return "", errTODO }

// Platform of a Debian architecture; false where there is none.
func Platform(arch string) (pipelines.Platform, bool) { return pipelines.Platform{}, false }
