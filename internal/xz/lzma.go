package xz

// The LZMA symbol decoder. It decodes one LZMA2 chunk at a time: the compressed
// bytes are in d.in, the output goes straight into the dictionary d.buf, and the
// range coder lives in local variables. Bits of trees are decoded without
// branches, since they are close to random and mispredicted branches would cost
// more than the arithmetic.

const (
	// inSize is a power of two above the largest chunk (64 KiB) plus what one
	// symbol can read past the end of a damaged one, so that a masked index
	// needs no bounds check.
	inSize = 1 << 17
	inMask = inSize - 1
	// top is where the range has to be renormalised.
	top = 1 << 24
	// half is the initial probability of a bit, 1024/2048.
	half = 1 << 10
	// up is the offset that turns the update of a probability for a one into
	// that for a zero: p -= (p+up)>>5 rounds like p += (2048-p)>>5.
	up = ^uint32(0) - (2048 - 31) + 1

	literalLen = 0x300
)

// probs are the adaptive probabilities. Arrays are rounded up to powers of two.
type probs struct {
	match    [256]uint16 // state<<4 | position
	rep0Long [256]uint16
	rep      [16]uint16
	repG0    [16]uint16
	repG1    [16]uint16
	repG2    [16]uint16
	slot     [4][64]uint16
	special  [128]uint16
	align    [16]uint16
	matchLen lengths
	repLen   lengths
	lit      [1 << 14]uint16 // 0x300 << (lc+lp), and room to slice 0x400
}

type lengths struct {
	choice, choice2 uint16
	low, mid        [16][8]uint16
	high            [256]uint16
}

func fill(p []uint16) {
	for i := range p {
		p[i] = half
	}
}

func (l *lengths) reset() {
	l.choice, l.choice2 = half, half
	for i := range l.low {
		fill(l.low[i][:])
		fill(l.mid[i][:])
	}
	fill(l.high[:])
}

func (p *probs) reset(literals int) {
	fill(p.match[:])
	fill(p.rep0Long[:])
	fill(p.rep[:])
	fill(p.repG0[:])
	fill(p.repG1[:])
	fill(p.repG2[:])
	for i := range p.slot {
		fill(p.slot[i][:])
	}
	fill(p.special[:])
	fill(p.align[:])
	p.matchLen.reset()
	p.repLen.reset()
	fill(p.lit[:literals])
}

// decoder is the state that lives from chunk to chunk.
type decoder struct {
	probs
	state     uint32
	dist      [4]uint32
	lc        uint32
	lpMask    uint32
	pbMask    uint32
	in        [inSize]byte
	buf       []byte // dictionary, first byte at origin
	pos       int    // end of what is decoded
	dictSize  int
	needProps bool
	needState bool
	needDict  bool
}

// nextState after a literal.
var literalState = [16]uint32{0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 4, 5}

