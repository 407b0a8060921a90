//go:build linux && cgo && containers_image_openpgp && exclude_graphdriver_btrfs

package buildah

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/cfbuild/cfbuild/builders"
	"github.com/cfbuild/cfbuild/internal/childproc"
)

// Backend is the registration.
func Backend() builders.Backend {
	return builders.Backend{Name: Name, Describe: describe, Open: open,
		Size: func(ctx context.Context, o builders.Options) (int64, error) {
			u, err := Size(ctx, o)
			return u.Bytes, err
		},
		Prune: func(ctx context.Context, o builders.Options, unused time.Duration) (int64, error) {
			u, err := Prune(ctx, o, unused, -1)
			return u.Removed, err
		}}
}

func open(_ context.Context, o builders.Options) (builders.Builder, error) {
	if err := checkOptions(&o); err != nil {
		return nil, err
	}
	return &builder{o: o}, nil
}

func checkOptions(o *builders.Options) (err error) {
	if o.Address != "" {
		return fmt.Errorf("builder buildah: takes no address, got %q", o.Address)
	}
	if o.StateDir == "" {
		return errors.New("builder buildah: no state directory given")
	}
	switch o.Isolation {
	case "", isolationChroot, isolationRunc:
	default:
		return fmt.Errorf("builder buildah: unknown isolation %q: use chroot or runc", o.Isolation)
	}
	switch o.Driver {
	case "", driverOverlay, driverFuse, driverVFS:
	default:
		return fmt.Errorf("builder buildah: unknown storage driver %q: use overlay, fuse-overlayfs or vfs", o.Driver)
	}
	o.StateDir, err = filepath.Abs(o.StateDir)
	return err
}

// builder is the parent's side: it holds no state but the answer of a probe.
type builder struct {
	o    builders.Options
	mu   sync.Mutex
	caps *builders.Capabilities
}

func (b *builder) Name() string { return Name }

// Capabilities starts a child that tries everything for real.
func (b *builder) Capabilities(ctx context.Context) (builders.Capabilities, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.caps != nil {
		return *b.caps, nil
	}
	a, err := call(ctx, b.o, request{Op: opProbe}, nil)
	var un *builders.UnavailableError
	switch {
	case errors.As(err, &un):
		return builders.Capabilities{Reason: un.Reason, Fix: un.Fix}, nil
	case err != nil:
		return builders.Capabilities{}, err
	case a.Probe == nil:
		return builders.Capabilities{}, errSilent
	}
	b.caps = a.Probe
	return *b.caps, nil
}

// Build runs one child for the build.
func (b *builder) Build(ctx context.Context, r builders.Request) (builders.Result, error) {
	if len(r.Graph.Nodes) == 0 {
		return builders.Result{}, errors.New("builder buildah: the graph is empty")
	}
	out, err := filepath.Abs(r.Output)
	if err != nil {
		return builders.Result{}, err
	}
	if _, err := os.Lstat(out); err == nil {
		return builders.Result{}, fmt.Errorf("output %s: %w", out, os.ErrExist)
	}
	if err := os.MkdirAll(filepath.Dir(out), 0o755); err != nil {
		return builders.Result{}, err
	}
	if err := checkCaches(r); err != nil {
		return builders.Result{}, err
	}
	req := request{Op: opBuild, Build: &buildRequest{Job: r.Job, Graph: r.Graph, Site: r.Site, Secrets: r.Secrets,
		Output: out, Epoch: r.Epoch, NoCache: r.NoCache, Keep: r.Keep,
		CacheFrom: r.CacheFrom, CacheTo: r.CacheTo, Logins: logins(r.Credentials), AuthFile: r.AuthFile}}
	a, err := call(ctx, b.o, req, func(a answer) {
		if a.Event != nil {
			a.Event.Job = r.Job
			r.Events.Send(*a.Event)
		}
	})
	if err != nil {
		return builders.Result{}, restoreNode(err, r.Graph)
	}
	if a.Result == nil {
		return builders.Result{}, errSilent
	}
	return *a.Result, nil
}

// checkCaches refuses caches that this builder does not have.
func checkCaches(r builders.Request) error {
	for _, c := range slices.Concat(r.CacheFrom, r.CacheTo) {
		if c.Type != builders.CacheLocal && c.Type != builders.CacheRegistry {
			return &builders.UnsupportedError{Builder: Name, Node: r.Graph.Result(), What: fmt.Sprintf("has no cache of type %q", c.Type),
				Fix: "use type=registry,ref=REPOSITORY or type=local,dir=DIR"}
		}
	}
	return nil
}

var errSilent = errors.New("builder buildah: its process ended without an answer")

// call runs one child and gives its last answer.
func call(ctx context.Context, o builders.Options, req request, each func(answer)) (answer, error) {
	req.Options = childOptions{StateDir: o.StateDir, Isolation: o.Isolation, Driver: o.Driver}
	// A leading directory made by us belongs to the caller also when the child
	// is root in a user namespace.
	if err := os.MkdirAll(o.StateDir, 0o700); err != nil {
		return answer{}, fmt.Errorf("state directory: %w", err)
	}
	var last answer
	var ready bool
	cmd := childproc.Command{Path: "/proc/self/exe", Name: childName, Request: req, Log: o.Log,
		Line: func(line []byte) error {
			var a answer
			if err := json.Unmarshal(line, &a); err != nil {
				return fmt.Errorf("builder buildah: its process said %q: %w", line, err)
			}
			switch {
			case a.Ready:
				ready = true
			case a.Event != nil:
				if each != nil {
					each(a)
				}
			default:
				last = a
			}
			return nil
		}}
	if os.Geteuid() == 0 {
		cmd.Flags = syscall.CLONE_NEWNS
	}
	err := childproc.Run(ctx, cmd)
	if errors.Is(err, syscall.EPERM) && cmd.Flags != 0 {
		// Root without CAP_SYS_ADMIN: the child makes a user namespace first.
		cmd.Flags = 0
		err = childproc.Run(ctx, cmd)
	}
	var exit *childproc.ExitError
	switch {
	case err == nil && last.Err != nil:
		return last, last.Err.restore()
	case errors.As(err, &exit) && last.Err != nil:
		return last, last.Err.restore()
	case errors.As(err, &exit) && !ready:
		return last, diagnose(exit)
	case err != nil && ctx.Err() == nil:
		return last, fmt.Errorf("builder buildah: its process failed: %w", err)
	}
	return last, err
}

// Size says what the state directory of these options holds.
func Size(ctx context.Context, o builders.Options) (Usage, error) {
	return usage(ctx, o, request{Op: opSize})
}

// Prune removes layers, blobs and caches that no build has used for longer than
// unused, then the longest unused until at most max bytes are left; max < 0 means
// no bound. It waits until no build uses the state directory.
func Prune(ctx context.Context, o builders.Options, unused time.Duration, max int64) (Usage, error) {
	return usage(ctx, o, request{Op: opPrune, Unused: unused, Max: max})
}

func usage(ctx context.Context, o builders.Options, r request) (Usage, error) {
	if err := checkOptions(&o); err != nil {
		return Usage{}, err
	}
	a, err := call(ctx, o, r, nil)
	if err != nil {
		return Usage{}, err
	}
	if a.Usage == nil {
		return Usage{}, errSilent
	}
	return *a.Usage, nil
}
