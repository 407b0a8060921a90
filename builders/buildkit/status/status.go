// Package status asks BuildKit daemons what they are and how full their caches.
package status

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/cfbuild/cfbuild/builders"
	"github.com/cfbuild/cfbuild/builders/buildkit/connect"
	"github.com/cfbuild/cfbuild/builders/buildkit/pool"
	"github.com/cfbuild/cfbuild/internal/oci"
	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/moby/buildkit/client"
)

// Dial connects to one daemon; release ends that.
type Dial func(ctx context.Context, address string) (c *client.Client, release func(), err error)

// Workers asks all daemons that an address or a list of addresses names, at once.
// timeout bounds each; 0 means none.
func Workers(ctx context.Context, address string, timeout time.Duration, dial Dial) ([]builders.WorkerStatus, error) {
	workers := []pool.Worker{{Address: address}}
	check := func(a string) error {
		_, err := connect.Parse(a)
		return err
	}
	var err error
	if pool.IsList(address) {
		workers, err = pool.Parse(address, check)
	} else {
		err = check(address)
	}
	if err != nil {
		return nil, err
	}
	out := make([]builders.WorkerStatus, len(workers))
	var wg sync.WaitGroup
	for i, w := range workers {
		wg.Go(func() {
			inner := ctx
			if timeout > 0 {
				var cancel context.CancelFunc
				inner, cancel = context.WithTimeout(ctx, timeout)
				defer cancel()
			}
			out[i] = ask(inner, w, dial)
		})
	}
	wg.Wait()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return out, nil
}

func ask(ctx context.Context, w pool.Worker, dial Dial) builders.WorkerStatus {
	out := builders.WorkerStatus{Address: w.Address, For: w.Platforms}
	if err := query(ctx, w.Address, dial, &out); err != nil {
		out.Err = err.Error()
		if errors.Is(err, context.DeadlineExceeded) {
			out.Err, out.Fix = "no answer in time", "is the host right, is a firewall in between?"
		}
		var of *connect.Error
		if errors.As(err, &of) { // the address is in the row already
			out.Err = of.Reason
		}
		var h interface{ Hint() string }
		if errors.As(err, &h) {
			out.Fix = h.Hint()
		}
	}
	return out
}

func query(ctx context.Context, address string, dial Dial, out *builders.WorkerStatus) error {
	c, release, err := dial(ctx, address)
	if err != nil {
		return err
	}
	defer release()
	ws, err := c.ListWorkers(ctx)
	if err != nil {
		return err
	}
	if len(ws) == 0 {
		return errors.New("the daemon has no worker: start buildkitd with --oci-worker=true, where runc is installed")
	}
	usage, err := c.DiskUsage(ctx)
	if err != nil {
		return err
	}
	fill(out, ws[0]) // the default worker does all the work
	for _, u := range usage {
		out.Cache += u.Size
		out.Records++
		if !u.InUse {
			out.Idle += u.Size
		}
	}
	return nil
}

const label = "org.mobyproject.buildkit.worker."

func fill(out *builders.WorkerStatus, w *client.WorkerInfo) {
	out.Version = w.BuildkitVersion.Version
	if out.Version == "v0.0.0+unknown" { // nobody told the linker
		out.Version = ""
	}
	out.Platforms, out.Emulated = Platforms(w)
	out.Snapshotter, out.Network, out.Hostname = w.Labels[label+"snapshotter"], w.Labels[label+"network"], w.Labels[label+"hostname"]
	out.Sandbox = w.Labels[label+"oci.process-mode"] == "sandbox"
	for _, g := range w.GCPolicy {
		if g.All { // the last resort: all records count
			out.Limit, out.Free = max(out.Limit, g.MaxUsedSpace), max(out.Free, g.MinFreeSpace)
		}
	}
}

// Platforms gives those of a worker, each once, and which of them it emulates. BuildKit
// names the machine's own first and does not say which others need an emulator: on
// these processors 32-bit programs run natively.
func Platforms(w *client.WorkerInfo) (all, emulated []pipelines.Platform) {
	for _, q := range w.Platforms {
		p := oci.FromPlatform(q)
		if slices.Contains(all, p) {
			continue
		}
		all = append(all, p)
		on := all[0].Architecture
		if on != p.Architecture && !(on == "amd64" && p.Architecture == "386") && !(on == "arm64" && p.Architecture == "arm") {
			emulated = append(emulated, p)
		}
	}
	return all, emulated
}
