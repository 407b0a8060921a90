package squashfs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/klauspost/compress/zlib"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	"github.com/ulikunitz/xz"

	unxz "github.com/cfbuild/cfbuild/internal/xz"
)

// Compression is a codec, with the number the superblock knows it by.
type Compression uint16

// The codecs; lzma and lzo, which the format has too, are not written or read.
// Every kernel with squashfs has Gzip.
const (
	Gzip Compression = 1
	XZ   Compression = 4
	LZ4  Compression = 5
	Zstd Compression = 6
)

var codecNames = map[Compression]string{Gzip: "gzip", XZ: "xz", LZ4: "lz4", Zstd: "zstd"}

func (c Compression) String() string {
	if s := codecNames[c]; s != "" {
		return s
	}
	return fmt.Sprintf("compression %d", uint16(c))
}

// Compressions names the codecs, sorted.
func Compressions() []string { return []string{"gzip", "lz4", "xz", "zstd"} }

// ParseCompression knows the names of [Compressions].
func ParseCompression(name string) (Compression, error) {
	for c, n := range codecNames {
		if n == name {
			return c, nil
		}
	}
	return 0, fmt.Errorf("compression %q: want one of %q", name, Compressions())
}

// levels of each codec: lowest, highest and the default. That is mksquashfs's, but for
// zstd: its 15 is out of the library's reach, which comes within 3 % of zstd's sizes up to 5.
// xz has none; the levels of lz4 are 1, fast, and 2, high compression.
var levels = map[Compression]struct{ min, max, normal int }{
	Gzip: {1, 9, 9}, Zstd: {1, 22, 3}, LZ4: {1, 2, 1}, XZ: {0, 0, 0},
}

// encoder compresses blocks one at a time; each worker has its own.
type encoder interface {
	// encode appends the compressed form of src to dst[:0]. ok is false when
	// that is not smaller than src.
	encode(dst, src []byte) (out []byte, ok bool, err error)
}

// newEncoder: max is the length of the longest block, in bytes.
func newEncoder(c Compression, level, max int) (encoder, error) {
	switch c {
	case Gzip:
		e := &zlibEncoder{}
		w, err := zlib.NewWriterLevel(&e.buf, gzipEffort[level])
		e.w = w
		return e, err
	case Zstd:
		w, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderCRC(false), zstd.WithSingleSegment(true),
			zstd.WithWindowSize(max), zstd.WithEncoderLevel(zstd.EncoderLevelFromZstd(level)), zstd.WithAllLitEntropyCompression(true))
		return &zstdEncoder{w}, err
	case LZ4:
		return &lz4Encoder{high: level == 2}, nil
	case XZ:
		return &xzEncoder{dict: max}, nil
	}
	return nil, fmt.Errorf("%v cannot be written", c)
}

// gzipEffort is the library's level that comes within a few hundredths of the size
// of zlib's level, which is the index. Its own level 9 takes four times as long as 8
// for 0.3 % less.
var gzipEffort = [10]int{0, 1, 2, 4, 6, 7, 7, 7, 8, 8}

type zlibEncoder struct {
	buf bytes.Buffer
	w   *zlib.Writer
}

func (e *zlibEncoder) encode(dst, src []byte) ([]byte, bool, error) {
	e.buf = *bytes.NewBuffer(dst[:0])
	e.w.Reset(&e.buf)
	if _, err := e.w.Write(src); err != nil {
		return nil, false, err
	}
	if err := e.w.Close(); err != nil {
		return nil, false, err
	}
	return e.buf.Bytes(), e.buf.Len() < len(src), nil
}

type zstdEncoder struct{ w *zstd.Encoder }

func (e *zstdEncoder) encode(dst, src []byte) ([]byte, bool, error) {
	out := e.w.EncodeAll(src, dst[:0])
	return out, len(out) < len(src), nil
}

type lz4Encoder struct {
	high bool
	fast lz4.Compressor
	slow lz4.CompressorHC
}

