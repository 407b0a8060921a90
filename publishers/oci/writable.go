package oci

import (
	"bytes"
	"context"

	"go.podman.io/image/v5/types"
)

// Writable says whether blobs can be sent to a repository, by sending the smallest
// there is ("{}", the image spec's empty configuration). The error is a
// [publishers.PublishError] of stage "upload".
func (p *Publisher) Writable(ctx context.Context, repository string) error {
	return p.withRemote(repository, "upload", nil, func(r *remote) error {
		return r.try(ctx, "trying to write", func(ctx context.Context, _ func()) error {
			dest, err := r.destination(ctx)
			if err != nil {
				return err
			}
			// Without a digest it is sent, whether it is there or not.
			empty := []byte("{}")
			if _, err = dest.PutBlob(ctx, bytes.NewReader(empty), types.BlobInfo{Size: int64(len(empty))}, p.cache, false); err != nil {
				r.renew(dest)
			}
			return err
		})
	})
}
