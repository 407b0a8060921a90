package oci

import (
	"bytes"
	"context"

	"github.com/cfbuild/cfbuild/publishers"
	"go.podman.io/image/v5/types"
)

// Writable says whether blobs can be sent to a repository, by sending the smallest
// there is ("{}", the image spec's empty configuration). The error is a
// [publishers.PublishError] of stage "upload".
func (p *Publisher) Writable(ctx context.Context, repository string) error {
	repo, err := parseRepository(repository)
	if err != nil {
		return &publishers.PublishError{Ref: repository, Stage: "reference", Err: err}
	}
	r, err := p.remote(repo, nil)
	if err != nil {
		return &publishers.PublishError{Ref: repository, Stage: "connect", Err: err}
	}
	defer r.close()
	empty := []byte("{}")
	err = r.try(ctx, "trying to write", func(ctx context.Context, _ func()) error {
		dest, err := r.destination(ctx)
		if err != nil {
			return err
		}
		// Without a digest it is sent, whether it is there or not.
		_, err = dest.PutBlob(ctx, bytes.NewReader(empty), types.BlobInfo{Size: int64(len(empty))}, p.cache, false)
		if err != nil {
			r.renew(dest)
		}
		return err
	})
	if err != nil {
		return &publishers.PublishError{Ref: repository, Stage: "upload", Err: err, Fix: r.fix(err)}
	}
	return nil
}