// run decodes n bytes from the first size bytes of d.in.
func (d *decoder) run(n, size int) error {
	if size < 5 || d.in[0] != 0 {
		return errData("range coder does not start with a zero byte")
	}
	in := &d.in
	code := uint32(in[1])<<24 | uint32(in[2])<<16 | uint32(in[3])<<8 | uint32(in[4])
	ip := 5
	rng := ^uint32(0)
	pos, limit := d.pos, d.pos+n
	buf := d.buf[:limit]
	state := d.state & 15
	rep0, rep1, rep2, rep3 := d.dist[0], d.dist[1], d.dist[2], d.dist[3]
	lc, lpMask, pbMask := d.lc&7, d.lpMask, d.pbMask
	litShift := 8 - lc

	for pos < limit {
		if ip > size {
			return errData("chunk is too short")
		}
		ps := uint32(pos) & pbMask & 15
		var length uint32
		var lens *lengths

		if rng < top {
			rng <<= 8
			code = code<<8 | uint32(in[ip&inMask])
			ip++
		}
		p := &d.match[(state<<4|ps)&255]
		bound := (rng >> 11) * uint32(*p)
		if code < bound { // a literal
			rng = bound
			*p += (2048 - *p) >> 5
			prev := uint32(buf[pos-1])
			base := literalLen * ((uint32(pos)&lpMask)<<lc + prev>>(litShift&15))
			lit := (*[0x400]uint16)(d.lit[base:])
			sym := uint32(1)
			if state < 7 {
				for sym < 0x100 {
					if rng < top {
						rng <<= 8
						code = code<<8 | uint32(in[ip&inMask])
						ip++
					}
					pv := uint32(lit[sym])
					bound := (rng >> 11) * pv
					m := uint32(int64(uint64(code)-uint64(bound)) >> 63)
					rng -= bound
					rng ^= (rng ^ bound) & m
					code -= bound &^ m
					lit[sym] = uint16(pv - uint32(int32(pv+m&up)>>5))
					sym = sym<<1 + 1 + m
				}
			} else {
				if int(rep0) >= pos-origin {
					return errData("distance before the start")
				}
				mb := uint32(buf[pos-int(rep0)-1])
				offs := uint32(0x100)
				for sym < 0x100 {
					mb <<= 1
					bit := mb & offs
					if rng < top {
						rng <<= 8
						code = code<<8 | uint32(in[ip&inMask])
						ip++
					}
					i := (offs + bit + sym) & 0x3ff
					pv := uint32(lit[i])
					bound := (rng >> 11) * pv
					m := uint32(int64(uint64(code)-uint64(bound)) >> 63)
					rng -= bound
					rng ^= (rng ^ bound) & m
					code -= bound &^ m
					lit[i] = uint16(pv - uint32(int32(pv+m&up)>>5))
					sym = sym<<1 + 1 + m
					// m is all ones for a zero bit: keep offs while bits agree.
					offs &= mb ^ m
				}
			}
			buf[pos] = byte(sym)
			pos++
			state = literalState[state&15]
			continue
		}
		rng -= bound
		code -= bound
		*p -= *p >> 5

		if rng < top {
			rng <<= 8
			code = code<<8 | uint32(in[ip&inMask])
			ip++
		}
		p = &d.rep[state&15]
		bound = (rng >> 11) * uint32(*p)
		isRep := code >= bound
		if !isRep {
			rng = bound
			*p += (2048 - *p) >> 5
			lens = &d.matchLen
		} else {
			rng -= bound
			code -= bound
			*p -= *p >> 5
			lens = &d.repLen
			if rng < top {
				rng <<= 8
				code = code<<8 | uint32(in[ip&inMask])
				ip++
			}
			p = &d.repG0[state&15]
			bound = (rng >> 11) * uint32(*p)
			if code < bound {
				rng = bound
				*p += (2048 - *p) >> 5
				if rng < top {
					rng <<= 8
					code = code<<8 | uint32(in[ip&inMask])
					ip++
				}
				p = &d.rep0Long[(state<<4|ps)&255]
				bound = (rng >> 11) * uint32(*p)
				if code < bound { // one byte at the last distance
					rng = bound
					*p += (2048 - *p) >> 5
					if state < 7 {
						state = 9
					} else {
						state = 11
					}
					if int(rep0) >= pos-origin || int(rep0) >= d.dictSize {
						return errData("distance before the start")
					}
					buf[pos] = buf[pos-int(rep0)-1]
					pos++
					continue
				}
				rng -= bound
				code -= bound
				*p -= *p >> 5
			} else {
				rng -= bound
				code -= bound
				*p -= *p >> 5
				if rng < top {
					rng <<= 8
					code = code<<8 | uint32(in[ip&inMask])
					ip++
				}
				p = &d.repG1[state&15]
				bound = (rng >> 11) * uint32(*p)
				if code < bound {
					rng = bound
					*p += (2048 - *p) >> 5
					rep0, rep1 = rep1, rep0
				} else {
					rng -= bound
					code -= bound
					*p -= *p >> 5
					if rng < top {
						rng <<= 8
						code = code<<8 | uint32(in[ip&inMask])
						ip++
					}
					p = &d.repG2[state&15]
					bound = (rng >> 11) * uint32(*p)
					if code < bound {
						rng = bound
						*p += (2048 - *p) >> 5
						rep0, rep1, rep2 = rep2, rep0, rep1
					} else {
						rng -= bound
						code -= bound
						*p -= *p >> 5
						rep0, rep1, rep2, rep3 = rep3, rep0, rep1, rep2
					}
				}
			}
		}

		// The length.
		if rng < top {
			rng <<= 8
			code = code<<8 | uint32(in[ip&inMask])
			ip++
		}
		bound = (rng >> 11) * uint32(lens.choice)
		if code < bound {
			rng = bound
			lens.choice += (2048 - lens.choice) >> 5
			t := &lens.low[ps]
			length = 1
			for length < 8 {
				if rng < top {
					rng <<= 8
					code = code<<8 | uint32(in[ip&inMask])
					ip++
				}
				pv := uint32(t[length])
				bound := (rng >> 11) * pv
				m := uint32(int64(uint64(code)-uint64(bound)) >> 63)
				rng -= bound
				rng ^= (rng ^ bound) & m
				code -= bound &^ m
				t[length] = uint16(pv - uint32(int32(pv+m&up)>>5))
				length = length<<1 + 1 + m
			}
			length -= 8 - 2
		} else {
			rng -= bound
			code -= bound
			lens.choice -= lens.choice >> 5
			if rng < top {
				rng <<= 8
				code = code<<8 | uint32(in[ip&inMask])
				ip++
			}
			bound = (rng >> 11) * uint32(lens.choice2)
			if code < bound {
				rng = bound
				lens.choice2 += (2048 - lens.choice2) >> 5
				t := &lens.mid[ps]
				length = 1
				for length < 8 {
					if rng < top {
						rng <<= 8
						code = code<<8 | uint32(in[ip&inMask])
						ip++
					}
					pv := uint32(t[length])
					bound := (rng >> 11) * pv
					m := uint32(int64(uint64(code)-uint64(bound)) >> 63)
					rng -= bound
					rng ^= (rng ^ bound) & m
					code -= bound &^ m
					t[length] = uint16(pv - uint32(int32(pv+m&up)>>5))
					length = length<<1 + 1 + m
				}
				// 8 values of the first tree come before.
				length += 2
			} else {
				rng -= bound
				code -= bound
				lens.choice2 -= lens.choice2 >> 5
				t := &lens.high
				length = 1
				for length < 256 {
					if rng < top {
						rng <<= 8
						code = code<<8 | uint32(in[ip&inMask])
						ip++
					}
					pv := uint32(t[length])
					bound := (rng >> 11) * pv
					m := uint32(int64(uint64(code)-uint64(bound)) >> 63)
					rng -= bound
					rng ^= (rng ^ bound) & m
					code -= bound &^ m
					t[length] = uint16(pv - uint32(int32(pv+m&up)>>5))
					length = length<<1 + 1 + m
				}
				length -= 256 - 18
			}
		}

		if isRep {
			if state < 7 {
				state = 8
			} else {
				state = 11
			}
		} else {
			rep1, rep2, rep3 = rep0, rep1, rep2
			if state < 7 {
				state = 7
			} else {
				state = 10
			}
			// The distance: 6 bits say its size and first two bits.
			t := &d.slot[min(length-2, 3)]
			slot := uint32(1)
			for slot < 64 {
				if rng < top {
					rng <<= 8
					code = code<<8 | uint32(in[ip&inMask])
					ip++
				}
				pv := uint32(t[slot])
				bound := (rng >> 11) * pv
				m := uint32(int64(uint64(code)-uint64(bound)) >> 63)
				rng -= bound
				rng ^= (rng ^ bound) & m
				code -= bound &^ m
				t[slot] = uint16(pv - uint32(int32(pv+m&up)>>5))
				slot = slot<<1 + 1 + m
			}
			slot -= 64
			rep0 = slot
			if slot >= 4 {
				bits := slot>>1 - 1
				rep0 = 2 | slot&1
				if slot < 14 {
					rep0 <<= bits & 31
					base := rep0 - slot
					i := uint32(1)
					for b := uint32(0); b < bits; b++ {
						if rng < top {
							rng <<= 8
							code = code<<8 | uint32(in[ip&inMask])
							ip++
						}
						p := &d.special[(base+i)&127]
						pv := uint32(*p)
						bound := (rng >> 11) * pv
						m := uint32(int64(uint64(code)-uint64(bound)) >> 63)
						rng -= bound
						rng ^= (rng ^ bound) & m
						code -= bound &^ m
						*p = uint16(pv - uint32(int32(pv+m&up)>>5))
						i = i<<1 + 1 + m
						rep0 += (1 + m) << (b & 31)
					}
				} else {
					for b := bits - 4; b > 0; b-- {
						if rng < top {
							rng <<= 8
							code = code<<8 | uint32(in[ip&inMask])
							ip++
						}
						rng >>= 1
						code -= rng
						m := uint32(int32(code) >> 31)
						code += rng & m
						rep0 = rep0<<1 + 1 + m
					}
					rep0 <<= 4
					i := uint32(1)
					for b := uint32(0); b < 4; b++ {
						if rng < top {
							rng <<= 8
							code = code<<8 | uint32(in[ip&inMask])
							ip++
						}
						p := &d.align[i&15]
						pv := uint32(*p)
						bound := (rng >> 11) * pv
						m := uint32(int64(uint64(code)-uint64(bound)) >> 63)
						rng -= bound
						rng ^= (rng ^ bound) & m
						code -= bound &^ m
						*p = uint16(pv - uint32(int32(pv+m&up)>>5))
						i = i<<1 + 1 + m
						rep0 += (1 + m) << (b & 31)
					}
				}
			}
		}

		// Copy length bytes from rep0+1 back.
		dist := int(rep0) + 1
		count := int(length)
		if dist > pos-origin || dist > d.dictSize {
			return errData("distance before the start")
		}
		if count > limit-pos {
			return errData("match runs over the end of its chunk")
		}
		src := pos - dist
		if dist >= count {
			copy(buf[pos:pos+count], buf[src:src+count])
			pos += count
		} else {
			// The source grows as it is copied: patterns repeat.
			for end := pos + count; pos < end; {
				pos += copy(buf[pos:end], buf[src:pos])
			}
		}
	}
	if rng < top {
		code = code<<8 | uint32(in[ip&inMask])
		ip++
	}
	if code != 0 || ip != size {
		return errData("chunk does not end where it should")
	}
	d.pos, d.state = pos, state
	d.dist = [4]uint32{rep0, rep1, rep2, rep3}
	return nil
}
