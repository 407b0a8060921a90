package fetch

import (
	"bufio"
	"fmt"
	"io"

	"github.com/cfbuild/cfbuild/internal/xz"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// maxDict bounds the dictionary of an index, in bytes: xz's strongest level has
// 64 MiB.
const maxDict = 64 << 20

// Decompress unpacks r, by the ending of its name (.gz, .xz, .zst; any other is
// taken as it is), in a goroutine of its own while read consumes what comes out. What
// does not unpack is an error that matches ErrMalformed.
func Decompress(ext string, r io.Reader, read func(io.Reader) error) error {
	var in io.Reader
	switch ext {
	case ".gz":
		z, err := gzip.NewReader(r)
		if err != nil {
			return fmt.Errorf("%w gzip: %v", ErrMalformed, err)
		}
		in = z
	case ".xz":
		z := xz.NewReader(maxDict)
		if err := z.Reset(bufio.NewReaderSize(r, 64<<10)); err != nil {
			return fmt.Errorf("%w xz: %v", ErrMalformed, err)
		}
		in = z
	case ".zst":
		z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxDict))
		if err != nil {
			return fmt.Errorf("%w zstd: %v", ErrMalformed, err)
		}
		defer z.Close()
		return read(&named{z})
	default:
		return read(r)
	}
	a := &ahead{full: make(chan []byte, 2), free: make(chan []byte, 3), quit: make(chan struct{})}
	for range 3 {
		a.free <- make([]byte, 256<<10)
	}
	go a.run(in)
	defer close(a.quit)
	return read(a)
}

// ahead reads some blocks ahead of its reader.
type ahead struct {
	full, free chan []byte
	quit       chan struct{}
	block, cur []byte
	// err is set before full is closed.
	err error
}

func (a *ahead) run(in io.Reader) {
	defer close(a.full)
	for {
		var b []byte
		select {
		case b = <-a.free:
		case <-a.quit:
			return
		}
		b = b[:cap(b)]
		n, err := 0, error(nil)
		for n < len(b) && err == nil {
			var m int
			m, err = in.Read(b[n:])
			n += m
		}
		if n > 0 {
			select {
			case a.full <- b[:n]:
			case <-a.quit:
				return
			}
		}
		if err != nil {
			a.err = err
			return
		}
	}
}

func (a *ahead) Read(p []byte) (int, error) {
	if len(a.cur) == 0 {
		if a.block != nil {
			a.free <- a.block
			a.block = nil
		}
		b, ok := <-a.full
		if !ok {
			if a.err == io.EOF {
				return 0, io.EOF
			}
			return 0, fmt.Errorf("%w compressed data: %w", ErrMalformed, a.err)
		}
		a.block, a.cur = b, b
	}
	n := copy(p, a.cur)
	a.cur = a.cur[n:]
	return n, nil
}

// named says what kind of error comes out of a decoder that works ahead by itself.
type named struct{ r io.Reader }

func (n *named) Read(p []byte) (int, error) {
	k, err := n.r.Read(p)
	if err != nil && err != io.EOF {
		err = fmt.Errorf("%w compressed data: %w", ErrMalformed, err)
	}
	return k, err
}

// Limit fails, with an error that matches ErrMismatch, once more than n bytes came
// out of r: an index that unpacks to more than the signed metadata say.
func Limit(r io.Reader, n int64) io.Reader { return &limited{r, n} }

type limited struct {
	r    io.Reader
	left int64
}

func (l *limited) Read(p []byte) (int, error) {
	n, err := l.r.Read(p)
	if l.left -= int64(n); l.left < 0 {
		return 0, Mismatch("it unpacks to more than the signed metadata say")
	}
	return n, err
}
