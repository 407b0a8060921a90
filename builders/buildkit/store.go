//go:build !no_buildkit && linux && containers_image_openpgp

package buildkit

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/cfbuild/cfbuild/internal/oci"
	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/plugins/content/local"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// storeID is what the daemon asks the session's content for.
const storeID = "cfbuild"

// contentDir holds the blobs that builds share: packed files, pulled images and the
// layers that came back from daemons. It is an OCI layout and containerd's local
// store at once, which have the same names for blobs.
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
	content.Store
	shared *oci.Layout

	mu      sync.Mutex
	layouts []*oci.Layout
}

func openBlobs(stateDir string) (*blobs, error) {
	shared, err := openContent(stateDir)
	if err != nil {
		return nil, err
	}
	store, err := local.NewStore(shared.Dir())
	if err != nil {
		return nil, fmt.Errorf("state directory: %w", err)
	}
	return &blobs{Store: store, shared: shared}, nil
}

// show lets the daemon read a layout.
func (b *blobs) show(l *oci.Layout) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !slices.ContainsFunc(b.layouts, func(o *oci.Layout) bool { return o.Dir() == l.Dir() }) {
		b.layouts = append(b.layouts, l)
	}
}

// find gives the file of a blob in one of the layouts.
func (b *blobs) find(d digest.Digest) (string, fs.FileInfo) {
	if d.Validate() != nil {
		return "", nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, l := range b.layouts {
		p := l.BlobPath(d)
		if fi, err := os.Stat(p); err == nil && fi.Mode().IsRegular() {
			return p, fi
		}
	}
	return "", nil
}

// Info of a blob, from the layouts first.
func (b *blobs) Info(ctx context.Context, d digest.Digest) (content.Info, error) {
	if _, fi := b.find(d); fi != nil {
		return content.Info{Digest: d, Size: fi.Size(), CreatedAt: fi.ModTime(), UpdatedAt: fi.ModTime()}, nil
	}
	return b.Store.Info(ctx, d)
}

// ReaderAt opens a blob, from the layouts first.
func (b *blobs) ReaderAt(ctx context.Context, d v1.Descriptor) (content.ReaderAt, error) {
	if p, _ := b.find(d.Digest); p != "" {
		r, err := local.OpenReader(p)
		if err != nil && errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("blob %s: %w", d.Digest, errdefs.ErrNotFound)
		}
		return r, err
	}
	return b.Store.ReaderAt(ctx, d)
}

// Writer starts a blob; one that is there is not sent again.
func (b *blobs) Writer(ctx context.Context, opts ...content.WriterOpt) (content.Writer, error) {
	var o content.WriterOpts
	for _, f := range opts {
		if err := f(&o); err != nil {
			return nil, err
		}
	}
	if p, _ := b.find(o.Desc.Digest); p != "" {
		return nil, fmt.Errorf("blob %s: %w", o.Desc.Digest, errdefs.ErrAlreadyExists)
	}
	return b.Store.Writer(ctx, opts...)
}
