package oci

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/cfbuild/cfbuild/internal/oci"
	"github.com/cfbuild/cfbuild/publishers"
	"github.com/opencontainers/go-digest"
	"go.podman.io/image/v5/types"
	"golang.org/x/sync/errgroup"
)

// missing asks for every blob and lists those that have to be sent.
func (j *job) missing(ctx context.Context) ([]piece, error) {
	lacks := make([]bool, len(j.blobs))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(j.p.o.Parallel)
	for i, b := range j.blobs {
		g.Go(func() error {
			found, err := j.r.has(ctx, b)
			lacks[i] = !found
			if found {
				j.blobsDone.Add(1)
			}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	var out []piece
	for i, b := range j.blobs {
		if lacks[i] {
			out = append(out, b)
		}
	}
	return out, nil
}

// upload sends blobs, several at once, and tells how far it is.
func (j *job) upload(ctx context.Context, blobs []piece) error {
	p := &publishers.Progress{Events: j.ev, Name: "push to " + j.r.repo.Name()}
	for _, b := range blobs {
		p.Total += b.size
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(j.p.o.Parallel)
	for _, b := range blobs {
		g.Go(func() error {
			if err := j.r.putBlob(ctx, b, p.Add); err != nil {
				return fmt.Errorf("blob %s (%d bytes): %w", b.digest, b.size, err)
			}
			j.blobsDone.Add(1)
			return nil
		})
	}
	return g.Wait()
}

// blob reads a small blob of an image and verifies it.
func (r *remote) blob(ctx context.Context, image digest.Digest, b piece) ([]byte, error) {
	ref, err := r.at("", image)
	if err != nil {
		return nil, err
	}
	var raw []byte
	err = r.try(ctx, "reading blob "+short(b.digest), func(ctx context.Context, _ func()) error {
		src, err := ref.NewImageSource(ctx, r.sys)
		if err != nil {
			return err
		}
		defer src.Close()
		body, _, err := src.GetBlob(ctx, types.BlobInfo{Digest: b.digest, Size: b.size}, r.p.cache)
		if err != nil {
			return err
		}
		defer body.Close()
		if raw, err = io.ReadAll(io.LimitReader(body, oci.MaxJSON+1)); err != nil {
			return err
		}
		if len(raw) > oci.MaxJSON {
			return errors.New("larger than a configuration may be")
		}
		if got := digest.FromBytes(raw); got != b.digest {
			return fmt.Errorf("%w: blob %s reads as %s", errReadBack, b.digest, got)
		}
		return nil
	})
	return raw, err
}
