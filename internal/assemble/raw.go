package assemble

import (
	"archive/tar"
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/cfbuild/cfbuild/internal/oci"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// source is a layer of the image that is being made.
type source struct {
	layout *oci.Layout
	desc   v1.Descriptor
	diff   digest.Digest
	items  []item // nil: not read yet, or kept
}

// read reads and verifies a layer; to, if not nil, gets its archive too.
func (s source) read(ctx context.Context, to func(compressed bool) (io.Writer, error)) ([]item, error) {
	in, err := s.layout.OpenLayer(s.desc, s.diff)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	var r io.Reader = in
	if to != nil {
		w, err := to(in.Compressed())
		if err != nil {
			return nil, err
		}
		if w != nil {
			r = io.TeeReader(in, w)
		}
	}
	items, err := readItems(ctx, r)
	if err == nil { // what follows the archive's end
		_, err = io.Copy(io.Discard, r)
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if _, disk := errors.AsType[*os.PathError](err); disk || errors.Is(err, oci.ErrHostile) {
		return nil, err
	}
	// A digest that does not fit explains whatever else went wrong.
	if ferr := in.Finish(); ferr != nil {
		return nil, ferr
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", oci.ErrCorrupt, err)
	}
	if items == nil {
		items = []item{}
	}
	return items, nil
}

// member is one file of the archive, by where its header begins.
func (s source) member(start int64) (io.ReadCloser, error) {
	in, err := s.layout.OpenLayer(s.desc, s.diff)
	if err != nil {
		return nil, err
	}
	if _, err := io.CopyN(io.Discard, in, start); err != nil {
		in.Close()
		return nil, fmt.Errorf("%w: %w", oci.ErrCorrupt, err)
	}
	f, err := member(in)
	if err != nil {
		in.Close()
		return nil, err
	}
	return closer{f, in}, nil
}

func member(r io.Reader) (io.Reader, error) {
	tr := tar.NewReader(r)
	if _, err := tr.Next(); err != nil {
		return nil, fmt.Errorf("%w: it changed: %w", oci.ErrCorrupt, err)
	}
	return tr, nil
}

type closer struct {
	io.Reader
	io.Closer
}

// spool is a layer's archive with every byte at hand: entries leave in another
// order than they come.
type spool struct {
	f *os.File
	b *bufio.Writer
}

// spoolOf reads a layer into a file without a name in dir, or finds that the blob
// will do. Close it.
func spoolOf(ctx context.Context, s source, dir string) (_ *spool, items []item, err error) {
	sp := &spool{}
	defer func() {
		if err != nil {
			sp.Close()
		}
	}()
	items, err = s.read(ctx, func(compressed bool) (io.Writer, error) {
		var err error
		if !compressed {
			sp.f, err = os.Open(s.layout.BlobPath(s.desc.Digest))
			return nil, err
		}
		if sp.f, err = os.CreateTemp(dir, spoolPrefix+"*"); err != nil {
			return nil, err
		}
		sp.b = bufio.NewWriterSize(sp.f, 256<<10)
		return sp.b, os.Remove(sp.f.Name())
	})
	if err == nil && sp.b != nil {
		err = sp.b.Flush()
	}
	return sp, items, err
}

// spoolPrefix begins the names of such files for the moment they have one.
const spoolPrefix = ".layer-"

func (s *spool) member(start int64) (io.ReadCloser, error) {
	f, err := member(io.NewSectionReader(s.f, start, 1<<62-start))
	return io.NopCloser(f), err
}

// Close frees the space.
func (s *spool) Close() {
	if s.f != nil {
		s.f.Close()
	}
}
