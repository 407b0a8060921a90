//go:build !no_buildkit && linux && containers_image_openpgp

package buildkit

import (
	"context"
	"errors"
	"slices"

	"github.com/cfbuild/cfbuild/builders"
	"github.com/cfbuild/cfbuild/builders/buildkit/dind"
	"github.com/cfbuild/cfbuild/internal/oci"
	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/moby/buildkit/client"
)

// Capabilities asks the daemon for its workers.
func (b *builder) Capabilities(ctx context.Context) (builders.Capabilities, error) {
	c, release, err := b.client(ctx)
	if err != nil {
		var hint interface{ Hint() string }
		if errors.Is(err, builders.ErrUnavailable) && errors.As(err, &hint) {
			return builders.Capabilities{Reason: err.Error(), Fix: hint.Hint()}, nil
		}
		return builders.Capabilities{}, err
	}
	defer release()
	return b.capabilities(ctx, c)
}

func (b *builder) capabilities(ctx context.Context, c *client.Client) (builders.Capabilities, error) {
	b.mu.Lock()
	known := b.caps
	b.mu.Unlock()
	if known != nil {
		return *known, nil
	}
	workers, err := c.ListWorkers(ctx)
	if err != nil {
		return builders.Capabilities{}, err
	}
	if len(workers) == 0 {
		return builders.Capabilities{Reason: "the daemon has no worker", Fix: "start buildkitd with --oci-worker=true, where runc is installed"}, nil
	}
	caps := describeWorker(workers[0]) // the daemon's default, which does all the work
	b.mu.Lock()
	b.caps = &caps
	b.mu.Unlock()
	return caps, nil
}

func describeWorker(w *client.WorkerInfo) builders.Capabilities {
	caps := builders.Capabilities{Available: true, NetworkNone: true, Secrets: true, CacheMounts: true}
	if v := w.BuildkitVersion.Version; v != "" {
		caps.Detail = append(caps.Detail, "daemon: BuildKit "+v)
	}
	for _, l := range []string{"executor", "snapshotter", "network"} {
		if v := w.Labels["org.mobyproject.buildkit.worker."+l]; v != "" {
			caps.Detail = append(caps.Detail, l+": "+v)
		}
	}
	var native pipelines.Platform
	for i, q := range w.Platforms {
		p := oci.FromPlatform(q)
		if i == 0 {
			native = p
		}
		if slices.Contains(caps.Platforms, p) {
			continue
		}
		caps.Platforms = append(caps.Platforms, p)
		if !runs(native.Architecture, p.Architecture) {
			caps.Emulated = append(caps.Emulated, p)
		}
	}
	return caps
}

// runs: a processor runs programs for another.
func runs(on, what string) bool {
	return on == what || (on == "amd64" && what == "386") || (on == "arm64" && what == "arm")
}

// fits refuses what the daemon cannot do before anything runs.
func (x *build) fits(ctx context.Context, c *client.Client) error {
	caps, err := x.b.capabilities(ctx, c)
	if err != nil {
		return x.daemonError(err)
	}
	if !caps.Available {
		return &builders.UnavailableError{Builder: Name, Reason: caps.Reason, Fix: caps.Fix}
	}
	if len(caps.Platforms) > 0 {
		x.l.native = caps.Platforms[0]
	}
	err = builders.Missing(Name, caps, x.r.Graph)
	var uns *builders.UnsupportedError
	if x.b.engine != nil && errors.As(err, &uns) && !caps.CanRun(uns.Node.Platform) {
		uns.Fix = dind.EmulatorHint(uns.Node.Platform.Architecture)
	}
	return err
}
