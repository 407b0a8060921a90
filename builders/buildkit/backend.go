//go:build !no_buildkit && linux && containers_image_openpgp

package buildkit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/cfbuild/cfbuild/builders"
	"github.com/cfbuild/cfbuild/builders/buildkit/connect"
	"github.com/moby/buildkit/client"
	"github.com/opencontainers/go-digest"
)

// Backend is the registration.
func Backend() builders.Backend {
	return builders.Backend{Name: Name, Describe: describe, Open: openAny, Size: Size, Prune: Prune, Workers: workers, Remove: remove}
}

// Dialer connects to a daemon.
type Dialer func(ctx context.Context) (*client.Client, error)

func open(_ context.Context, o builders.Options) (builders.Builder, error) {
	a, err := connect.Parse(o.Address)
	if err != nil {
		return nil, err
	}
	getenv := o.Getenv
	if getenv == nil {
		getenv = func(string) string { return "" }
	}
	if a.Kind == connect.Docker {
		return openDocker(o, a.Query, getenv)
	}
	dial := func(ctx context.Context) (*client.Client, error) {
		return a.Dial(ctx, connect.Options{Host: getenv("BUILDKIT_HOST"), RuntimeDir: getenv("XDG_RUNTIME_DIR"),
			Warn: warner(o)})
	}
	return New(o, dial, a.Kind == connect.Unix || a.Kind == connect.Default)
}

// warner says each thing once: every connection finds the same.
func warner(o builders.Options) func(string) {
	var mu sync.Mutex
	said := map[string]bool{}
	return func(s string) {
		mu.Lock()
		defer mu.Unlock()
		if o.Warn != nil && !said[s] {
			said[s] = true
			o.Warn(s)
		}
	}
}

func say(w io.Writer, s string) {
	if w != nil {
		fmt.Fprintln(w, s)
	}
}

// New is a builder for the daemon that dial connects to. near says that it is on this
// machine, so that layers need not be compressed on their way. Of the options it uses
// StateDir and Log.
func New(o builders.Options, dial Dialer, near bool) (builders.Builder, error) {
	if o.StateDir == "" {
		return nil, errors.New("builder buildkit: no state directory given")
	}
	if o.Isolation != "" || o.Driver != "" {
		return nil, &hinted{errors.New("builder buildkit: isolation and storage driver are the daemon's"), "leave out --isolation and --driver"}
	}
	dir, err := filepath.Abs(o.StateDir)
	if err != nil {
		return nil, err
	}
	return &builder{dir: dir, log: o.Log, dialer: dial, near: near, claims: map[claim]bool{}}, nil
}

// engine is a daemon that is found, or started, for as long as it is used.
type engine interface {
	// hostNetwork: steps have the daemon's network only if they ask for it.
	hostNetwork() bool
	// explain says of an error what became of the daemon.
	explain(ctx context.Context, err error) error
	// idle is called when nobody uses it any more.
	idle() error
}

// builder holds one connection while builds use it.
type builder struct {
	dir    string
	log    io.Writer
	dialer Dialer
	near   bool
	engine engine // may be nil

	mu   sync.Mutex
	conn *client.Client
	uses int
	caps *builders.Capabilities

	claimMu sync.Mutex
	claims  map[claim]bool
}

// claim is one execution of a vertex. The daemon shows it to every build that wants
// the result; one of ours counts it.
type claim struct {
	vertex  digest.Digest
	started time.Time
}

func (b *builder) claim(d digest.Digest, started time.Time) bool {
	b.claimMu.Lock()
	defer b.claimMu.Unlock()
	c := claim{d, started}
	if b.claims[c] {
		return false
	}
	b.claims[c] = true
	return true
}

func (b *builder) Name() string { return Name }

// compression of layers on their way here. They are unpacked on arrival.
func (b *builder) compression() string {
	if b.near {
		return "uncompressed"
	}
	return "zstd"
}

// client gives the connection, which is closed when nobody uses it.
func (b *builder) client(ctx context.Context) (*client.Client, func(), error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.conn == nil {
		// The connection is for whoever comes next, too.
		c, err := b.dialer(ctx)
		if err != nil {
			return nil, nil, err
		}
		b.conn = c
	}
	b.uses++
	return b.conn, sync.OnceFunc(func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		if b.uses--; b.uses == 0 {
			b.conn.Close()
			b.conn = nil
			if b.engine != nil {
				if err := b.engine.idle(); err != nil {
					say(b.log, "buildkit: "+err.Error())
				}
			}
		}
	}), nil
}

// Build has the daemon make what is not there yet and puts the image together here.
func (b *builder) Build(ctx context.Context, r builders.Request) (builders.Result, error) {
	if len(r.Graph.Nodes) == 0 {
		return builders.Result{}, errors.New("builder buildkit: the graph is empty")
	}
	if err := ctx.Err(); err != nil {
		return builders.Result{}, context.Cause(ctx)
	}
	out, err := filepath.Abs(r.Output)
	if err != nil {
		return builders.Result{}, err
	}
	r.Output = out
	if _, err := os.Lstat(out); err == nil {
		return builders.Result{}, fmt.Errorf("output %s: %w", out, os.ErrExist)
	}
	if err := os.MkdirAll(filepath.Dir(out), 0o755); err != nil {
		return builders.Result{}, err
	}
	unlock, err := inUse(ctx, b.dir)
	if err != nil {
		return builders.Result{}, err
	}
	defer unlock()
	x, err := b.newBuild(&r)
	if err != nil {
		return builders.Result{}, err
	}
	return x.image(ctx)
}
