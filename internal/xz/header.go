package xz

import (
	"encoding/binary"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
)

// Filter identifiers of the format.
const (
	filterDelta = 0x03
	filterX86   = 0x04
	filterLZMA2 = 0x21
)

// blockHeader reads the header whose first byte is in z.small.
func (z *Reader) blockHeader() error {
	size := (int(z.small[0]) + 1) * 4
	h := z.small[:size]
	if _, err := io.ReadFull(z.r, h[1:]); err != nil {
		return noEOF(err)
	}
	if binary.LittleEndian.Uint32(h[size-4:]) != crc32.ChecksumIEEE(h[:size-4]) {
		return errData("block header checksum")
	}
	flags, rest := h[1], h[2:size-4]
	if flags&0x3c != 0 {
		return errData("unknown block flags")
	}
	b := block{headerSize: int64(size), wantIn: -1, wantOut: -1, pending: z.block.pending[:0]}
	var ok bool
	if flags&0x40 != 0 {
		if b.wantIn, rest, ok = varint(rest); !ok || b.wantIn == 0 {
			return errData("block header")
		}
	}
	if flags&0x80 != 0 {
		if b.wantOut, rest, ok = varint(rest); !ok {
			return errData("block header")
		}
	}
	last := int(flags & 3)
	for i := 0; i <= last; i++ {
		var id, n int64
		if id, rest, ok = varint(rest); !ok {
			return errData("block header")
		}
		if n, rest, ok = varint(rest); !ok || n > int64(len(rest)) {
			return errData("block header")
		}
		if (id == filterLZMA2) != (i == last) {
			return errData(fmt.Sprintf("filter chain with filter %#x is not supported", id))
		}
		if err := z.filter(&b, id, rest[:n]); err != nil {
			return err
		}
		rest = rest[n:]
	}
	for _, c := range rest {
		if c != 0 {
			return errData("block header padding")
		}
	}
	z.block = b
	z.inBlock = true
	if z.check != nil {
		z.check.Reset()
	}
	return nil
}

func (z *Reader) filter(b *block, id int64, props []byte) error {
	switch id {
	case filterLZMA2:
		if len(props) != 1 || props[0] > 40 {
			return errData("LZMA2 properties")
		}
		size := int64(1<<32 - 1)
		if bits := uint(props[0]); bits < 40 {
			size = int64(2|bits&1) << (bits/2 + 11)
		}
		if size > int64(z.maxDict) {
			return fmt.Errorf("%w: %d MiB, allowed are %d MiB", ErrMemory, size>>20, z.maxDict>>20)
		}
		z.d.start(int(size))
	case filterDelta:
		if len(props) != 1 {
			return errData("delta properties")
		}
		b.filters = append(b.filters, stage{filter: &delta{distance: int(props[0]) + 1}})
	case filterX86:
		x := &x86{}
		switch len(props) {
		case 0:
		case 4:
			x.pos = binary.LittleEndian.Uint32(props)
		default:
			return errData("x86 filter properties")
		}
		b.filters = append(b.filters, stage{filter: x})
	default:
		return errData(fmt.Sprintf("filter %#x is not supported", id))
	}
	return nil
}

// varint decodes the format's multibyte integers, up to 63 bits.
func varint(p []byte) (int64, []byte, bool) {
	var v int64
	for i, c := range p {
		if i == 9 || (c == 0 && i > 0) {
			return 0, p, false
		}
		v |= int64(c&0x7f) << (7 * i)
		if c < 0x80 {
			return v, p[i+1:], true
		}
	}
	return 0, p, false
}

// sums reads and keeps a checksum and a count.
type sums struct {
	r   io.Reader
	crc hash.Hash32
	n   int64
	buf [1]byte
}

func (s *sums) ReadByte() (byte, error) {
	if _, err := io.ReadFull(s.r, s.buf[:]); err != nil {
		return 0, noEOF(err)
	}
	s.crc.Write(s.buf[:])
	s.n++
	return s.buf[0], nil
}

func (s *sums) varint() (int64, error) {
	var p [9]byte
	for i := range p {
		c, err := s.ReadByte()
		if err != nil {
			return 0, err
		}
		p[i] = c
		if c < 0x80 {
			v, _, ok := varint(p[:i+1])
			if !ok {
				break
			}
			return v, nil
		}
	}
	return 0, errData("index")
}

// index reads the index, whose first byte is already read, and the stream footer,
// and compares with what was decoded.
func (z *Reader) index() error {
	s := &sums{r: z.r, crc: crc32.NewIEEE(), n: 1}
	s.crc.Write([]byte{0})
	n, err := s.varint()
	if err != nil {
		return err
	}
	if n != int64(len(z.blocks)) {
		return errData("index has another number of blocks")
	}
	for _, b := range z.blocks {
		unpadded, err := s.varint()
		if err != nil {
			return err
		}
		size, err := s.varint()
		if err != nil {
			return err
		}
		if (record{unpadded, size}) != b {
			return errData("index differs from the blocks")
		}
	}
	for s.n&3 != 0 {
		if c, err := s.ReadByte(); err != nil {
			return err
		} else if c != 0 {
			return errData("index padding")
		}
	}
	var f [16]byte
	if _, err := io.ReadFull(z.r, f[:]); err != nil {
		return noEOF(err)
	}
	if binary.LittleEndian.Uint32(f[:]) != s.crc.Sum32() {
		return errData("index checksum")
	}
	foot := f[4:]
	switch {
	case string(foot[10:]) != "YZ":
		return errData("stream footer")
	case binary.LittleEndian.Uint32(foot) != crc32.ChecksumIEEE(foot[4:10]):
		return errData("stream footer checksum")
	case (int64(binary.LittleEndian.Uint32(foot[4:]))+1)*4 != s.n+4:
		return errData("stream footer has another index size")
	case foot[8] != 0 || foot[9] != z.flags:
		return errData("stream footer differs from the header")
	}
	return nil
}
