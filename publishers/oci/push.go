package oci

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"

	"github.com/cfbuild/cfbuild/internal/oci"
	"github.com/cfbuild/cfbuild/internal/registries"
	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/cfbuild/cfbuild/publishers"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"go.podman.io/image/v5/docker/reference"
)

// Push publishes all platforms of an OCI layout to a repository
// ("registry.example.org/group/project/debian12") as a manifest list, then sets
// each tag to it; without tags the list is there by its digest alone. mediaType
// is [V2S2], the default when empty, or [OCI]. One platform gives a list too.
//
// nil means durable: every manifest was read back and compared, and each
// platform's configuration with it. Nothing the registry has is sent again. The
// error is a [publishers.PublishError] and says what the registry holds by then;
// repeating the push goes on from there. Events have the step "push".
func (p *Publisher) Push(ctx context.Context, layout, target, repository string, tags []string, mediaType string, ev pipelines.Sink) (pipelines.Receipt, error) {
	j := &job{p: p, ref: repository, ev: ev}
	receipt, err := j.run(ctx, layout, repository, tags, mediaType)
	if err != nil {
		var pe *publishers.PublishError
		if errors.As(err, &pe) {
			return pipelines.Receipt{}, err
		}
		e := &publishers.PublishError{Ref: repository, Stage: j.stage, Done: j.done(), Err: err}
		if j.r != nil {
			e.Fix = j.r.fix(err)
		}
		return pipelines.Receipt{}, e
	}
	receipt.Target = target
	return receipt, nil
}

// job is one push.
type job struct {
	p     *Publisher
	r     *remote
	ref   string
	ev    pipelines.Sink
	stage string
	tags  []string

	images    []converted
	blobs     []piece
	blobsDone atomic.Int64
	manifests int
	listed    bool
	tagged    []string
}

func (j *job) run(ctx context.Context, layout, repository string, tags []string, mediaType string) (pipelines.Receipt, error) {
	var receipt pipelines.Receipt
	j.stage = "reference"
	f, err := formOf(mediaType)
	if err != nil {
		return receipt, err
	}
	repo, err := parseRepository(repository)
	if err != nil {
		return receipt, err
	}
	for _, t := range tags {
		if _, err := reference.WithTag(repo, t); err != nil {
			return receipt, fmt.Errorf("tag %q: %w", t, err)
		}
	}
	j.tags = tags
	j.warnDepth(repo)
	j.stage = "layout"
	images, err := readLayout(layout)
	if err != nil {
		return receipt, err
	}
	work := &scratch{parent: j.p.o.TempDir}
	defer work.remove()
	for _, m := range images {
		c, err := convert(ctx, m, f, work)
		if err != nil {
			return receipt, err
		}
		j.add(c)
	}
	raw, err := list(j.images, f)
	if err != nil {
		return receipt, err
	}
	top := v1.Descriptor{MediaType: f.list, Digest: digest.FromBytes(raw), Size: int64(len(raw))}
	j.stage = "connect"
	if j.r, err = j.p.remote(repo, j.ev); err != nil {
		return receipt, err
	}
	defer j.r.close()
	if err := j.children(ctx); err != nil {
		return receipt, err
	}
	j.stage = "list"
	if err := j.manifest(ctx, raw, top); err != nil {
		return receipt, err
	}
	j.listed = true
	for _, t := range tags {
		if err := j.tag(ctx, t, raw, top); err != nil {
			return receipt, err
		}
		j.tagged = append(j.tagged, t)
	}
	return pipelines.Receipt{Ref: repo.Name(), Tags: tags, Digest: top.Digest.String(), MediaType: top.MediaType,
		Platforms: platformsOf(images), Pushed: j.r.sent.Load()}, nil
}

// parseRepository reads a repository's name, which must name its registry.
func parseRepository(s string) (reference.Named, error) {
	repo, err := reference.ParseNormalizedNamed(s)
	if err != nil {
		return nil, err
	}
	if !reference.IsNameOnly(repo) {
		return nil, errors.New("a repository is wanted, without tag or digest")
	}
	return repo, nil
}

// add takes an image and those of its blobs that are not there yet.
func (j *job) add(c converted) {
	j.images = append(j.images, c)
	for _, b := range append([]piece{c.config}, c.layers...) {
		known := false
		for _, have := range j.blobs {
			known = known || have.digest == b.digest
		}
		if !known {
			j.blobs = append(j.blobs, b)
		}
	}
}

// warnDepth warns where GitLab would refuse.
func (j *job) warnDepth(repo reference.Named) {
	rest, ok := strings.CutPrefix(repo.Name(), strings.TrimSuffix(j.p.o.Project, "/")+"/")
	if j.p.o.Project != "" && ok && strings.Count(rest, "/") >= 2 {
		j.ev.Send(pipelines.Event{Kind: pipelines.EventWarning, Step: "push",
			Text: fmt.Sprintf("%s is more than two levels below the project %s, which GitLab's registry refuses", repo.Name(), j.p.o.Project)})
	}
}

