package unpack

import (
	"bufio"
	"compress/bzip2"
	"compress/gzip"
	"io"
	"strings"

	"github.com/klauspost/compress/zstd"

	"github.com/cfbuild/cfbuild/internal/xz"
)

// maxDict bounds the dictionary or window of any decoder, in bytes: dpkg-deb's
// strongest level uses 64 MiB for xz.
const maxDict = 64 << 20

// decoders are kept for the next member: their dictionaries are large.
type decoders struct {
	xz   *xz.Reader
	zstd *zstd.Decoder
	in   *bufio.Reader
}

func (d *decoders) close() {
	if d.zstd != nil {
		d.zstd.Close()
	}
}

// open gives the content of a control.tar or data.tar member by the ending of its
// name.
func (d *decoders) open(name string, r io.Reader) (io.Reader, error) {
	if d.in == nil {
		d.in = bufio.NewReaderSize(r, 256<<10)
	}
	d.in.Reset(r)
	_, ext, _ := strings.Cut(name, ".tar")
	switch ext {
	case "":
		return d.in, nil
	case ".gz":
		z, err := gzip.NewReader(d.in)
		if err != nil {
			return nil, refuseErr(name, "is damaged", noEOF(err))
		}
		return z, nil
	case ".xz":
		if d.xz == nil {
			d.xz = xz.NewReader(maxDict)
		}
		if err := d.xz.Reset(d.in); err != nil {
			return nil, refuseErr(name, "is damaged", noEOF(err))
		}
		return d.xz, nil
	case ".zst":
		if d.zstd == nil {
			z, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1),
				zstd.WithDecoderMaxWindow(128<<20), zstd.WithDecoderLowmem(true))
			if err != nil {
				return nil, err
			}
			d.zstd = z
		}
		if err := d.zstd.Reset(d.in); err != nil {
			return nil, refuseErr(name, "is damaged", noEOF(err))
		}
		return d.zstd, nil
	case ".bz2":
		return bzip2.NewReader(d.in), nil
	}
	return nil, refuse(name, "has a compression that is not known")
}

// limited fails once more than n bytes were read: a decompression bomb.
type limited struct {
	r    io.Reader
	n    int64
	name string
	max  int64
}

func limit(r io.Reader, n int64, name string) *limited { return &limited{r, n, name, n} }

func (l *limited) Read(p []byte) (int, error) {
	n, err := l.r.Read(p)
	l.n -= int64(n)
	if l.n < 0 {
		return 0, refuse(l.name, "unpacks to more than %d MiB, far more than it declares", l.max>>20)
	}
	return n, err
}
