package apptainer

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/cfbuild/cfbuild/builders"
	"github.com/cfbuild/cfbuild/internal/deffile"
	"github.com/cfbuild/cfbuild/internal/oci"
	"github.com/cfbuild/cfbuild/internal/sif"
	"github.com/cfbuild/cfbuild/internal/squashfs"
	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// build is one request that is being worked on.
type build struct {
	builders.Request
	ctx     context.Context // of Build, for what the lowering calls back
	work    *workplace
	program string
	// last is the name of the SIF file that the pass before made.
	last string
	// base is how the image is configured that the graph starts from.
	base    v1.ImageConfig
	created time.Time
	sources int
}

// Build makes the definition files and has Apptainer build them.
func (b *builder) Build(ctx context.Context, r builders.Request) (builders.Result, error) {
	if len(r.Graph.Nodes) == 0 {
		return builders.Result{}, errors.New("builder apptainer: the graph is empty")
	}
	out, err := filepath.Abs(r.Output)
	if err != nil {
		return builders.Result{}, err
	}
	if _, err := os.Lstat(out); err == nil {
		return builders.Result{}, fmt.Errorf("output %s: %w", out, os.ErrExist)
	}
	r.Output = out
	for _, n := range r.Graph.Nodes {
		if n.Platform != pipelines.HostPlatform() && !source(n) {
			return builders.Result{}, &builders.UnsupportedError{Builder: Name, Node: n, What: fmt.Sprintf("cannot run %s here", n.Platform),
				Fix: "build it on such a machine, or without --builder apptainer, which emulates it"}
		}
	}
	parts, err := split(r.Graph)
	if err != nil {
		return builders.Result{}, err
	}
	program, err := b.program()
	if err != nil {
		return builders.Result{}, err
	}
	work, err := b.workplace(ctx)
	if err != nil {
		return builders.Result{}, err
	}
	defer work.remove()
	if r.Graph, err = b.pullAll(ctx, r, work); err != nil {
		return builders.Result{}, err
	}
	if parts, err = split(r.Graph); err != nil {
		return builders.Result{}, err
	}
	x := &build{Request: r, ctx: ctx, work: work, program: program}
	if n, ok := x.command(parts); ok {
		if done, err := x.try(ctx, n, parts[0]); done {
			return builders.Result{Ran: 1}, err
		}
	}
	var done deffile.Definition
	ran := 0
	for i, p := range parts {
		var n int
		if done, n, err = x.pass(ctx, i, p, i == len(parts)-1); err != nil {
			return builders.Result{}, err
		}
		ran += n
	}
	if r.Discard {
		return builders.Result{Ran: ran}, nil
	}
	res, err := x.deliver(ctx, done.Config)
	if err != nil {
		_ = os.RemoveAll(out)
		return builders.Result{}, err
	}
	res.Ran = ran
	return res, nil
}

func source(n pipelines.Node) bool { return len(n.Inputs) == 0 }

