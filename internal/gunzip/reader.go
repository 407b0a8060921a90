package gunzip

import (
	"encoding/binary"
	"hash/crc32"
	"io"
)

// Reader reads the content of a gzip stream: of all its members, one after the other.
// Errors are ErrFormat, ErrChecksum, io.ErrUnexpectedEOF where the stream is cut short, and
// those of the reader below; they come after the last good bytes, or sooner.
type Reader struct {
	inflater
	read   int // of out, up to w
	crc    uint32
	size   uint32 // of the member, modulo 2^32
	state  state
	failed error
}

type state int

const (
	atHeader state = iota
	inBlocks
	atTrailer
)

// NewReader reads the first member's header. It may read r beyond the stream's end.
func NewReader(r io.Reader) (*Reader, error) {
	z := &Reader{inflater: inflater{input: input{r: r}, out: make([]byte, outSize), lit: newTable(litBits), dist: newTable(distBits),
		plain: newTable(7), m: newMeanings()}}
	switch err := z.member(); err {
	case nil:
		return z, nil
	case io.EOF:
		return nil, io.ErrUnexpectedEOF
	default:
		return nil, err
	}
}

func (z *Reader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for z.read == z.w {
		if z.failed == nil {
			z.failed = z.advance()
		}
		if z.failed != nil {
			return 0, z.failed
		}
	}
	n := copy(p, z.out[z.read:z.w])
	z.read += n
	return n, nil
}

// advance decodes some more; all of out was read.
func (z *Reader) advance() error {
	switch z.state {
	case atHeader:
		return z.member()
	case atTrailer:
		return z.trailer()
	}
	if z.w > len(z.out)-slack || z.w == len(z.out) {
		z.w = copy(z.out, z.out[z.w-window:z.w])
		z.read = z.w
		z.valid = min(z.valid, window)
	}
	start := z.w
	end, err := z.block()
	if err != nil {
		z.w = start
		return err
	}
	z.crc = crc32.Update(z.crc, crc32.IEEETable, z.out[start:z.w])
	z.size += uint32(z.w - start)
	if end {
		z.state = atTrailer
	}
	return nil
}

func (z *Reader) trailer() error {
	z.align()
	z.bits, z.n = 0, 0
	var b [8]byte
	if err := z.bytes(b[:]); err != nil {
		return err
	}
	if binary.LittleEndian.Uint32(b[:]) != z.crc || binary.LittleEndian.Uint32(b[4:]) != z.size {
		return ErrChecksum
	}
	z.state = atHeader
	return nil
}

// bytes fills b; an end before is unexpected.
func (z *Reader) bytes(b []byte) error {
	for i := range b {
		var err error
		if b[i], err = z.byte(); err != nil {
			return z.short()
		}
	}
	return nil
}

// Flags of a header (RFC 1952, 2.3.1).
const (
	flagHeaderCRC = 1 << 1
	flagExtra     = 1 << 2
	flagName      = 1 << 3
	flagComment   = 1 << 4
	flagReserved  = 0xe0
)

// member reads a member's header; io.EOF when there is no further member.
func (z *Reader) member() error {
	var h [10]byte
	var err error
	if h[0], err = z.byte(); err != nil {
		return err
	}
	if err := z.bytes(h[1:]); err != nil {
		return err
	}
	flags := h[3]
	if h[0] != 0x1f || h[1] != 0x8b || h[2] != 8 || flags&flagReserved != 0 {
		return ErrFormat
	}
	sum := crc32.ChecksumIEEE(h[:])
	next := func(b []byte) error {
		err := z.bytes(b)
		sum = crc32.Update(sum, crc32.IEEETable, b)
		return err
	}
	var b [2]byte
	if flags&flagExtra != 0 {
		if err := next(b[:]); err != nil {
			return err
		}
		if err := next(make([]byte, binary.LittleEndian.Uint16(b[:]))); err != nil {
			return err
		}
	}
	for _, text := range []byte{flagName, flagComment} {
		for b[0] = 1; flags&text != 0 && b[0] != 0; {
			if err := next(b[:1]); err != nil {
				return err
			}
		}
	}
	if flags&flagHeaderCRC != 0 {
		want := uint16(sum)
		if err := z.bytes(b[:]); err != nil {
			return err
		}
		if binary.LittleEndian.Uint16(b[:]) != want {
			return ErrFormat
		}
	}
	z.state, z.crc, z.size, z.valid, z.last = inBlocks, 0, 0, 0, false
	return nil
}
