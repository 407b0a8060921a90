//go:build !no_buildkit && linux && containers_image_openpgp

package buildkit

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/cfbuild/cfbuild/builders"
	"github.com/cfbuild/cfbuild/internal/assemble"
	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/containerd/containerd/v2/core/content"
	"github.com/moby/buildkit/client"
	"github.com/moby/buildkit/client/llb"
	"github.com/moby/buildkit/exporter/containerimage/exptypes"
	gateway "github.com/moby/buildkit/frontend/gateway/client"
	gatewaypb "github.com/moby/buildkit/frontend/gateway/pb"
	"github.com/moby/buildkit/session"
	"github.com/moby/buildkit/session/secrets"
	"github.com/moby/buildkit/session/secrets/secretsprovider"
	solvererr "github.com/moby/buildkit/solver/errdefs"
	"github.com/moby/buildkit/util/entitlements"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// build is one request on its way.
type build struct {
	b     *builder
	r     *builders.Request
	epoch time.Time
	blobs *blobs
	l     *lowering
	w     *watch
	// outside are caches beyond the daemon's own.
	outside *caches

	mu sync.Mutex
	// refused is what lowering found wrong; the daemon would hand it back as a text.
	refused error
	// late is the step that took longer than its Timeout.
	late *pipelines.Node
}

// changes: a step is more than configuration.
func changes(n pipelines.Node) bool {
	_, ok := n.Op.(pipelines.Configure)
	return !ok
}

func groups(nodes []pipelines.Node) [][]pipelines.Node { return assemble.Groups(nodes) }

// run lowers the graph, has the daemon make what is not there, and fetches the layers
// of the result's steps, one for each group that makes any.
func (x *build) run(ctx context.Context) (state, []v1.Descriptor, error) {
	if !slices.ContainsFunc(x.r.Graph.Nodes, isWork) {
		// Nothing for the daemon to do: an image as it is, or only configured.
		final, err := builders.Lower(ctx, x.r.Graph, x.l)
		return final, nil, err
	}
	c, release, err := x.b.client(ctx)
	if err != nil {
		return state{}, nil, err
	}
	defer release()
	if err := x.fits(ctx, c); err != nil {
		return state{}, nil, err
	}
	if err := x.openCaches(); err != nil {
		return state{}, nil, err
	}
	for again := 0; ; {
		final, layers, err := x.solve(ctx, c)
		switch {
		case err == nil || ctx.Err() != nil || !x.daemonToBlame(err):
			return final, layers, err
		case forgotten(err) && again < 3:
			again++
		case len(x.outside.from) > 0:
			// The daemon takes a cache's word for what it has, and fetches when it needs it.
			x.note(pipelines.EventWarning, "a cache does not give what it promised, building without: %s", cause(err))
			x.outside.from = nil
		default:
			return final, layers, err
		}
		x.again()
	}
}

// forgotten: the daemon gave up what it had begun to hold for another build that failed
// or ended; asked again it begins anew.
func forgotten(err error) bool {
	s := err.Error()
	return strings.Contains(s, "lease \"") && strings.HasSuffix(s, "not found")
}

// daemonToBlame: no step of ours failed.
func (x *build) daemonToBlame(err error) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	var exit *gatewaypb.ExitError
	return x.late == nil && x.refused == nil && !errors.As(err, &exit) && !connectionLost(err)
}

// solve has the daemon do it once.
func (x *build) solve(ctx context.Context, c *client.Client) (state, []v1.Descriptor, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	x.w.late = func(n pipelines.Node) {
		x.mu.Lock()
		x.late = &n
		x.mu.Unlock()
		cancel(errLate)
	}
	var final state
	opt := client.SolveOpt{
		Exports: []client.ExportEntry{{Type: client.ExporterOCI, OutputStore: x.blobs,
			Attrs: map[string]string{"tar": "false", "compression": x.b.compression(), "oci-mediatypes": "true"}}},
		OCIStores:     map[string]content.Store{storeID: x.blobs},
		FrontendAttrs: map[string]string{"platform": x.r.Graph.Platform.String()},
		Session:       []session.Attachable{secretsprovider.NewSecretProvider(x), logins{x: x}},
		CacheImports:  x.outside.from,
		CacheExports:  x.outside.to,
		// The definition and its logs are nobody else's business.
		Internal: true,
	}
	if x.b.engine != nil && x.b.engine.hostNetwork() {
		x.l.hostNetwork, opt.AllowedEntitlements = true, []string{entitlements.EntitlementNetworkHost.String()}
	}
	status := make(chan *client.SolveStatus)
	var watching sync.WaitGroup
	watching.Go(func() { x.w.run(status) })
	res, err := c.Build(ctx, opt, Name, func(ctx context.Context, g gateway.Client) (*gateway.Result, error) {
		out, s, err := x.lower(ctx, g, opt)
		if err != nil && !fromDaemon(err) {
			x.mu.Lock()
			x.refused = err
			x.mu.Unlock()
		}
		final = s
		return out, err // the daemon ends the build with it
	}, status)
	watching.Wait()
	if err != nil {
		return state{}, nil, err
	}
	layers, err := x.layers(ctx, res)
	return final, layers, err
}

