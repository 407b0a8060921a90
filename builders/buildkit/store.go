//go:build !no_buildkit && linux && containers_image_openpgp

package buildkit

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/cfbuild/cfbuild/internal/oci"
	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// storeID is what the daemon asks the session's content for.
const storeID = "cfbuild"

// contentDir holds the blobs that builds share: packed files, pulled images and the
// layers that came back from daemons. It is an OCI layout without an index.
func contentDir(stateDir string) string { return filepath.Join(stateDir, "content") }

func openContent(stateDir string) (*oci.Layout, error) {
	dir := contentDir(stateDir)
	if l, err := oci.Open(dir); err == nil {
		return l, nil
	}
	if err := os.MkdirAll(stateDir, 0o700); err != nil {
		return nil, err
	}
	l, err := oci.Create(dir)
	if err == nil {
		return l, nil
	}
	// Another build may have made it meanwhile.
	if l, oerr := oci.Open(dir); oerr == nil {
		return l, nil
	}
	return nil, fmt.Errorf("state directory: %w", err)
}

// blobs is what the daemon sees of this machine: the layouts that the graph names,
// read where they are, and the shared content, which takes what the daemon gives
// back. It checks what it takes; the daemon checks what it reads.
type blobs struct {
	shared *oci.Layout

	mu      sync.Mutex
	layouts []*oci.Layout
}

var _ content.Store = (*blobs)(nil)

func openBlobs(stateDir string) (*blobs, error) {
	shared, err := openContent(stateDir)
	return &blobs{shared: shared}, err
}

// show lets the daemon read a layout.
func (b *blobs) show(l *oci.Layout) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !slices.ContainsFunc(b.layouts, func(o *oci.Layout) bool { return o.Dir() == l.Dir() }) {
		b.layouts = append(b.layouts, l)
	}
}

// find gives the file of a blob, from the graph's layouts first.
func (b *blobs) find(d digest.Digest) (string, fs.FileInfo, error) {
	if d.Validate() == nil {
		b.mu.Lock()
		all := append(slices.Clip(b.layouts), b.shared)
		b.mu.Unlock()
		for _, l := range all {
			p := l.BlobPath(d)
			if fi, err := os.Stat(p); err == nil && fi.Mode().IsRegular() {
				return p, fi, nil
			}
		}
	}
	return "", nil, fmt.Errorf("blob %s: %w", d, errdefs.ErrNotFound)
}

// Info of a blob.
func (b *blobs) Info(_ context.Context, d digest.Digest) (content.Info, error) {
	_, fi, err := b.find(d)
	if err != nil {
		return content.Info{}, err
	}
	return content.Info{Digest: d, Size: fi.Size(), CreatedAt: fi.ModTime(), UpdatedAt: fi.ModTime()}, nil
}

// ReaderAt opens a blob.
func (b *blobs) ReaderAt(_ context.Context, d v1.Descriptor) (content.ReaderAt, error) {
	p, fi, err := b.find(d.Digest)
	if err != nil {
		return nil, err
	}
	f, err := os.Open(p)
	if err != nil {
		return nil, err
	}
	return reader{f, fi.Size()}, nil
}

type reader struct {
	*os.File
	size int64
}

func (r reader) Size() int64 { return r.size }

// Writer starts a blob; one that is there is not sent again.
func (b *blobs) Writer(_ context.Context, opts ...content.WriterOpt) (content.Writer, error) {
	var o content.WriterOpts
	for _, f := range opts {
		if err := f(&o); err != nil {
			return nil, err
		}
	}
	if _, _, err := b.find(o.Desc.Digest); err == nil {
		return nil, fmt.Errorf("blob %s: %w", o.Desc.Digest, errdefs.ErrAlreadyExists)
	}
	w, err := b.shared.NewBlob()
	if err != nil {
		return nil, err
	}
	return &writer{w: w, l: b.shared, ref: o.Ref, total: o.Desc.Size, digest: o.Desc.Digest}, nil
}

// writer takes one blob.
type writer struct {
	w      *oci.BlobWriter
	l      *oci.Layout
	ref    string
	n      int64
	total  int64
	digest digest.Digest
}

func (w *writer) Write(p []byte) (int, error) {
	n, err := w.w.Write(p)
	w.n += int64(n)
	return n, err
}

func (w *writer) Close() error {
	w.w.Abort()
	return nil
}

// Digest is the one expected; Commit checks it.
func (w *writer) Digest() digest.Digest { return w.digest }

// Commit puts the blob in place if it is what was announced.
func (w *writer) Commit(_ context.Context, size int64, want digest.Digest, _ ...content.Opt) error {
	if size > 0 && size != w.n {
		w.w.Abort()
		return fmt.Errorf("blob %s: %d bytes, want %d: %w", want, w.n, size, errdefs.ErrFailedPrecondition)
	}
	d, _, err := w.w.Commit()
	if err != nil {
		return err
	}
	if want != "" && d != want {
		return fmt.Errorf("blob %s: its content is %s: %w", want, d, errdefs.ErrFailedPrecondition)
	}
	w.digest = d
	return nil
}

func (w *writer) Status() (content.Status, error) {
	return content.Status{Ref: w.ref, Offset: w.n, Total: w.total, Expected: w.digest}, nil
}

// Truncate starts again.
func (w *writer) Truncate(size int64) error {
	if size != 0 {
		return fmt.Errorf("truncate to %d: %w", size, errdefs.ErrNotImplemented)
	}
	w.w.Abort()
	var err error
	w.w, err = w.l.NewBlob()
	w.n = 0
	return err
}

// What follows is of no use to a daemon that reads and writes blobs.

func (b *blobs) Update(context.Context, content.Info, ...string) (content.Info, error) {
	return content.Info{}, errdefs.ErrNotImplemented
}

func (b *blobs) Walk(context.Context, content.WalkFunc, ...string) error {
	return errdefs.ErrNotImplemented
}

func (b *blobs) Delete(context.Context, digest.Digest) error { return errdefs.ErrNotImplemented }

func (b *blobs) Status(_ context.Context, ref string) (content.Status, error) {
	return content.Status{}, fmt.Errorf("%s: %w", ref, errdefs.ErrNotFound)
}

func (b *blobs) ListStatuses(context.Context, ...string) ([]content.Status, error) { return nil, nil }

func (b *blobs) Abort(context.Context, string) error { return nil }
