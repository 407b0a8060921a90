package apptainer

import (
	"context"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/cfbuild/cfbuild/builders"
	"github.com/cfbuild/cfbuild/internal/sif"
	"github.com/cfbuild/cfbuild/pipelines"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// deliver makes the output of the last SIF file: that file, and its tree as a layout.
func (x *build) deliver(ctx context.Context, k pipelines.Configure) (builders.Result, error) {
	c := x.base
	apply(&c, k)
	at := x.Epoch
	if at.IsZero() {
		at = x.created
	}
	if at.IsZero() {
		at = time.Unix(0, 0)
	}
	at = at.UTC()
	img := v1.Image{Created: &at, Author: k.Author, Config: c,
		Platform: v1.Platform{OS: x.Graph.Platform.OS, Architecture: x.Graph.Platform.Architecture, Variant: x.Graph.Platform.Variant}}
	x.Events.Send(pipelines.Event{Kind: pipelines.EventStart, Job: x.Job, Step: "layout", Name: "layout of the SIF file's tree"})
	d, err := sif.Layout(ctx, x.work.path(x.last), x.Output, img)
	if err != nil {
		return builders.Result{}, err
	}
	to := filepath.Join(x.Output, sif.Beside)
	if err := os.Rename(x.work.path(x.last), to); err != nil {
		if err := linkOrCopy(x.work.path(x.last), to); err != nil {
			return builders.Result{}, err
		}
	}
	f, err := os.Open(to)
	if err == nil {
		err = f.Sync()
		f.Close()
	}
	x.Events.Send(pipelines.Event{Kind: pipelines.EventDone, Job: x.Job, Step: "layout", Name: "layout of the SIF file's tree"})
	return builders.Result{Digest: d.Digest.String(), Size: d.Size}, err
}

// apply changes a configuration as Configure steps say.
func apply(c *v1.ImageConfig, k pipelines.Configure) {
	env := slices.Clone(c.Env)
	for _, name := range slices.Sorted(maps.Keys(k.Env)) {
		entry := name + "=" + k.Env[name]
		if i := slices.IndexFunc(env, func(e string) bool { return strings.HasPrefix(e, name+"=") }); i >= 0 {
			env[i] = entry
		} else {
			env = append(env, entry)
		}
	}
	c.Env = env
	if len(k.Labels) > 0 {
		labels := maps.Clone(c.Labels)
		if labels == nil {
			labels = map[string]string{}
		}
		maps.Copy(labels, k.Labels)
		c.Labels = labels
	}
	if k.Entrypoint != nil {
		c.Entrypoint = k.Entrypoint
	}
	if k.Cmd != nil {
		c.Cmd = k.Cmd
	}
	for to, from := range map[*string]string{&c.User: k.User, &c.WorkingDir: k.WorkingDir, &c.StopSignal: k.StopSignal} {
		if from != "" {
			*to = from
		}
	}
	set := func(old map[string]struct{}, add []string) map[string]struct{} {
		if len(add) == 0 {
			return old
		}
		out := map[string]struct{}{}
		maps.Copy(out, old)
		for _, a := range add {
			out[a] = struct{}{}
		}
		return out
	}
	var ports []string
	for _, p := range k.ExposedPorts {
		if !strings.Contains(p, "/") {
			p += "/tcp"
		}
		ports = append(ports, p)
	}
	c.Volumes, c.ExposedPorts = set(c.Volumes, k.Volumes), set(c.ExposedPorts, ports)
}
