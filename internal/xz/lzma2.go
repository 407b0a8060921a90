package xz

import (
	"io"
)

// origin is where the dictionary starts in the buffer: a multiple of 16, so that
// the low bits of an index are those of the position, and above zero, so that
// the byte before the first exists (it is zero).
const origin = 16

// slack is how much can be decoded before the dictionary is moved down: at least
// the largest chunk (2 MiB).
const slack = 4 << 20

// start begins a new LZMA2 stream with a dictionary of size bytes.
func (d *decoder) start(size int) {
	d.dictSize = size
	d.pos = origin
	if d.buf == nil {
		d.buf = make([]byte, 1<<18)
	}
	d.needDict, d.needProps, d.needState = true, true, true
}

// room makes sure that n bytes can be decoded, keeping the dictionary. Everything
// decoded must have been consumed.
func (d *decoder) room(n int) {
	if d.pos+n <= len(d.buf) {
		return
	}
	if most := origin + (d.dictSize+15)&^15 + slack; len(d.buf) < most {
		size := max(min(most, 2*len(d.buf)), min(most, d.pos+n))
		grown := make([]byte, size)
		copy(grown, d.buf[:d.pos])
		d.buf = grown
		if d.pos+n <= len(d.buf) {
			return
		}
	}
	// Move the last dictSize bytes down by a multiple of 16.
	shift := (d.pos - origin - d.dictSize) &^ 15
	copy(d.buf[origin:], d.buf[origin+shift:d.pos])
	d.pos -= shift
}

// chunk decodes the next chunk into the buffer and gives how many bytes; 0 at the
// end of the stream. The count of compressed bytes read is added to in.
func (d *decoder) chunk(r io.Reader, in *int64) (int, error) {
	var h [6]byte
	if err := d.read(r, h[:1], in); err != nil {
		return 0, err
	}
	c := h[0]
	switch {
	case c == 0:
		return 0, nil
	case c == 1 || c == 2:
		return d.stored(r, c == 1, in)
	case c < 0x80:
		return 0, errData("unknown chunk type")
	}
	if err := d.read(r, h[:4], in); err != nil {
		return 0, err
	}
	n := (int(c&0x1f)<<16 | int(h[0])<<8 | int(h[1])) + 1
	size := int(h[2])<<8 | int(h[3]) + 1
	reset := c >> 5 & 3 // 1: state, 2: and properties, 3: and dictionary
	if reset == 3 {
		d.resetDict()
	} else if d.needDict {
		return 0, errData("stream does not start with a dictionary reset")
	}
	if reset >= 2 {
		if err := d.read(r, h[:1], in); err != nil {
			return 0, err
		}
		if err := d.properties(h[0]); err != nil {
			return 0, err
		}
	} else if d.needProps {
		return 0, errData("chunk without properties")
	}
	if reset >= 1 {
		d.resetState()
	} else if d.needState {
		return 0, errData("chunk without a state reset")
	}
	if err := d.read(r, d.in[:size], in); err != nil {
		return 0, err
	}
	d.room(n)
	return n, d.run(n, size)
}

// stored copies a chunk that is not compressed.
func (d *decoder) stored(r io.Reader, reset bool, in *int64) (int, error) {
	if reset {
		d.resetDict()
	} else if d.needDict {
		return 0, errData("stream does not start with a dictionary reset")
	}
	var h [2]byte
	if err := d.read(r, h[:], in); err != nil {
		return 0, err
	}
	n := int(h[0])<<8 | int(h[1]) + 1
	d.room(n)
	if err := d.read(r, d.buf[d.pos:d.pos+n], in); err != nil {
		return 0, err
	}
	d.pos += n
	return n, nil
}

func (d *decoder) read(r io.Reader, p []byte, in *int64) error {
	n, err := io.ReadFull(r, p)
	*in += int64(n)
	return noEOF(err)
}

func (d *decoder) resetDict() {
	d.needDict = false
	d.needProps, d.needState = true, true
	d.pos = origin
	d.buf[origin-1] = 0
}

// properties sets lc, lp and pb: (pb*5+lp)*9+lc.
func (d *decoder) properties(b byte) error {
	if b > (4*5+4)*9+8 {
		return errData("properties out of range")
	}
	lc, lp, pb := uint32(b%9), uint32(b/9%5), uint32(b/45)
	if lc+lp > 4 {
		return errData("properties out of range")
	}
	d.lc, d.lpMask, d.pbMask = lc, 1<<lp-1, 1<<pb-1
	d.needProps = false
	return nil
}

func (d *decoder) resetState() {
	d.needState = false
	d.state = 0
	d.dist = [4]uint32{}
	d.reset(literalLen * (int(d.lpMask) + 1) << d.lc)
}
