package xz

import "encoding/binary"

// filter undoes a preprocessing of the data, in place.
type filter interface {
	// run changes p and says how many bytes are done; the rest is offered
	// again with what follows. At the end of the block what is left is taken
	// as it is.
	run(p []byte) int
}

// stage is a filter and how much of the pending bytes it is done with.
type stage struct {
	filter
	done int
}

// filter passes decoded bytes through the filters, the last in the chain first.
// The result is valid until the next call.
func (b *block) filter(in []byte, last bool) []byte {
	// What the filters gave the time before has been handed out.
	b.pending = append(b.pending[:copy(b.pending, b.pending[b.given:])], in...)
	b.given = 0
	for i := len(b.filters) - 1; i >= 0; i-- {
		f := &b.filters[i]
		end := len(b.pending)
		if i < len(b.filters)-1 {
			end = b.filters[i+1].done
		}
		if last {
			f.run(b.pending[f.done:end])
			f.done = end
		} else {
			f.done += f.run(b.pending[f.done:end])
		}
	}
	b.given = b.filters[0].done
	for i := range b.filters {
		b.filters[i].done -= b.given
	}
	return b.pending[:b.given]
}

// delta adds the byte distance back to each byte.
type delta struct {
	distance int
	pos      int
	history  [256]byte
}

func (d *delta) run(p []byte) int {
	for i := range p {
		p[i] += d.history[(d.pos-d.distance)&255]
		d.history[d.pos&255] = p[i]
		d.pos++
	}
	return len(p)
}

// x86 turns absolute targets of CALL and JMP (E8, E9) back into relative ones,
// which the encoder had made absolute to compress better.
type x86 struct {
	pos  uint32 // of the first byte offered, from the start of the block
	mask uint32 // which of the last bytes were opcodes, as the encoder saw them
	// prev is where the last opcode was, relative to the first byte offered.
	prev int
	on   bool
}

func isSign(b byte) bool { return b == 0 || b == 0xff }

func (x *x86) run(p []byte) int {
	if !x.on {
		x.prev, x.on = -5, true
	}
	if len(p) < 5 {
		return 0
	}
	if x.prev < -5 {
		x.prev = -5
	}
	i := 0
	for end := len(p) - 4; i < end; {
		if p[i]&0xfe != 0xe8 {
			i++
			continue
		}
		// Forget opcodes that are too far away to matter.
		gap := i - x.prev
		x.prev = i
		if gap > 5 {
			x.mask = 0
		} else {
			for range gap {
				x.mask = x.mask & 0x77 << 1
			}
		}
		if isSign(p[i+4]) && x.allowed() {
			v := binary.LittleEndian.Uint32(p[i+1:])
			for {
				v -= x.pos + uint32(i) + 5
				if x.mask == 0 {
					break
				}
				shift := bitNumber[x.mask>>1&7] * 8
				if !isSign(byte(v >> (24 - shift))) {
					break
				}
				v ^= 1<<(32-shift) - 1
			}
			// The top byte repeats the sign, bit 24.
			v &= 0x01ffffff
			v |= -(v >> 24 & 1) << 24
			binary.LittleEndian.PutUint32(p[i+1:], v)
			i += 5
			x.mask = 0
			continue
		}
		i++
		x.mask |= 1
		if isSign(p[i+3]) {
			x.mask |= 0x10
		}
	}
	x.pos += uint32(i)
	x.prev -= i
	return i
}

// bitNumber is how many bytes of the operand an opcode before may overlap.
var bitNumber = [8]uint32{0, 1, 2, 2, 3}

// allowed says whether the opcodes before leave this one convertible.
func (x *x86) allowed() bool { m := x.mask >> 1; return m <= 4 && m != 3 }
