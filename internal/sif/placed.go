package sif

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/sylabs/sif/v2/pkg/sif"
)

// placed is the file system where it will be in the SIF file, so that it is written
// once.
type placed struct {
	f    *os.File
	at   int64
	size int64 // when it is whole
}

// place asks the library where the file system goes, by a SIF with an empty one.
func place(a *additions, arch string, o Options) (int64, error) {
	img, err := create(sif.NewBuffer(nil), a, strings.NewReader(""), arch, o)
	if err != nil {
		return 0, err
	}
	d, err := img.GetDescriptor(sif.WithPartitionType(sif.PartPrimSys))
	return d.Offset(), err
}

// WriteAt and Truncate are for the writer of the file system.
func (p *placed) WriteAt(b []byte, off int64) (int, error) { return p.f.WriteAt(b, p.at+off) }

func (p *placed) Truncate(size int64) error { return p.f.Truncate(p.at + size) }

// Read is never called: io.Copy, which the library uses, prefers WriteTo.
func (p *placed) Read([]byte) (int, error) { return 0, errors.ErrUnsupported }

// WriteTo passes over what is there.
func (p *placed) WriteTo(w io.Writer) (int64, error) {
	s, ok := w.(io.Seeker)
	if !ok {
		return 0, errors.ErrUnsupported
	}
	switch at, err := s.Seek(p.size, io.SeekCurrent); {
	case err != nil:
		return 0, err
	case at != p.at+p.size:
		return 0, fmt.Errorf("the file system is at %d and should be at %d", p.at, at-p.size)
	}
	return p.size, nil
}

// move makes room for objects that turned out longer than was thought, or closes the
// gap. It begins at the end that it moves to.
func (p *placed) move(ctx context.Context, to int64) error {
	if to == p.at {
		return nil
	}
	b := make([]byte, 1<<20)
	for done := int64(0); done < p.size; {
		if err := ctx.Err(); err != nil {
			return err
		}
		n := min(int64(len(b)), p.size-done)
		off := done
		if to > p.at {
			off = p.size - done - n
		}
		if _, err := p.f.ReadAt(b[:n], p.at+off); err != nil {
			return err
		}
		if _, err := p.f.WriteAt(b[:n], to+off); err != nil {
			return err
		}
		done += n
	}
	if gap := min(to-p.at, p.size); gap > 0 { // beyond, nothing was
		if _, err := p.f.WriteAt(make([]byte, gap), p.at); err != nil {
			return err
		}
	}
	p.at = to
	return p.f.Truncate(to + p.size)
}
