package oci

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/cfbuild/cfbuild/publishers"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"go.podman.io/image/v5/docker/reference"
)

// The media types of a SIF file in a registry, as Apptainer writes and reads them:
// one layer, which is the file, and an empty configuration.
const (
	MediaTypeSIF       = "application/vnd.sylabs.sif.layer.v1.sif"
	MediaTypeSIFConfig = "application/vnd.sylabs.sif.config.v1+json"
)

// sifMagic stands behind the launch line of 32 bytes (SIF specification, global
// header).
const sifMagic = "SIF_MAGIC\x00"

// PushSIF publishes one SIF file to a repository for apptainer pull oras://, and sets
// each tag to it. Apptainer looks at no platform when it pulls, so each platform
// wants tags of its own. As with [Publisher.Push], nil means durable and read back,
// what the registry has is not sent again, and the error is a
// [publishers.PublishError]; its stage may be "file" too.
func (p *Publisher) PushSIF(ctx context.Context, path, target string, platform pipelines.Platform, repository string, tags []string, ev pipelines.Sink) (pipelines.Receipt, error) {
	j := &job{p: p, ref: repository, ev: ev, tags: tags}
	receipt, err := j.runSIF(ctx, path, repository)
	if err != nil {
		e := &publishers.PublishError{Ref: repository, Stage: j.stage, Err: err}
		if j.r != nil {
			e.Done = fmt.Sprintf("%d of 2 blobs are in the registry; tags set: %d of %d", j.blobsDone.Load(), len(j.tagged), len(tags))
			e.Fix = j.r.fix(err)
		}
		return pipelines.Receipt{}, e
	}
	receipt.Target, receipt.Platforms = target, []pipelines.Platform{platform}
	return receipt, nil
}

func (j *job) runSIF(ctx context.Context, path, repository string) (pipelines.Receipt, error) {
	var receipt pipelines.Receipt
	j.stage = "reference"
	repo, err := parseRepository(repository)
	if err != nil {
		return receipt, err
	}
	for _, t := range j.tags {
		if _, err := reference.WithTag(repo, t); err != nil {
			return receipt, fmt.Errorf("tag %q: %w", t, err)
		}
	}
	j.warnDepth(repo)
	j.stage = "file"
	layer, err := sifPiece(ctx, path)
	if err != nil {
		return receipt, err
	}
	work := &scratch{parent: j.p.o.TempDir}
	defer work.remove()
	l, err := work.layout()
	if err != nil {
		return receipt, err
	}
	config, err := l.PutJSON(MediaTypeSIFConfig, struct{}{})
	if err != nil {
		return receipt, err
	}
	j.blobs = []piece{layer, {config.Digest, config.Size, l.BlobPath(config.Digest), config.MediaType}}
	raw, err := json.Marshal(v1.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: v1.MediaTypeImageManifest, Config: config,
		Layers: []v1.Descriptor{{MediaType: MediaTypeSIF, Digest: layer.digest, Size: layer.size,
			Annotations: map[string]string{v1.AnnotationTitle: filepath.Base(path)}}}})
	if err != nil {
		return receipt, err
	}
	top := v1.Descriptor{MediaType: v1.MediaTypeImageManifest, Digest: digest.FromBytes(raw), Size: int64(len(raw))}
	j.stage = "connect"
	if j.r, err = j.p.remote(repo, j.ev); err != nil {
		return receipt, err
	}
	defer j.r.close()
	// The first question alone: it finds the registry and logs in.
	if _, err := j.r.has(ctx, j.blobs[1]); err != nil {
		return receipt, err
	}
	j.stage = "upload"
	lacks, err := j.missing(ctx)
	if err != nil {
		return receipt, err
	}
	if err := j.upload(ctx, lacks); err != nil {
		return receipt, err
	}
	j.stage = "manifest"
	if err := j.manifest(ctx, raw, top); err != nil {
		return receipt, err
	}
	for _, t := range j.tags {
		if err := j.tag(ctx, t, raw, top); err != nil {
			return receipt, err
		}
		j.tagged = append(j.tagged, t)
	}
	return pipelines.Receipt{Ref: repo.Name(), Tags: j.tags, Digest: top.Digest.String(), MediaType: top.MediaType, Pushed: j.r.sent.Load()}, nil
}

// sifPiece reads a SIF file for its digest.
func sifPiece(ctx context.Context, path string) (piece, error) {
	f, err := os.Open(path)
	if err != nil {
		return piece{}, err
	}
	defer f.Close()
	var head [32 + len(sifMagic)]byte
	if _, err := io.ReadFull(f, head[:]); err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && err != io.EOF {
		return piece{}, err
	}
	if !bytes.Equal(head[32:], []byte(sifMagic)) {
		return piece{}, fmt.Errorf("%s: is not a SIF file", path)
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return piece{}, err
	}
	h := digest.SHA256.Digester()
	n, err := io.Copy(h.Hash(), ctxReader{ctx, f})
	return piece{h.Digest(), n, path, MediaTypeSIF}, err
}
