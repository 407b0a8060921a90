// Package xz decodes the .xz file format (version 1.2.1) for package archives:
// LZMA2 with the x86 and delta filters, every integrity check, several blocks and
// streams. It is written for speed; see [Reader].
package xz

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
)

// ErrData: the input is not a sound .xz file.
var ErrData = errors.New("xz: data error")

// ErrMemory: the dictionary is larger than allowed.
var ErrMemory = errors.New("xz: dictionary too large")

func errData(what string) error { return fmt.Errorf("%w: %s", ErrData, what) }

func noEOF(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errData("unexpected end of input")
	}
	return err
}

// Reader decodes one .xz file after another: Reset keeps the dictionary, so a
// Reader kept costs no allocation. It reads its input in pieces of up to 64 KiB
// and some small ones: hand it a buffered reader. It verifies the integrity
// checks; data is handed out before the check at the end of its block is seen,
// and io.EOF comes only when everything was right.
type Reader struct {
	maxDict int
	r       io.Reader
	d       decoder
	err     error
	out     []byte // decoded and not yet handed out
	inBlock bool
	block   block
	flags   byte // check kind
	check   hash.Hash
	blocks  []record
	small   [1024]byte
}

// record is what the index has to say of a block.
type record struct{ unpadded, size int64 }

type block struct {
	headerSize      int64
	in, out         int64
	wantIn, wantOut int64 // -1: not said
	filters         []stage
	pending         []byte // output of LZMA2 and what the filters made of it
	given           int    // how much of pending was handed out
}

var magic = []byte{0xfd, '7', 'z', 'X', 'Z', 0}

// NewReader makes a Reader that refuses dictionaries above maxDict bytes with
// [ErrMemory]. Call Reset before reading.
func NewReader(maxDict int) *Reader {
	return &Reader{maxDict: maxDict, err: errors.New("xz: no input")}
}

// Reset starts reading r, whose stream header it reads at once.
func (z *Reader) Reset(r io.Reader) error {
	z.r, z.out, z.inBlock, z.err = r, nil, false, nil
	var h [12]byte
	if _, err := io.ReadFull(r, h[:]); err != nil {
		z.err = noEOF(err)
	} else {
		z.err = z.streamHeader(h[:])
	}
	return z.err
}

// Read implements io.Reader.
func (z *Reader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for len(z.out) == 0 {
		if z.err != nil {
			return 0, z.err
		}
		if z.inBlock {
			z.err = z.more()
		} else {
			z.err = z.next()
		}
	}
	n := copy(p, z.out)
	z.out = z.out[n:]
	return n, nil
}

// WriteTo implements io.WriterTo.
func (z *Reader) WriteTo(w io.Writer) (total int64, err error) {
	for {
		if len(z.out) > 0 {
			n, err := w.Write(z.out)
			z.out = z.out[n:]
			total += int64(n)
			if err != nil {
				return total, err
			}
		}
		switch {
		case z.err == io.EOF:
			return total, nil
		case z.err != nil:
			return total, z.err
		case z.inBlock:
			z.err = z.more()
		default:
			z.err = z.next()
		}
	}
}

func (z *Reader) streamHeader(h []byte) error {
	if !bytes.Equal(h[:6], magic) {
		return errData("no .xz magic")
	}
	if binary.LittleEndian.Uint32(h[8:]) != crc32.ChecksumIEEE(h[6:8]) {
		return errData("stream header checksum")
	}
	if h[6] != 0 || h[7] > 15 {
		return errData("unknown stream flags")
	}
	z.flags = h[7]
	z.blocks = z.blocks[:0]
	var err error
	z.check, err = newCheck(z.flags)
	return err
}

// next reads a block header, or the index and what follows it.
func (z *Reader) next() error {
	if _, err := io.ReadFull(z.r, z.small[:1]); err != nil {
		return noEOF(err)
	}
	if z.small[0] != 0 {
		return z.blockHeader()
	}
	if err := z.index(); err != nil {
		return err
	}
	// Padding of zero bytes in fours, then another stream or the end.
	for {
		n, err := io.ReadFull(z.r, z.small[:4])
		if n == 0 && err == io.EOF {
			return io.EOF
		}
		if err != nil {
			return noEOF(err)
		}
		if z.small[0]|z.small[1]|z.small[2]|z.small[3] == 0 {
			continue
		}
		if _, err := io.ReadFull(z.r, z.small[4:12]); err != nil {
			return noEOF(err)
		}
		return z.streamHeader(z.small[:12])
	}
}

// more decodes one chunk of the block.
func (z *Reader) more() error {
	b := &z.block
	n, err := z.d.chunk(z.r, &b.in)
	if err != nil {
		return err
	}
	if b.wantIn >= 0 && b.in > b.wantIn {
		return errData("block is larger than its header says")
	}
	out := z.d.buf[z.d.pos-n : z.d.pos]
	if len(b.filters) > 0 {
		out = b.filter(out, n == 0)
	}
	b.out += int64(len(out))
	if z.check != nil {
		z.check.Write(out)
	}
	z.out = out
	if n > 0 {
		return nil
	}
	z.inBlock = false
	return z.endBlock()
}

func (z *Reader) endBlock() error {
	b := &z.block
	if b.wantIn >= 0 && b.in != b.wantIn || b.wantOut >= 0 && b.out != b.wantOut {
		return errData("block size differs from its header")
	}
	pad := int(-b.in & 3)
	size := checkSizes[z.flags]
	tail := z.small[:pad+size]
	if _, err := io.ReadFull(z.r, tail); err != nil {
		return noEOF(err)
	}
	for _, c := range tail[:pad] {
		if c != 0 {
			return errData("block padding")
		}
	}
	if z.check != nil && !bytes.Equal(tail[pad:], z.check.Sum(nil)) {
		return errData("integrity check failed")
	}
	z.blocks = append(z.blocks, record{b.headerSize + b.in + int64(size), b.out})
	return nil
}
