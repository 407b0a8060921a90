package oci

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/cfbuild/cfbuild/internal/oci"
	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/cfbuild/cfbuild/publishers"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"go.podman.io/image/v5/docker"
	"go.podman.io/image/v5/docker/reference"
	"go.podman.io/image/v5/manifest"
	"go.podman.io/image/v5/types"
)

// Pull copies the images of a reference into a new OCI layout at dir: those for the
// given platforms, all where none is given. Blobs are stored as they are, each
// verified by its digest. It gives the digest of the reference's manifest or list. The
// site's mirrors are asked as in [Publisher.Platforms]. The error is a
// [publishers.PublishError] of stage "pull"; dir then holds no image.
func (p *Publisher) Pull(ctx context.Context, ref, dir string, platforms []pipelines.Platform) (string, error) {
	fail := func(fix string, err error) (string, error) {
		return "", &publishers.PublishError{Ref: ref, Stage: "pull", Fix: fix, Err: err}
	}
	named, err := reference.ParseDockerRef(ref)
	if err != nil {
		return fail("", err)
	}
	l, err := oci.Create(dir)
	if err != nil {
		return fail("", err)
	}
	var errs []error
	fix := ""
	for _, e := range p.endpoints(named) {
		d, r, err := p.pull(ctx, e, l, platforms)
		if err == nil {
			return d.String(), nil
		}
		if ctx.Err() != nil {
			return fail("", context.Cause(ctx))
		}
		errs = append(errs, fmt.Errorf("%s: %w", e.ref.Name(), err))
		if r != nil {
			fix = r.fix(err)
		}
	}
	return fail(fix, errors.Join(errs...))
}

// pull reads from one place.
func (p *Publisher) pull(ctx context.Context, e endpoint, l *oci.Layout, platforms []pipelines.Platform) (digest.Digest, *remote, error) {
	sys, err := p.system(e.ref, e.insecure)
	if err != nil {
		return "", nil, err
	}
	r := &remote{p: p, repo: reference.TrimNamed(e.ref), sys: sys}
	at, err := docker.NewReference(e.ref)
	if err != nil {
		return "", r, err
	}
	pl := &puller{r: r, l: l, ref: at}
	defer pl.close()
	tag, pinned := "", digest.Digest("")
	if d, ok := e.ref.(reference.Digested); ok {
		pinned = d.Digest()
	} else if t, ok := e.ref.(reference.Tagged); ok {
		tag = t.Tag()
	}
	top, err := pl.manifest(ctx, tag, v1.Descriptor{Digest: pinned})
	if err != nil {
		return "", r, err
	}
	images := []v1.Descriptor{top.desc}
	if top.list {
		var idx v1.Index
		if err := json.Unmarshal(top.raw, &idx); err != nil {
			return "", r, fmt.Errorf("manifest list: %w", err)
		}
		images = slices.DeleteFunc(idx.Manifests, func(d v1.Descriptor) bool {
			return oci.IsAttestation(d) || len(platforms) > 0 && (d.Platform == nil || !slices.Contains(platforms, oci.FromPlatform(*d.Platform)))
		})
	}
	if len(images) == 0 {
		return "", r, &finalError{errors.New("it has no image for the platforms asked for")}
	}
	var out []v1.Descriptor
	for _, d := range images {
		m := top
		if top.list {
			if m, err = pl.manifest(ctx, "", d); err != nil {
				return "", r, err
			}
		}
		d.MediaType, d.Size = m.desc.MediaType, m.desc.Size
		if err := pl.image(ctx, m); err != nil {
			return "", r, err
		}
		out = append(out, d)
	}
	return top.desc.Digest, r, l.SetIndex(v1.Index{Manifests: out})
}

// puller copies from one repository into a layout.
type puller struct {
	r   *remote
	l   *oci.Layout
	ref types.ImageReference
	src types.ImageSource
}

// pulled is a manifest that was fetched and stored.
type pulled struct {
	raw  []byte
	desc v1.Descriptor
	list bool
}

// manifest fetches one by tag or by the digest of d, verifies and stores it.
func (p *puller) manifest(ctx context.Context, tag string, d v1.Descriptor) (pulled, error) {
	got, err := p.r.manifestAt(ctx, tag, d.Digest)
	if err != nil {
		return pulled{}, err
	}
	name := tag
	if name == "" {
		name = d.Digest.String()
	}
	if got == nil {
		return pulled{}, fmt.Errorf("manifest %s is not there", name)
	}
	sum := digest.FromBytes(got.raw)
	if d.Digest != "" && sum != d.Digest {
		return pulled{}, fmt.Errorf("%w: the manifest is %s, not what its digest says", errReadBack, sum)
	}
	out := pulled{raw: got.raw, desc: v1.Descriptor{MediaType: got.mediaType, Digest: sum, Size: int64(len(got.raw))}}
	switch got.mediaType {
	case v1.MediaTypeImageIndex, manifest.DockerV2ListMediaType:
		out.list = true
	case v1.MediaTypeImageManifest, manifest.DockerV2Schema2MediaType:
	default:
		return pulled{}, fmt.Errorf("media type %q is not one of an image", got.mediaType)
	}
	w, err := p.l.NewBlob()
	if err != nil {
		return pulled{}, err
	}
	defer w.Abort()
	if _, err := w.Write(got.raw); err != nil {
		return pulled{}, err
	}
	_, _, err = w.Commit()
	return out, err
}

// image fetches what a manifest names.
func (p *puller) image(ctx context.Context, m pulled) error {
	var man v1.Manifest
	if err := json.Unmarshal(m.raw, &man); err != nil {
		return fmt.Errorf("manifest %s: %w", short(m.desc.Digest), err)
	}
	for _, b := range append([]v1.Descriptor{man.Config}, man.Layers...) {
		if err := b.Digest.Validate(); err != nil || b.Digest.Algorithm() != digest.SHA256 {
			return &finalError{fmt.Errorf("manifest %s: digest %q is not sha256:HEX", short(m.desc.Digest), b.Digest)}
		}
		if _, err := os.Stat(p.l.BlobPath(b.Digest)); err == nil {
			continue // another platform's image has it too
		}
		if err := p.blob(ctx, b); err != nil {
			return err
		}
	}
	return nil
}

// blob fetches one over the shared connection; after a failure over a new one.
func (p *puller) blob(ctx context.Context, b v1.Descriptor) error {
	return p.r.try(ctx, "fetching blob "+short(b.Digest), func(ctx context.Context, alive func()) (err error) {
		if p.src == nil {
			if p.src, err = p.ref.NewImageSource(ctx, p.r.sys); err != nil {
				p.src = nil
				return err
			}
		}
		defer func() {
			if err != nil {
				p.close()
			}
		}()
		body, _, err := p.src.GetBlob(ctx, types.BlobInfo{Digest: b.Digest, Size: b.Size}, p.r.p.cache)
		if err != nil {
			return err
		}
		defer body.Close()
		w, err := p.l.NewBlob()
		if err != nil {
			return err
		}
		defer w.Abort()
		sum := digest.SHA256.Digester()
		in := &sending{r: ctxReader{ctx, io.LimitReader(body, b.Size+1)}, tell: func(int64) { alive() }}
		n, err := io.Copy(io.MultiWriter(w, sum.Hash()), in)
		if err != nil {
			return err
		}
		if n != b.Size || sum.Digest() != b.Digest {
			return fmt.Errorf("%w: blob %s is not what its digest says", errReadBack, short(b.Digest))
		}
		_, _, err = w.Commit()
		return err
	})
}

func (p *puller) close() {
	if p.src != nil {
		p.src.Close()
		p.src = nil
	}
}
