//go:build !no_buildkit && linux && containers_image_openpgp

package buildkit

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/cfbuild/cfbuild/builders"
	"github.com/cfbuild/cfbuild/pipelines"
	gatewaypb "github.com/moby/buildkit/frontend/gateway/pb"
	solvererr "github.com/moby/buildkit/solver/errdefs"
	"github.com/moby/buildkit/util/grpcerrors"
	"github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"
)

// end makes the error of a build that failed, and says so in an event. ctx is the
// caller's.
func (x *build) end(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		x.w.finish(pipelines.Node{}, "")
		return context.Cause(ctx)
	}
	err = x.explain(err)
	var step *builders.StepError
	if x.b.engine != nil && !errors.As(err, &step) {
		err = x.b.engine.explain(ctx, err)
	}
	if errors.As(err, &step) {
		x.w.finish(step.Node, step.Error())
	} else {
		x.w.finish(pipelines.Node{}, "")
	}
	return err
}

// explain turns what lowering or the daemon said into the errors of package builders.
func (x *build) explain(err error) error {
	x.mu.Lock()
	refused, late := x.refused, x.late
	x.mu.Unlock()
	if late != nil {
		return x.stepError(*late, -1, func(e *builders.StepError) {
			e.TimedOut, e.Err = true, fmt.Errorf("still running after %s", time.Duration(late.Timeout))
		})
	}
	if refused != nil {
		err = refused
	}
	var step *builders.StepError
	var uns *builders.UnsupportedError
	if errors.As(err, &step) || errors.As(err, &uns) || errors.Is(err, builders.ErrUnavailable) {
		return err
	}
	var vertex *solvererr.VertexError
	if errors.As(err, &vertex) {
		if out := x.vertexError(digest.Digest(vertex.Digest), err); out != nil {
			return out
		}
	}
	return x.daemonError(err)
}

// vertexError is the error of an operation: that of the step it stands for.
func (x *build) vertexError(d digest.Digest, err error) error {
	p, ok := x.w.step(d)
	if !ok || connectionLost(err) {
		return nil
	}
	n := p.vtx.nodes[0]
	var solve *solvererr.SolveError
	if errors.As(err, &solve) && solve.Solve != nil {
		if f, ok := solve.Subject.(*solvererr.Solve_File); ok {
			if i := int(f.File.Index); i < len(p.vtx.acts) {
				n = p.vtx.nodes[p.vtx.acts[i]]
			}
		}
	}
	exit := -1
	var ee *gatewaypb.ExitError
	if errors.As(err, &ee) && ee.ExitCode != gatewaypb.UnknownExitStatus {
		exit = int(ee.ExitCode)
	}
	return x.stepError(n, exit, func(e *builders.StepError) {
		// The runtime's own failure looks like one of the command.
		if i := len(e.Tail) - 1; exit == 1 && i >= 0 && strings.HasPrefix(e.Tail[i], notStarted) {
			e.ExitCode, e.Err, e.Tail = -1, errors.New(strings.TrimPrefix(e.Tail[i], notStarted)), e.Tail[:i]
			return
		}
		e.Emulator = x.emulated(n) && (exit == 132 || exit == 139 || p.crash)
		e.Err = x.space(errors.New(cause(err)))
		if slices.ContainsFunc(e.Tail, func(l string) bool { return strings.Contains(strings.ToLower(l), unix.ENOSPC.Error()) }) {
			e.Tail = append(slices.Clip(e.Tail), "(is the daemon's disk full? buildctl prune frees what no build uses)")
		}
	})
}

// notStarted is what runc says of a command that it could not start.
const notStarted = "runc run failed: unable to start container process: "

func (x *build) stepError(n pipelines.Node, exit int, more func(*builders.StepError)) error {
	e := &builders.StepError{Node: n, ExitCode: exit}
	x.w.mu.Lock()
	if p := x.w.steps[n.ID]; p != nil {
		x.w.flush(p)
		e.Tail = p.tail
	}
	x.w.mu.Unlock()
	more(e)
	return e
}

// cause strips what every error of the daemon begins with.
func cause(err error) string {
	s := err.Error()
	for _, p := range []string{"failed to solve: ", "failed to run Build function: "} {
		if i := strings.LastIndex(s, p); i >= 0 {
			s = s[i+len(p):]
		}
	}
	return s
}

// daemonError is about the daemon and no step of ours.
func (x *build) daemonError(err error) error {
	s := cause(err)
	has := func(what ...string) bool {
		for _, w := range what {
			if strings.Contains(s, w) {
				return true
			}
		}
		return false
	}
	un := &builders.UnavailableError{Builder: Name}
	switch {
	case connectionLost(err):
		un.Reason, un.Fix = "the daemon went away while it was building: "+s, "is it still running, did it run out of memory? What was whole is kept: build again"
	case has("is not allowed by build daemon configuration", "is not allowed"):
		un.Reason, un.Fix = "the daemon refuses: "+s, `allow it in buildkitd.toml: insecure-entitlements = ["network.host"], and start the daemon again`
	case has("exporter", "could not be found"):
		un.Reason, un.Fix = "the daemon lacks an exporter: "+s, "Docker's own BuildKit has it with the containerd image store; use buildkit:docker, which starts a BuildKit of its own where need be"
	default:
		return x.space(fmt.Errorf("builder buildkit: %s", s))
	}
	return un
}

// connectionLost: there is nobody at the other end any more.
func connectionLost(err error) bool {
	s, ok := grpcerrors.AsGRPCStatus(err)
	return ok && s.Code() == codes.Unavailable
}

// space says what to do about a full disk.
func (x *build) space(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		return &hinted{err, "the disk of " + x.b.dir + " or of the output is full: free some space, or run cfbuild cache prune"}
	case strings.Contains(err.Error(), unix.ENOSPC.Error()):
		return &hinted{err, "the daemon's disk is full: buildctl prune frees what no build uses; [worker.oci] gc in buildkitd.toml keeps it bounded"}
	}
	return err
}

// emulated: the daemon needs an emulator for a node's platform.
func (x *build) emulated(n pipelines.Node) bool {
	x.b.mu.Lock()
	defer x.b.mu.Unlock()
	if x.b.caps == nil {
		return false
	}
	for _, p := range x.b.caps.Emulated {
		if p == n.Platform {
			return true
		}
	}
	return false
}