// children makes sure of every platform's blobs and manifest.
func (j *job) children(ctx context.Context) error {
	j.expectMounts()
	// The first question alone: it finds the registry and logs in.
	if _, err := j.r.has(ctx, j.blobs[0]); err != nil {
		return err
	}
	j.stage = "upload"
	missing, err := j.missing(ctx)
	if err != nil {
		return err
	}
	if err := j.upload(ctx, missing); err != nil {
		return err
	}
	j.stage = "manifest"
	for _, c := range j.images {
		if err := j.manifest(ctx, c.manifest, c.desc); err != nil {
			return fmt.Errorf("%s: %w", c.platform, err)
		}
		if err := j.checkConfig(ctx, c); err != nil {
			return fmt.Errorf("%s: %w", c.platform, err)
		}
		j.manifests++
	}
	return nil
}

// manifest makes sure that the registry has a manifest by its digest, and that it
// reads back as it is.
func (j *job) manifest(ctx context.Context, raw []byte, d v1.Descriptor) error {
	have, err := j.r.manifestAt(ctx, "", d.Digest)
	if err != nil && !mayBeAbsent(err) {
		return err
	}
	if err == nil && have.is(raw, d) {
		return nil
	}
	if err := j.r.putManifest(ctx, raw, ""); err != nil {
		return err
	}
	return j.readBack(ctx, "", raw, d)
}

// tag sets a tag to the list unless it is.
func (j *job) tag(ctx context.Context, tag string, raw []byte, d v1.Descriptor) error {
	j.stage = "tag"
	have, err := j.r.manifestAt(ctx, tag, "")
	if err != nil && !mayBeAbsent(err) {
		return err
	}
	if err == nil && have.is(raw, d) {
		return nil
	}
	if err := j.r.putManifest(ctx, raw, tag); err != nil {
		return err
	}
	return j.readBack(ctx, tag, raw, d)
}

// mayBeAbsent: some registries refuse to read what does not exist.
func mayBeAbsent(err error) bool {
	s := registries.Status(err)
	return s == http.StatusUnauthorized || s == http.StatusForbidden
}

// is says whether the manifest has these bytes and this media type.
func (f *fetched) is(raw []byte, d v1.Descriptor) bool {
	return f != nil && bytes.Equal(f.raw, raw) && f.mediaType == d.MediaType
}

// readBack reads a manifest until it is what was sent; registries of several
// machines may take a moment.
func (j *job) readBack(ctx context.Context, tag string, raw []byte, d v1.Descriptor) error {
	sent := j.stage
	j.stage = "verify"
	name := tag
	if name == "" {
		name = d.Digest.String()
	}
	err := j.r.try(ctx, "reading back "+name, func(ctx context.Context, _ func()) error {
		dd := d.Digest
		if tag != "" {
			dd = ""
		}
		got, err := j.r.manifestAt(ctx, tag, dd)
		switch {
		case err != nil:
			return &finalError{err} // repeated already
		case got == nil:
			return fmt.Errorf("%w: %s is not there", errReadBack, name)
		case !bytes.Equal(got.raw, raw):
			return fmt.Errorf("%w: %s is %s, not %s that was sent; another push may have moved it", errReadBack, name, digest.FromBytes(got.raw), d.Digest)
		case got.mediaType != d.MediaType:
			return fmt.Errorf("%w: %s has media type %q, not %q", errReadBack, name, got.mediaType, d.MediaType)
		}
		return nil
	})
	if err == nil {
		j.stage = sent
	}
	return err
}

// checkConfig reads a platform's configuration back and compares its platform
// with the one the list will name.
func (j *job) checkConfig(ctx context.Context, c converted) error {
	raw, err := j.r.blob(ctx, c.desc.Digest, c.config)
	if err != nil {
		return fmt.Errorf("reading back the configuration: %w", err)
	}
	var cfg v1.Image
	if err := json.Unmarshal(raw, &cfg); err != nil {
		return fmt.Errorf("reading back the configuration: %w", err)
	}
	if got := oci.FromPlatform(cfg.Platform); got.OS != c.platform.OS || got.Architecture != c.platform.Architecture {
		return fmt.Errorf("%w: the configuration is for %s, not %s", errReadBack, got, c.platform)
	}
	return nil
}

// done says what the registry holds after a failure.
func (j *job) done() string {
	if j.r == nil || len(j.images) == 0 {
		return ""
	}
	n := j.blobsDone.Load()
	s := fmt.Sprintf("%d of %d blobs and %d of %d manifests are in the registry", n, len(j.blobs), j.manifests, len(j.images))
	if j.listed {
		s += ", so is the list"
	}
	switch {
	case len(j.tags) == 0:
	case len(j.tagged) == 0:
		s += "; no tag was moved"
	default:
		s += "; tags set: " + strings.Join(j.tagged, ", ")
	}
	return s
}
