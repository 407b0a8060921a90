package gunzip

import (
	"encoding/binary"
	"errors"
)

// What is wrong with a stream, besides io.ErrUnexpectedEOF.
var (
	// ErrFormat: no gzip member where one must be, or no deflate stream in it.
	ErrFormat = errors.New("gzip: not a valid stream")
	// ErrChecksum: the content is not what the member's end says.
	ErrChecksum = errors.New("gzip: content does not match its checksum")
)

const (
	window    = 32 << 10 // what a distance reaches back (RFC 1951, 2)
	maxLength = 258
	// outSize leaves room behind the window for what is written between two deliveries.
	outSize = window + 128<<10
	// slack is what one round of the loop may write: three literals and a match, which is
	// copied eight bytes at a time.
	slack = 3 + maxLength + 8
)

// inflater decodes deflate blocks into out.
type inflater struct {
	input
	out   []byte
	w     int // end of what is written
	valid int // bytes before w that are of this member, at most those in out

	lit, dist, plain table
	m                meanings
	fixed            bool // the tables are those of the format
	stored           int  // bytes left to copy
	coded            bool // in a block of codes
	last             bool // this block is
}

// block decodes until out is full or the member's blocks are at an end.
func (f *inflater) block() (end bool, err error) {
	for {
		switch {
		case f.stored > 0:
			if f.w == len(f.out) {
				return false, nil
			}
			if err := f.copyStored(); err != nil {
				return false, err
			}
		case f.coded:
			if f.w > len(f.out)-slack {
				return false, nil
			}
			if err := f.codes(); err != nil {
				return false, err
			}
		case f.last:
			return true, nil
		default:
			if err := f.header(); err != nil {
				return false, err
			}
		}
	}
}

func (f *inflater) header() error {
	if err := f.need(); err != nil {
		return err
	}
	f.last = f.take(1) == 1
	switch kind := f.take(2); {
	case f.over():
		return f.short()
	case kind == 0:
		f.align()
		f.bits, f.n = 0, 0
		var b [4]byte
		for i := range b {
			var err error
			if b[i], err = f.byte(); err != nil {
				return f.short()
			}
		}
		n := binary.LittleEndian.Uint16(b[:])
		if n != ^binary.LittleEndian.Uint16(b[2:]) {
			return ErrFormat
		}
		f.stored = int(n)
	case kind == 1:
		if !f.fixed {
			f.setFixed()
		}
		f.coded = true
	case kind == 2:
		f.coded = true
		return f.dynamic()
	default:
		return ErrFormat
	}
	return nil
}

func (f *inflater) copyStored() error {
	if f.pos >= f.end {
		if f.more(); f.pos >= f.end {
			return f.short()
		}
	}
	n := copy(f.out[f.w:], f.b[f.pos:min(f.pos+f.stored, f.end)])
	f.pos += n
	f.w += n
	f.valid += n
	f.stored -= n
	return nil
}

func (f *inflater) setFixed() {
	var lengths [288]uint8
	for i := range lengths {
		switch {
		case i < 144:
			lengths[i] = 8
		case i < 256:
			lengths[i] = 9
		case i < 280:
			lengths[i] = 7
		default:
			lengths[i] = 8
		}
	}
	f.lit.build(lengths[:], f.m.lit)
	for i := range 32 {
		lengths[i] = 5
	}
	f.dist.build(lengths[:32], f.m.dist)
	f.fixed = true
}

// order of the lengths of the code that lengths are in (RFC 1951, 3.2.7).
var order = [19]uint8{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}

// dynamic reads the codes of a block.
func (f *inflater) dynamic() error {
	if err := f.need(); err != nil {
		return err
	}
	f.fixed = false
	nLit, nDist, nOrder := f.take(5)+257, f.take(5)+1, f.take(4)+4
	if nLit > 286 || nDist > 30 {
		return ErrFormat
	}
	var lengths [286 + 30]uint8
	for i := range nOrder {
		if err := f.need(); err != nil {
			return err
		}
		lengths[order[i]] = uint8(f.take(3))
	}
	if !f.plain.build(lengths[:19], f.m.plain) {
		return ErrFormat
	}
	clear(lengths[:19])
	all := lengths[:nLit+nDist]
	for i := 0; i < len(all); {
		if err := f.need(); err != nil {
			return err
		}
		e := f.plain.first[f.bits&(1<<7-1)]
		if e == 0 {
			return ErrFormat
		}
		f.take(uint(e & 0xff))
		what, repeat := uint8(0), 0
		switch s := e >> 16 & 0xff; s {
		case 16:
			if i == 0 {
				return ErrFormat
			}
			what, repeat = all[i-1], 3+int(f.take(2))
		case 17:
			repeat = 3 + int(f.take(3))
		case 18:
			repeat = 11 + int(f.take(7))
		default:
			what, repeat = uint8(s), 1
		}
		if repeat > len(all)-i {
			return ErrFormat
		}
		for range repeat {
			all[i] = what
			i++
		}
	}
	if f.over() {
		return f.short()
	}
	if !f.lit.build(all[:nLit], f.m.lit) || !f.dist.build(all[nLit:], f.m.dist) {
		return ErrFormat
	}
	return nil
}
