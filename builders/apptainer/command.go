package apptainer

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"

	"github.com/cfbuild/cfbuild/builders"
	"github.com/cfbuild/cfbuild/internal/deffile"
	"github.com/cfbuild/cfbuild/internal/sif"
	"github.com/cfbuild/cfbuild/pipelines"
)

// maxArgument bounds one argument of a program on Linux, in bytes (MAX_ARG_STRLEN).
const maxArgument = 128 << 10

// command says whether all that is asked for is whether one command passes in a SIF
// file that is there: then apptainer exec runs it, with what it writes in memory, in a
// second instead of the ten that unpacking the file takes. So image tests run in the very
// file that is delivered.
func (x *build) command(parts []pass) (n pipelines.Node, ok bool) {
	if !x.Discard || len(parts) != 1 || len(parts[0].graph.Nodes) != 2 {
		return n, false
	}
	base, n := parts[0].graph.Nodes[0], parts[0].graph.Nodes[1]
	l, ok := base.Op.(pipelines.Layout)
	r, run := n.Op.(pipelines.Run)
	return n, ok && run && len(r.Mounts) == 0 && exists(filepath.Join(l.Path, sif.Beside))
}

// try runs the command. done is false where Apptainer could not start it this way (it
// needs FUSE): then a build will tell.
func (x *build) try(ctx context.Context, n pipelines.Node, p pass) (done bool, err error) {
	t := x.teller(p.graph)
	t.bare = true
	def, err := deffile.Lower(ctx, p.graph, deffile.Options{Site: x.Site, Layout: x.layout, Base: x.configured, Mark: t.marker, NetworkNone: true})
	if err != nil {
		return true, err
	}
	script := strings.Join(def.Stages[0].Post, "\n")
	if len(def.Stages[0].Setup) > 0 || len(script) >= maxArgument {
		return false, nil
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	t.stop = cancel
	args := []string{"exec", "--writable-tmpfs", "--cleanenv", "--no-mount", "tmp,home,cwd,bind-paths", "--pwd", "/", def.Stages[0].Header[1].Value, "/bin/sh", "-e", "-c", script}
	quiet := t.events
	t.events = nil // until the command starts: if it does not, nothing was
	err = x.work.run(ctx, errand{Program: x.program, Args: args, Env: x.environment(), NoNetwork: p.network == loopbackOnly}, func(s string) {
		if strings.HasPrefix(s, t.mark+" ") {
			t.events = quiet
		}
		t.line(s)
	})
	var exit *exitError
	if errors.As(err, &exit) && t.ran == 0 && ctx.Err() == nil {
		return false, os.RemoveAll(x.work.path(def.Stages[0].Header[1].Value))
	}
	err = t.end(err)
	var step *builders.StepError
	if errors.As(err, &step) {
		step.Node = n
	}
	return true, err
}