// fromDaemon: lowering passes on what the daemon said of a step.
func fromDaemon(err error) bool {
	var vertex *solvererr.VertexError
	return errors.As(err, &vertex) || connectionLost(err)
}

var errLate = errors.New("a step took too long")

// isWork: a node is something that a daemon does.
func isWork(n pipelines.Node) bool {
	switch n.Op.(type) {
	case pipelines.Run, pipelines.Copy, pipelines.File, pipelines.Remove:
		return true
	}
	return false
}

// lower makes the definition and has it solved.
func (x *build) lower(ctx context.Context, g gateway.Client, opt client.SolveOpt) (*gateway.Result, state, error) {
	imports := make([]gateway.CacheOptionsEntry, 0, len(opt.CacheImports))
	for _, i := range opt.CacheImports {
		imports = append(imports, gateway.CacheOptionsEntry{Type: i.Type, Attrs: i.Attrs})
	}
	eye := &gatewayLook{g: g, imports: imports, trees: map[digest.Digest]tree{}}
	x.l.look = eye
	final, err := builders.Lower(ctx, x.r.Graph, x.l)
	if err != nil {
		return nil, state{}, err
	}
	if final.src.local != nil {
		return nil, state{}, usable(x.r.Graph.Result(), final)
	}
	st, err := x.l.sealed(final)
	if err != nil {
		return nil, state{}, err
	}
	def, err := eye.marshal(ctx, st)
	if err != nil {
		return nil, state{}, err
	}
	res, err := g.Solve(ctx, gateway.SolveRequest{Definition: def.ToPB(), CacheImports: imports, Evaluate: true})
	return res, final, err
}

// layers reads the manifest that the daemon sent and gives the layers above the base.
func (x *build) layers(ctx context.Context, res *client.SolveResponse) ([]v1.Descriptor, error) {
	raw, err := base64.StdEncoding.DecodeString(res.ExporterResponse[exptypes.ExporterImageDescriptorKey])
	if err != nil {
		return nil, fmt.Errorf("the daemon's answer: %w", err)
	}
	var d v1.Descriptor
	if err := json.Unmarshal(raw, &d); err != nil {
		return nil, fmt.Errorf("the daemon's answer: %w", err)
	}
	if d.MediaType == v1.MediaTypeImageIndex {
		var idx v1.Index
		if err := x.blobs.shared.ReadJSON(d, &idx); err != nil {
			return nil, &spoiled{fmt.Errorf("the daemon's index: %w", err), []digest.Digest{d.Digest}}
		}
		if len(idx.Manifests) != 1 {
			return nil, fmt.Errorf("the daemon sent an index of %d images, want 1", len(idx.Manifests))
		}
		d = idx.Manifests[0]
	}
	var m v1.Manifest
	if err := x.blobs.shared.ReadJSON(d, &m); err != nil {
		return nil, &spoiled{fmt.Errorf("the daemon's manifest: %w", err), []digest.Digest{d.Digest}}
	}
	return m.Layers, nil
}

// GetSecret serves the daemon what a step may see while it runs.
func (x *build) GetSecret(_ context.Context, id string) ([]byte, error) {
	if v, ok := x.r.Secrets[id]; ok {
		return v, nil
	}
	x.l.mu.Lock()
	defer x.l.mu.Unlock()
	if v, ok := x.l.lent[id]; ok {
		return v, nil
	}
	return nil, secrets.ErrNotFound
}

// gatewayLook looks at states through the daemon.
type gatewayLook struct {
	g       gateway.Client
	imports []gateway.CacheOptionsEntry
	trees   map[digest.Digest]tree
}

func (k *gatewayLook) marshal(ctx context.Context, st llb.State) (*llb.Definition, error) {
	return st.Marshal(ctx, llb.WithCaps(k.g.BuildOpts().LLBCaps))
}

func (k *gatewayLook) at(ctx context.Context, st llb.State) (tree, error) {
	if st.Output() == nil {
		return &gatewayTree{lists: map[string]listing{}}, nil
	}
	def, err := k.marshal(ctx, st)
	if err != nil {
		return nil, err
	}
	head, err := def.Head()
	if err != nil {
		return nil, err
	}
	if t, ok := k.trees[head]; ok {
		return t, nil
	}
	res, err := k.g.Solve(ctx, gateway.SolveRequest{Definition: def.ToPB(), CacheImports: k.imports, Evaluate: true})
	if err != nil {
		return nil, err
	}
	ref, err := res.SingleRef()
	if err != nil {
		return nil, err
	}
	t := &gatewayTree{ref: ref, lists: map[string]listing{}}
	k.trees[head] = t
	return t, nil
}
