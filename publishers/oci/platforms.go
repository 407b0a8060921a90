package oci

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/cfbuild/cfbuild/internal/oci"
	"github.com/cfbuild/cfbuild/internal/registries"
	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/cfbuild/cfbuild/publishers"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"go.podman.io/image/v5/docker"
	"go.podman.io/image/v5/docker/reference"
	"go.podman.io/image/v5/manifest"
	"go.podman.io/image/v5/types"
)

// Platforms says which platforms an image reference ("docker.io/library/debian:12",
// with a tag or digest, latest by default) offers, sorted, and the digest of its
// manifest list or only manifest. The site's mirrors are asked first, in order,
// then its location or the registry itself. Platforms pipelines does not know
// (windows, attestations) are left out. The error is a [publishers.PublishError]
// of stage "inspect".
func (p *Publisher) Platforms(ctx context.Context, ref string) ([]pipelines.Platform, string, error) {
	fail := func(fix string, err error) ([]pipelines.Platform, string, error) {
		return nil, "", &publishers.PublishError{Ref: ref, Stage: "inspect", Fix: fix, Err: err}
	}
	named, err := reference.ParseDockerRef(ref)
	if err != nil {
		return fail("", err)
	}
	var errs []error
	fix := ""
	for _, e := range p.endpoints(named) {
		ps, d, r, err := p.inspect(ctx, e)
		if err == nil {
			return ps, d.String(), nil
		}
		if ctx.Err() != nil {
			return fail("", context.Cause(ctx))
		}
		errs = append(errs, fmt.Errorf("%s: %w", e.ref.Name(), err))
		if r != nil {
			fix = r.fix(err) // that of the last: the registry itself
		}
	}
	return fail(fix, errors.Join(errs...))
}

// endpoint is a place an image can be read from.
type endpoint struct {
	ref      reference.Named
	insecure bool
}

func (p *Publisher) endpoints(ref reference.Named) []endpoint {
	r, ok := registries.Of(p.o.Site, ref.Name())
	if !ok {
		return []endpoint{{ref, registries.Insecure(p.o.Site, ref.Name())}}
	}
	var out []endpoint
	for _, m := range r.Mirrors {
		if moved, err := move(ref, r.Prefix, m.Location); err == nil {
			out = append(out, endpoint{moved, m.Insecure})
		}
	}
	own := endpoint{ref, r.Insecure}
	if r.Location != "" {
		if moved, err := move(ref, r.Prefix, r.Location); err == nil {
			own.ref = moved
		}
	}
	return append(out, own)
}

// move replaces a prefix of a reference and keeps its tag or digest.
func move(ref reference.Named, prefix, location string) (reference.Named, error) {
	rest := strings.TrimPrefix(ref.String(), strings.TrimSuffix(prefix, "/"))
	return reference.ParseNamed(strings.TrimSuffix(location, "/") + rest)
}

func (p *Publisher) inspect(ctx context.Context, e endpoint) ([]pipelines.Platform, digest.Digest, *remote, error) {
	sys, err := p.system(e.ref, e.insecure)
	if err != nil {
		return nil, "", nil, err
	}
	r := &remote{p: p, repo: reference.TrimNamed(e.ref), sys: sys}
	ref, err := docker.NewReference(e.ref)
	if err != nil {
		return nil, "", r, err
	}
	var platforms []pipelines.Platform
	var sum digest.Digest
	err = r.try(ctx, "reading "+e.ref.String(), func(ctx context.Context, _ func()) error {
		src, err := ref.NewImageSource(ctx, sys)
		if err != nil {
			return err
		}
		defer src.Close()
		raw, mediaType, err := src.GetManifest(ctx, nil)
		if err != nil {
			return err
		}
		sum = digest.FromBytes(raw)
		if pinned, ok := e.ref.(reference.Digested); ok && pinned.Digest() != sum {
			return fmt.Errorf("%w: the manifest is %s, not what its digest says", errReadBack, sum)
		}
		platforms, err = offered(ctx, src, raw, mediaType, p.cache)
		return err
	})
	return platforms, sum, r, err
}

// offered reads the platforms of a list, or of an image's configuration.
func offered(ctx context.Context, src types.ImageSource, raw []byte, mediaType string, cache types.BlobInfoCache) ([]pipelines.Platform, error) {
	var found []v1.Platform
	switch mediaType {
	case v1.MediaTypeImageIndex, manifest.DockerV2ListMediaType:
		var idx v1.Index
		if err := json.Unmarshal(raw, &idx); err != nil {
			return nil, fmt.Errorf("manifest list: %w", err)
		}
		for _, d := range idx.Manifests {
			if d.Platform != nil && !oci.IsAttestation(d) {
				found = append(found, *d.Platform)
			}
		}
	case v1.MediaTypeImageManifest, manifest.DockerV2Schema2MediaType:
		var m v1.Manifest
		if err := json.Unmarshal(raw, &m); err != nil {
			return nil, fmt.Errorf("manifest: %w", err)
		}
		body, _, err := src.GetBlob(ctx, types.BlobInfo{Digest: m.Config.Digest, Size: m.Config.Size}, cache)
		if err != nil {
			return nil, fmt.Errorf("configuration: %w", err)
		}
		defer body.Close()
		cfg, err := io.ReadAll(io.LimitReader(body, oci.MaxJSON))
		if err != nil {
			return nil, fmt.Errorf("configuration: %w", err)
		}
		if got := digest.FromBytes(cfg); got != m.Config.Digest {
			return nil, fmt.Errorf("%w: the configuration is %s, not %s", errReadBack, got, m.Config.Digest)
		}
		var image v1.Image
		if err := json.Unmarshal(cfg, &image); err != nil {
			return nil, fmt.Errorf("configuration: %w", err)
		}
		found = append(found, image.Platform)
	default:
		return nil, fmt.Errorf("media type %q is not one of an image", mediaType)
	}
	var out []pipelines.Platform
	for _, f := range found {
		q, err := pipelines.ParsePlatform(oci.FromPlatform(f).String())
		if err == nil && !slices.Contains(out, q) {
			out = append(out, q)
		}
	}
	slices.SortFunc(out, pipelines.ComparePlatforms)
	return out, nil
}
