package gunzip

import (
	"encoding/binary"
	"io"
)

const (
	inputSize = 128 << 10
	// reach is how far behind its position the input is looked at without asking: two
	// refills of eight bytes.
	reach = 16
	// spare zeros behind the end of everything let the last symbols be decoded as the others.
	spare = reach + 16
)

// input gives bits, the lowest of each byte first. Above the n valid ones in bits there
// may be more, which are those that b[pos:] goes on with.
type input struct {
	r    io.Reader
	buf  []byte
	b    []byte // what is left of buf, with spare zeros when err is set
	pos  int
	end  int // of real bytes in b
	bits uint64
	n    uint
	err  error // of r
}

// more moves what is left to the front and reads behind it. It does nothing at the end.
func (in *input) more() {
	in.align()
	if in.err != nil {
		return
	}
	if in.buf == nil {
		in.buf = make([]byte, inputSize+spare)
	}
	in.end = copy(in.buf, in.b[in.pos:in.end])
	in.pos = 0
	for tries := 0; in.end <= reach && in.err == nil; tries++ {
		var m int
		m, in.err = in.r.Read(in.buf[in.end:inputSize])
		in.end += m
		if m == 0 && in.err == nil && tries > 100 {
			in.err = io.ErrNoProgress
		}
	}
	in.b = in.buf[:in.end]
	if in.err != nil {
		in.b = in.buf[:in.end+spare]
		clear(in.b[in.end:])
	}
}

// limit is the last position from which two refills stay in b.
func (in *input) limit() int {
	if in.err != nil {
		return in.end + 8 // a refill may be ahead of what is used by that much
	}
	return len(in.b) - reach
}

// align gives whole bytes in bits back.
func (in *input) align() {
	in.pos -= int(in.n >> 3)
	in.n &= 7
	in.bits &= 1<<in.n - 1
}

// over says whether more was used than there is.
func (in *input) over() bool { return in.pos-int(in.n>>3) > in.end }

// short is the error when over, or when there is nothing to go on with.
func (in *input) short() error {
	if in.err != nil && in.err != io.EOF {
		return in.err
	}
	return io.ErrUnexpectedEOF
}

// refill makes at least 56 bits valid; pos is at most limit, or a refill behind it.
func (in *input) refill() {
	in.bits |= binary.LittleEndian.Uint64(in.b[in.pos:]) << (in.n & 63)
	in.pos += int((63 - in.n) >> 3)
	in.n |= 56
}

// need makes 56 bits valid, wherever pos is.
func (in *input) need() error {
	if in.pos > in.limit() {
		in.more()
		if in.over() || in.pos > in.limit() {
			return in.short()
		}
	}
	in.refill()
	return nil
}

// take gives k of the valid bits.
func (in *input) take(k uint) uint {
	v := uint(in.bits & (1<<k - 1))
	in.bits >>= k
	in.n -= k
	return v
}

// byte gives the next one, from where bits is empty; io.EOF when there is none.
func (in *input) byte() (byte, error) {
	for in.pos >= in.end {
		if in.more(); in.pos >= in.end && in.err != nil {
			return 0, in.err
		}
	}
	in.pos++
	return in.b[in.pos-1], nil
}
