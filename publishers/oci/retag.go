package oci

import (
	"context"
	"errors"
	"fmt"

	"github.com/cfbuild/cfbuild/internal/registries"
	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/cfbuild/cfbuild/publishers"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"go.podman.io/image/v5/docker"
)

// Digest says which manifest a tag of a repository stands for, by one HEAD request
// (and what finding the registry and logging in take). It is empty where there is no
// such tag or repository. The error is a [publishers.PublishError] of stage "inspect".
func (p *Publisher) Digest(ctx context.Context, repository, tag string) (string, error) {
	var sum digest.Digest
	err := p.withRemote(repository, "inspect", nil, func(r *remote) error {
		ref, err := r.at(tag, "")
		if err != nil {
			return err
		}
		return r.try(ctx, "asking for tag "+tag, func(ctx context.Context, _ func()) (err error) {
			if sum, err = docker.GetDigest(ctx, r.sys, ref); registries.Status(err) == 404 {
				sum, err = "", nil
			}
			return err
		})
	})
	return sum.String(), err
}

// Tag sets tags to a manifest that the repository has. nil means that each was read
// back. The error is a [publishers.PublishError].
func (p *Publisher) Tag(ctx context.Context, repository, sum string, tags []string, ev pipelines.Sink) error {
	return p.withRemote(repository, "tag", ev, func(r *remote) error {
		have, err := r.manifestAt(ctx, "", digest.Digest(sum))
		if err != nil {
			return err
		}
		if have == nil {
			return fmt.Errorf("manifest %s is not there any more", sum)
		}
		j := &job{p: p, r: r, ref: repository, ev: ev}
		d := v1.Descriptor{MediaType: have.mediaType, Digest: digest.Digest(sum), Size: int64(len(have.raw))}
		for _, t := range tags {
			if err := j.tag(ctx, t, have.raw, d); err != nil {
				return err
			}
		}
		return nil
	})
}

// withRemote opens a repository for use, and words what goes wrong.
func (p *Publisher) withRemote(repository, stage string, ev pipelines.Sink, use func(*remote) error) error {
	repo, err := parseRepository(repository)
	if err != nil {
		return &publishers.PublishError{Ref: repository, Stage: "reference", Err: err}
	}
	r, err := p.remote(repo, ev)
	if err != nil {
		return &publishers.PublishError{Ref: repository, Stage: "connect", Err: err}
	}
	defer r.close()
	err = use(r)
	var pe *publishers.PublishError
	if err == nil || errors.As(err, &pe) {
		return err
	}
	return &publishers.PublishError{Ref: repository, Stage: stage, Err: err, Fix: r.fix(err)}
}
