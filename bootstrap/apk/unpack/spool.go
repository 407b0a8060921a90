package unpack

import (
	"crypto/sha1" //nolint:gosec // what packages name their files by
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
)

// spool is a file that contents wait in. It has no name, so that nothing is left of
// it whatever happens.
type spool struct {
	f   *os.File
	end int64
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
	return &spool{f: f}, nil
}

// spoolError keeps errors of the disk apart from those of the package.
type spoolError struct{ err error }

func (e *spoolError) Error() string { return "spool file: " + e.err.Error() }
func (e *spoolError) Unwrap() error { return e.err }

// Write appends.
func (s *spool) Write(p []byte) (int, error) {
	n, err := s.f.WriteAt(p, s.end)
	s.end += int64(n)
	if err != nil {
		return n, &spoolError{err}
	}
	return n, nil
}

// add appends size bytes of r, and gives where they begin and their checksum as apk
// writes it.
func (s *spool) add(r io.Reader, size int64) (offset int64, sum string, err error) {
	offset = s.end
	h := sha1.New() //nolint:gosec // see above
	n, err := io.CopyBuffer(struct{ io.Writer }{io.MultiWriter(s, h)}, io.LimitReader(r, size), make([]byte, 64<<10))
	if err == nil && n < size {
		err = io.ErrUnexpectedEOF
	}
	return offset, "Q1" + base64.StdEncoding.EncodeToString(h.Sum(nil)), err
}

// read gives the content of a file.
func (u *Unpacker) read(n *node) ([]byte, error) {
	if n.target != nil {
		n = n.target
	}
	if n.data != nil || n.size == 0 {
		return n.data, nil
	}
	if n.size > 16<<20 {
		return nil, errors.New("larger than is sensible")
	}
	b := make([]byte, n.size)
	if _, err := u.spool.f.ReadAt(b, n.offset); err != nil {
		return nil, &spoolError{err}
	}
	return b, nil
}

// linkSum is the checksum of a symbolic link's target.
func linkSum(target string) string {
	h := sha1.Sum([]byte(target)) //nolint:gosec // see above
	return "Q1" + base64.StdEncoding.EncodeToString(h[:])
}

// hexSum is the form of a checksum without slashes: "X1" and hex.
func hexSum(b []byte) string {
	if len(b) == sha1.Size {
		return fmt.Sprintf("X1%x", b)
	}
	return fmt.Sprintf("X2%x", b)
}
