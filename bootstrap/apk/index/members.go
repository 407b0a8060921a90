package index

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/gzip"

	"github.com/cfbuild/cfbuild/bootstrap/fetch"
)

// MaxIndex bounds an index, packed and unpacked, in bytes: Alpine's largest has
// 10 MB unpacked.
const MaxIndex = 256 << 20

// ErrVersion3: a repository or package in the format of apk-tools 3. It matches
// [fetch.ErrNotMetadata].
var ErrVersion3 error = version3{}

type version3 struct{}

func (version3) Error() string {
	return "it is in the format of apk-tools 3, and only version 2 is read"
}
func (version3) Unwrap() error { return fetch.ErrNotMetadata }

// Hint is what to do about it.
func (version3) Hint() string {
	return "use a branch whose repository has an APKINDEX.tar.gz of version 2, as Alpine's have up to 3.24"
}

// isVersion3 knows the container format ADB (apk-v3(5)): stored, deflated or with a
// header that names the compression.
func isVersion3(b []byte) bool {
	return len(b) >= 4 && b[0] == 'A' && b[1] == 'D' && b[2] == 'B' && (b[3] == '.' || b[3] == 'd' || b[3] == 'c')
}

// counter tells how much of the input a decompressor has taken: it gives single
// bytes too, so that gzip reads no further than its member.
type counter struct {
	b   []byte
	pos int
}

func (c *counter) Read(p []byte) (int, error) {
	if c.pos == len(c.b) {
		return 0, io.EOF
	}
	n := copy(p, c.b[c.pos:])
	c.pos += n
	return n, nil
}

func (c *counter) ReadByte() (byte, error) {
	if c.pos == len(c.b) {
		return 0, io.EOF
	}
	c.pos++
	return c.b[c.pos-1], nil
}

// member is one gzip member.
type member struct {
	from, to int // of the packed bytes
	plain    []byte
}

// nextMember unpacks the gzip member that begins at from; limit bounds what comes
// out.
func nextMember(data []byte, from int, limit int64) (member, error) {
	c := &counter{b: data, pos: from}
	z, err := gzip.NewReader(c)
	if err != nil {
		return member{}, fmt.Errorf("%w gzip: %w", fetch.ErrMalformed, noEOF(err))
	}
	z.Multistream(false)
	plain, err := io.ReadAll(io.LimitReader(z, limit+1))
	if err != nil {
		return member{}, fmt.Errorf("%w gzip: %w", fetch.ErrMalformed, noEOF(err))
	}
	if int64(len(plain)) > limit {
		return member{}, fmt.Errorf("%w: it unpacks to more than %d MB", fetch.ErrMalformed, limit>>20)
	}
	return member{from, c.pos, plain}, nil
}

func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// file is one file of a tar.
type file struct {
	head *tar.Header
	data []byte
}

// files reads all files of a tar in memory. The tars of apk have no end: the next
// member goes on.
func files(plain []byte) ([]file, error) {
	t := tar.NewReader(bytes.NewReader(plain))
	var out []file
	for {
		h, err := t.Next()
		if err == io.EOF {
			return out, nil
		}
		if err != nil {
			return nil, fmt.Errorf("%w tar: %w", fetch.ErrMalformed, err)
		}
		b, err := io.ReadAll(t)
		if err != nil {
			return nil, fmt.Errorf("%w tar: %w", fetch.ErrMalformed, err)
		}
		out = append(out, file{h, b})
	}
}
