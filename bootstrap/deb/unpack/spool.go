package unpack

import (
	"hash"
	"io"
	"os"
)

// spool is a file that contents wait in. It has no name, so that nothing is left
// of it whatever happens.
type spool struct {
	f   *os.File
	end int64
	buf []byte
}

func newSpool(dir string) (*spool, error) {
	f, err := os.CreateTemp(dir, ".spool-*")
	if err != nil {
		return nil, err
	}
	if err := os.Remove(f.Name()); err != nil {
		f.Close()
		return nil, err
	}
	return &spool{f: f, buf: make([]byte, 0, 256<<10)}, nil
}

// spoolError keeps errors of the disk apart from those of the package.
type spoolError struct{ err error }

func (e *spoolError) Error() string { return "spool file: " + e.err.Error() }
func (e *spoolError) Unwrap() error { return e.err }

// add appends n bytes of r and gives where they begin.
func (s *spool) add(r io.Reader, n int64, sum hash.Hash) (int64, error) {
	start := s.end
	for n > 0 {
		if len(s.buf) == cap(s.buf) {
			if err := s.flush(); err != nil {
				return 0, err
			}
		}
		p := s.buf[len(s.buf):min(cap(s.buf), len(s.buf)+int(min(n, int64(cap(s.buf)))))]
		k, err := io.ReadFull(r, p)
		if err != nil {
			return 0, err
		}
		if sum != nil {
			sum.Write(p[:k])
		}
		s.buf = s.buf[:len(s.buf)+k]
		s.end += int64(k)
		n -= int64(k)
	}
	return start, nil
}

func (s *spool) flush() error {
	if len(s.buf) == 0 {
		return nil
	}
	_, err := s.f.Write(s.buf)
	s.buf = s.buf[:0]
	if err != nil {
		return &spoolError{err}
	}
	return nil
}