func (e *lz4Encoder) encode(dst, src []byte) ([]byte, bool, error) {
	dst = slices.Grow(dst[:0], lz4.CompressBlockBound(len(src)))
	dst = dst[:cap(dst)]
	var n int
	var err error
	if e.high {
		e.slow.Level = lz4.Level9
		n, err = e.slow.CompressBlock(src, dst)
	} else {
		n, err = e.fast.CompressBlock(src, dst)
	}
	return dst[:n], n > 0 && n < len(src), err
}

type xzEncoder struct{ dict int }

func (e *xzEncoder) encode(dst, src []byte) ([]byte, bool, error) {
	buf := bytes.NewBuffer(dst[:0])
	// The kernel's decoder checks CRC32 and no other sum; its dictionary is a block.
	w, err := xz.WriterConfig{DictCap: e.dict, CheckSum: xz.CRC32}.NewWriter(buf)
	if err != nil {
		return nil, false, err
	}
	if _, err := w.Write(src); err != nil {
		return nil, false, err
	}
	if err := w.Close(); err != nil {
		return nil, false, err
	}
	return buf.Bytes(), buf.Len() < len(src), nil
}

// decoder undoes an encoder.
type decoder interface {
	// decode appends the content of src to dst[:0], at most max bytes.
	decode(dst, src []byte, max int) ([]byte, error)
}

func newDecoder(c Compression) (decoder, error) {
	switch c {
	case Gzip:
		return &zlibDecoder{}, nil
	case Zstd:
		r, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(2*maxBlock), zstd.WithDecodeAllCapLimit(true))
		return &zstdDecoder{r}, err
	case LZ4:
		return lz4Decoder{}, nil
	case XZ:
		return &xzDecoder{unxz.NewReader(maxBlock)}, nil
	}
	return nil, fmt.Errorf("%v cannot be read", c)
}

var errTooLong = errors.New("longer than it may be")

// drain reads all of r into dst[:0]. More than max bytes, or a stream that is cut
// short, is an error.
func drain(dst []byte, r io.Reader, max int) ([]byte, error) {
	dst = slices.Grow(dst[:0], max+1)
	for n := 0; n <= max; {
		m, err := r.Read(dst[n : max+1])
		n += m
		switch {
		case err == io.EOF && n <= max:
			return dst[:n], nil
		case err != nil && err != io.EOF:
			return nil, err
		}
	}
	return nil, errTooLong
}

type zlibDecoder struct{ r io.ReadCloser }

func (d *zlibDecoder) decode(dst, src []byte, max int) ([]byte, error) {
	if d.r == nil {
		r, err := zlib.NewReader(bytes.NewReader(src))
		if err != nil {
			return nil, err
		}
		d.r = r
	} else if err := d.r.(zlib.Resetter).Reset(bytes.NewReader(src), nil); err != nil {
		return nil, err
	}
	return drain(dst, d.r, max)
}

type zstdDecoder struct{ r *zstd.Decoder }

func (d *zstdDecoder) decode(dst, src []byte, max int) ([]byte, error) {
	out, err := d.r.DecodeAll(src, slices.Grow(dst[:0], max)[:0:max])
	if err == nil && len(out) > max {
		err = errTooLong
	}
	return out, err
}

type lz4Decoder struct{}

func (lz4Decoder) decode(dst, src []byte, max int) ([]byte, error) {
	dst = slices.Grow(dst[:0], max)[:max]
	n, err := lz4.UncompressBlock(src, dst)
	if err != nil {
		return nil, err
	}
	return dst[:n], nil
}

type xzDecoder struct{ r *unxz.Reader }

func (d *xzDecoder) decode(dst, src []byte, max int) ([]byte, error) {
	if err := d.r.Reset(bytes.NewReader(src)); err != nil {
		return nil, err
	}
	return drain(dst, d.r, max)
}
