package unpack

import (
	"errors"
	"io"
	"strconv"
	"strings"
)

// arReader reads the members of an ar archive (deb(5)), one after the other.
type arReader struct {
	r    io.Reader
	left int64 // of the member, padding not counted
	pad  int64
}

func newAR(r io.Reader) (*arReader, error) {
	var magic [8]byte
	if _, err := io.ReadFull(r, magic[:]); err != nil {
		return nil, refuseErr("", "is not a Debian package", noEOF(err))
	}
	if string(magic[:]) != "!<arch>\n" {
		return nil, refuse("", "is not a Debian package: no ar magic")
	}
	return &arReader{r: r}, nil
}

// next skips to the next member. It gives io.EOF at the end.
func (a *arReader) next() (name string, size int64, err error) {
	if _, err := io.CopyN(io.Discard, a.r, a.left+a.pad); err != nil {
		// The padding after the last member may be missing.
		if errors.Is(err, io.EOF) && a.left == 0 {
			return "", 0, io.EOF
		}
		return "", 0, refuseErr("", "is cut short", noEOF(err))
	}
	a.left, a.pad = 0, 0
	var h [60]byte
	if _, err := io.ReadFull(a.r, h[:]); err != nil {
		if errors.Is(err, io.EOF) {
			return "", 0, io.EOF
		}
		return "", 0, refuseErr("", "is cut short", noEOF(err))
	}
	if h[58] != '`' || h[59] != '\n' {
		return "", 0, refuse("", "has a damaged ar header")
	}
	name = strings.TrimSuffix(strings.TrimRight(string(h[:16]), " "), "/")
	size, err = strconv.ParseInt(strings.TrimRight(string(h[48:58]), " "), 10, 64)
	if err != nil || size < 0 {
		return "", 0, refuse(name, "has a damaged size in its ar header")
	}
	a.left, a.pad = size, size&1
	return name, size, nil
}

// Read reads the current member.
func (a *arReader) Read(p []byte) (int, error) {
	if a.left == 0 {
		return 0, io.EOF
	}
	if int64(len(p)) > a.left {
		p = p[:a.left]
	}
	n, err := a.r.Read(p)
	a.left -= int64(n)
	if err == io.EOF && a.left > 0 {
		err = io.ErrUnexpectedEOF
	}
	if err == io.EOF {
		err = nil
	}
	return n, err
}

func noEOF(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("unexpected end of file")
	}
	return err
}
