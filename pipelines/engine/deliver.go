package engine

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/cfbuild/cfbuild/internal/sif"
	"github.com/cfbuild/cfbuild/pipelines"
)

// Delivery says what becomes of a plan's artifacts.
type Delivery struct {
	// Output is the directory that gets TARGET/ (an OCI layout with all
	// platforms), TARGET-ARCH.docker.tar and TARGET-ARCH.sif.
	Output  string
	Formats []pipelines.Format
	// Push is the repository each target is pushed to, by target name:
	// "registry.example/group/project/debian12". Nil: nothing is pushed.
	Push map[string]string
	// Tags are given to what is pushed, and to docker archives.
	Tags []string
	// MediaType is "v2s2" (default) or "oci".
	MediaType string
	// Marks are more tags for what is pushed, by target, set when all others are.
	Marks map[string][]string
	// SIFCompression is "gzip" (default), "zstd", "xz" or "lz4".
	SIFCompression string
	// SIFSign, when not nil, signs SIF files.
	SIFSign *sif.SigningKey
}

// Delivered is what [Engine.Deliver] made.
type Delivered struct {
	// Outputs are whole files and directories: one OCI layout for each target
	// (Platform is the zero Platform, Digest that of its index), docker archives and SIF files.
	Outputs  []Output            `json:"outputs"`
	Receipts []pipelines.Receipt `json:"receipts,omitempty"`
}

// Output is one file or directory that was delivered.
type Output struct {
	Target    string               `json:"target"`
	Format    pipelines.Format     `json:"format"`
	Path      string               `json:"path"`
	Digest    string               `json:"digest"`
	Platforms []pipelines.Platform `json:"platforms"`
	// Unchanged: it was there already, byte for byte.
	Unchanged bool `json:"unchanged,omitempty"`
}

// Publisher writes artifacts out. publishers/oci has the one in use.
type Publisher interface {
	// Bundle joins the platforms of one target into an OCI layout at dir,
	// replacing a layout that is there in one step.
	Bundle(ctx context.Context, parts []pipelines.Artifact, dir string) (digest string, unchanged bool, err error)
	// DockerArchive writes one platform as docker load takes it.
	DockerArchive(ctx context.Context, part pipelines.Artifact, path string, names []string) (digest string, unchanged bool, err error)
	// Push publishes an OCI layout with all platforms; nil means durable and
	// read back.
	Push(ctx context.Context, layout, target, repository string, tags []string, mediaType string, ev pipelines.Sink) (pipelines.Receipt, error)
}

// Deliver writes out and publishes each target all of whose jobs were built.
// A target with a failed job is left as it was: an incomplete index would replace
// a complete one.
func (e *Engine) Deliver(ctx context.Context, p Publisher, built Built, d Delivery) (Delivered, error) {
	var out Delivered
	for _, target := range targets(built.Artifacts) {
		parts := slices.DeleteFunc(slices.Clone(built.Artifacts), func(a pipelines.Artifact) bool { return a.Target != target })
		if slices.Contains(built.FailedTargets, target) {
			e.Events.Send(pipelines.Event{Kind: pipelines.EventWarning,
				Text: fmt.Sprintf("%s: nothing is written or pushed, because it failed on a platform", target)})
			continue
		}
		if err := e.deliver(ctx, p, target, parts, d, &out); err != nil {
			return out, err
		}
	}
	return out, nil
}

func (e *Engine) deliver(ctx context.Context, p Publisher, target string, parts []pipelines.Artifact, d Delivery, out *Delivered) error {
	slices.SortFunc(parts, func(a, b pipelines.Artifact) int { return pipelines.ComparePlatforms(a.Platform, b.Platform) })
	var platforms []pipelines.Platform
	for _, a := range parts {
		platforms = append(platforms, a.Platform)
	}
	layout := filepath.Join(d.Output, target)
	repository := d.Push[target]
	if slices.Contains(d.Formats, pipelines.FormatOCI) || repository != "" {
		digest, same, err := p.Bundle(ctx, parts, layout)
		if err != nil {
			return fmt.Errorf("%s: %w", target, err)
		}
		out.Outputs = append(out.Outputs, Output{Target: target, Format: pipelines.FormatOCI, Path: layout, Digest: digest,
			Platforms: platforms, Unchanged: same})
	}
	if slices.Contains(d.Formats, pipelines.FormatDocker) {
		for _, a := range parts {
			path := filepath.Join(d.Output, target+"-"+a.Platform.Short()+".docker.tar")
			digest, same, err := p.DockerArchive(ctx, a, path, archiveNames(target, repository, d.Tags))
			if err != nil {
				return fmt.Errorf("%s: %w", a.Job, err)
			}
			out.Outputs = append(out.Outputs, Output{Target: target, Format: pipelines.FormatDocker, Path: path,
				Digest: digest, Platforms: []pipelines.Platform{a.Platform}, Unchanged: same})
		}
	}
	if slices.Contains(d.Formats, pipelines.FormatSIF) {
		for _, a := range parts {
			o, err := e.sif(ctx, a, d)
			if err != nil {
				return fmt.Errorf("%s: %w", a.Job, err)
			}
			out.Outputs = append(out.Outputs, o)
		}
	}
	if repository != "" {
		ev, name := e.Events.With(target, "push"), "push to "+repository
		ev.Send(pipelines.Event{Kind: pipelines.EventStart, Name: name})
		r, err := p.Push(ctx, layout, target, repository, slices.Concat(d.Tags, d.Marks[target]), d.MediaType, ev)
		if err != nil {
			ev.Send(pipelines.Event{Kind: pipelines.EventFailed, Name: name, Text: err.Error()})
			return err
		}
		ev.Send(pipelines.Event{Kind: pipelines.EventDone, Name: name, Text: r.Digest})
		r.Tags = d.Tags
		out.Receipts = append(out.Receipts, r)
	}
	return nil
}

// archiveNames are the names docker load gives the image.
func archiveNames(target, repository string, tags []string) []string {
	name := target
	if repository != "" {
		name = repository
	}
	if len(tags) == 0 {
		tags = []string{"latest"}
	}
	var out []string
	for _, t := range tags {
		out = append(out, name+":"+t)
	}
	return out
}

func targets(as []pipelines.Artifact) []string {
	var out []string
	for _, a := range as {
		if !slices.Contains(out, a.Target) {
			out = append(out, a.Target)
		}
	}
	return out
}
