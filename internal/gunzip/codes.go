package gunzip

import "encoding/binary"

// codes decodes symbols until the block ends, out is full or input has to be read. The
// input's fields are kept in variables, which the compiler has in registers.
func (f *inflater) codes() error {
	if f.pos > f.limit() {
		f.more()
		if f.over() || f.pos > f.limit() {
			return f.short()
		}
	}
	le := binary.LittleEndian
	lit, litSub := (*[1 << litBits]uint32)(f.lit.first), f.lit.sub
	dist, distSub := (*[1 << distBits]uint32)(f.dist.first), f.dist.sub
	in, pos, limit, acc, n := f.b, f.pos, f.limit(), f.bits, f.n
	out, w, full := f.out, f.w, len(f.out)-slack
	begin := f.w - f.valid // of what a distance may reach
	bad := false
	for pos <= limit && w <= full {
		acc |= le.Uint64(in[pos:]) << (n & 63)
		pos += int((63 - n) >> 3)
		n |= 56

		e := lit[acc&(1<<litBits-1)]
		if e&isLiteral != 0 {
			acc >>= e & 63
			n -= uint(e & 63)
			out[w] = byte(e >> 16)
			w++
			e = lit[acc&(1<<litBits-1)]
			if e&isLiteral != 0 {
				acc >>= e & 63
				n -= uint(e & 63)
				out[w] = byte(e >> 16)
				w++
				e = lit[acc&(1<<litBits-1)]
				if e&isLiteral != 0 {
					acc >>= e & 63
					n -= uint(e & 63)
					out[w] = byte(e >> 16)
					w++
					continue
				}
			}
		}
		// Of 56 bits 34 are left, enough for a length and its extra bits.
		if e&isSubtable != 0 {
			acc >>= e & 63
			n -= uint(e & 63)
			e = litSub[e>>16+uint32(acc)&(1<<(e>>8&15)-1)]
			if e&isLiteral != 0 {
				acc >>= e & 63
				n -= uint(e & 63)
				out[w] = byte(e >> 16)
				w++
				continue
			}
		}
		if e&isEnd != 0 {
			acc >>= e & 63
			n -= uint(e & 63)
			f.coded = false
			break
		}
		if e == 0 {
			bad = true
			break
		}
		length := int(e>>16) + int(acc&(1<<(e&63)-1)>>(e>>8&15))
		acc >>= e & 63
		n -= uint(e & 63)

		acc |= le.Uint64(in[pos:]) << (n & 63)
		pos += int((63 - n) >> 3)
		n |= 56
		e = dist[acc&(1<<distBits-1)]
		if e&isSubtable != 0 {
			acc >>= e & 63
			n -= uint(e & 63)
			e = distSub[e>>16+uint32(acc)&(1<<(e>>8&15)-1)]
		}
		distance := int(e>>16) + int(acc&(1<<(e&63)-1)>>(e>>8&15))
		acc >>= e & 63
		n -= uint(e & 63)
		from := w - distance
		if e == 0 || from < begin {
			bad = true
			break
		}
		end := w + length
		switch {
		case distance >= 8:
			for {
				le.PutUint64(out[w:], le.Uint64(out[from:]))
				w, from = w+8, from+8
				if w >= end {
					break
				}
			}
		case distance == 1:
			v := uint64(out[from]) * 0x0101010101010101
			for ; w < end; w += 8 {
				le.PutUint64(out[w:], v)
			}
		default:
			for ; w < end; w, from = w+1, from+1 {
				out[w] = out[from]
			}
		}
		w = end
	}
	f.valid += w - f.w
	f.pos, f.bits, f.n, f.w = pos, acc, n, w
	switch {
	case bad && !f.over():
		return ErrFormat
	case f.over():
		return f.short()
	}
	return nil
}
