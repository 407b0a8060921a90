package engine

import (
	"context"
	"os"
	"path/filepath"

	"github.com/cfbuild/cfbuild/internal/oci"
	"github.com/cfbuild/cfbuild/internal/sif"
	"github.com/cfbuild/cfbuild/internal/squashfs"
	"github.com/cfbuild/cfbuild/pipelines"
)

// sif writes one platform as a SIF file.
func (e *Engine) sif(ctx context.Context, a pipelines.Artifact, d Delivery) (Output, error) {
	o := sif.Options{Name: a.Target, Sign: d.SIFSign}
	if d.SIFCompression != "" {
		var err error
		if o.Compression, err = squashfs.ParseCompression(d.SIFCompression); err != nil {
			return Output{}, err
		}
	}
	if err := os.MkdirAll(d.Output, 0o755); err != nil {
		return Output{}, err
	}
	path := filepath.Join(d.Output, a.Target+"-"+a.Platform.Short()+".sif")
	r, err := writeSIF(ctx, a, path, o)
	if err != nil {
		return Output{}, err
	}
	for _, what := range r.Dropped {
		e.Events.Send(pipelines.Event{Kind: pipelines.EventWarning, Text: a.Job + ": squashfs has no place for " + what})
	}
	return Output{Target: a.Target, Format: pipelines.FormatSIF, Path: path, Digest: r.Digest,
		Platforms: []pipelines.Platform{a.Platform}, Unchanged: r.Unchanged}, nil
}

// writeSIF converts an artifact, or delivers the SIF file that it was made of: whoever
// has Apptainer build wants what Apptainer made.
func writeSIF(ctx context.Context, a pipelines.Artifact, path string, o sif.Options) (sif.Result, error) {
	own := filepath.Join(a.Path, sif.Beside)
	if _, err := os.Stat(own); err == nil {
		if o.Compression != 0 && o.Compression != squashfs.Gzip {
			return sif.Result{}, &pipelines.InvalidError{What: "compression " + o.Compression.String(),
				Cause: "the SIF file is the one apptainer build made, which chooses its own", Fix: "leave --sif-compression out, or leave --builder apptainer out"}
		}
		return sif.Deliver(ctx, own, path, o.Sign)
	}
	l, err := oci.Open(a.Path)
	if err != nil {
		return sif.Result{}, err
	}
	m, err := l.Manifest(a.Platform)
	if err != nil {
		return sif.Result{}, err
	}
	return sif.Convert(ctx, l, m, path, o)
}