// pass builds one part.
func (x *build) pass(ctx context.Context, i int, p pass, last bool) (deffile.Definition, int, error) {
	t := x.teller(p.graph)
	def, err := deffile.Lower(ctx, p.graph, deffile.Options{Site: x.Site, Layout: x.layout, Local: x.local, Base: x.configured,
		Mark: t.marker, NetworkNone: true, OwnTmp: true})
	if err != nil {
		return def, 0, err
	}
	text, err := def.Text()
	if err != nil {
		return def, 0, &builders.UnsupportedError{Builder: Name, Node: p.graph.Result(), What: err.Error(), Fix: "use another builder"}
	}
	file, out := fmt.Sprintf("%d.def", i), fmt.Sprintf("%d.sif", i)
	if err := os.WriteFile(x.work.path(file), []byte(text), 0o644); err != nil {
		return def, 0, err
	}
	args := []string{"build", "--force", "--disable-cache"}
	switch {
	case last && x.Discard:
		args = append(args, "--sandbox")
	case !last: // it is unpacked at once
		args = append(args, "--mksquashfs-args", "-comp zstd -Xcompression-level 1")
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	t.stop = cancel
	err = x.work.run(ctx, errand{Program: x.program, Args: append(args, out, file), Env: x.environment(), NoNetwork: p.network == loopbackOnly}, t.line)
	x.last = out
	return def, t.ran, t.end(err)
}

func (x *build) teller(g pipelines.Graph) *teller {
	return &teller{events: x.Events, graph: g, job: x.Job, mark: "cfbuild-" + strings.TrimPrefix(x.Graph.ID(), "sha256:")[:12]}
}

// environment is what steps inherit: the site's proxy.
func (x *build) environment() []string {
	env := []string{deffile.Private + "=1"}
	for name, v := range map[string]string{"HTTP_PROXY": x.Site.Proxy.HTTP, "HTTPS_PROXY": x.Site.Proxy.HTTPS, "NO_PROXY": x.Site.Proxy.No} {
		if v != "" {
			env = append(env, name+"="+v, strings.ToLower(name)+"="+v)
			env = append(env, "APPTAINERENV_"+name+"="+v, "APPTAINERENV_"+strings.ToLower(name)+"="+v)
		}
	}
	return env
}

// configured tells how the source of a graph is configured, from its layout.
func (x *build) configured(n pipelines.Node) pipelines.Configure {
	o, ok := n.Op.(pipelines.Layout)
	if !ok || o.Path == "" {
		return pipelines.Configure{}
	}
	_, c, err := image(n, o)
	if err != nil {
		return pipelines.Configure{} // layout said so before
	}
	if n.ID == x.Graph.Base().ID {
		x.base = c.Config
		if c.Created != nil {
			x.created = *c.Created
		}
	}
	env := map[string]string{}
	for _, v := range c.Config.Env {
		name, value, _ := strings.Cut(v, "=")
		env[name] = value
	}
	return pipelines.Configure{Env: env, User: c.Config.User, WorkingDir: c.Config.WorkingDir,
		Labels: c.Config.Labels, Entrypoint: c.Config.Entrypoint, Cmd: c.Config.Cmd}
}

// image reads an image of a layout.
func image(n pipelines.Node, o pipelines.Layout) (v1.Descriptor, v1.Image, error) {
	l, err := oci.Open(o.Path)
	if err != nil {
		return v1.Descriptor{}, v1.Image{}, err
	}
	d := v1.Descriptor{MediaType: v1.MediaTypeImageManifest, Digest: digest.Digest(o.Digest)}
	if o.Digest == "" {
		if d, err = l.Manifest(n.Platform); err != nil {
			return d, v1.Image{}, err
		}
	}
	_, c, err := l.Image(d)
	return d, c, err
}

// layout makes a SIF file of an image of a layout, or takes the one that it was made of.
func (x *build) layout(n pipelines.Node, o pipelines.Layout) (string, error) {
	if o.Path == "" {
		return "localimage:" + x.last, nil
	}
	d, _, err := image(n, o)
	if err != nil {
		return "", &pipelines.InvalidError{Where: n.Where, What: "layout " + o.Path, Cause: err.Error(), Fix: "name an OCI image layout that has the image"}
	}
	x.sources++
	if own := filepath.Join(o.Path, sif.Beside); exists(own) {
		name := fmt.Sprintf("source%d.sif", x.sources)
		return "localimage:" + name, linkOrCopy(own, x.work.path(name))
	}
	// Apptainer's own unpacking stumbles over device nodes, which root in a user namespace
	// cannot make.
	name := fmt.Sprintf("source%d.sif", x.sources)
	l, err := oci.Open(o.Path)
	if err != nil {
		return "", err
	}
	r, err := sif.Convert(x.ctx, l, d, x.work.path(name), sif.Options{Compression: squashfs.Zstd, Level: 1, NoDevices: true})
	for _, what := range r.Dropped {
		x.Events.Send(pipelines.Event{Kind: pipelines.EventWarning, Job: x.Job, Text: "apptainer: left out: " + what})
	}
	return "localimage:" + name, err
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
