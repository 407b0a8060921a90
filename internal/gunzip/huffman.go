package gunzip

import "math/bits"

// Entries of the tables hold all that a symbol means:
//
//	bits 0-7    bits to drop: the code's, and the extra bits after it
//	bits 8-11   bits of the code alone
//	bits 16-30  the literal, the base of a length or distance, or where a subtable is
//
// An entry of zero is a code that no symbol has.
const (
	isLiteral  = 1 << 31
	isSubtable = 1 << 15 // bits 8-11 are then the bits of its index
	isEnd      = 1 << 14
	isSpecial  = isSubtable | isEnd
)

const (
	litBits  = 11 // index of the first table
	distBits = 9
	maxCode  = 15 // bits (RFC 1951, 3.2.7)
)

// table decodes one alphabet: codes longer than its index are in subtables behind.
type table struct {
	bits  int
	first []uint32 // 1<<bits
	sub   []uint32
}

func newTable(bits int) table { return table{bits: bits, first: make([]uint32, 1<<bits)} }

// build makes the table of codes with these lengths, in bits, by symbol; meaning gives
// the entries without their lengths, or 0 for what must not come. Code sets that leave something over are refused, but
// for a single code of one bit; none at all is a table without symbols.
func (t *table) build(lengths []uint8, meaning []uint32) bool {
	var count [maxCode + 1]int
	for _, n := range lengths {
		count[n]++
	}
	clear(t.first)
	t.sub = t.sub[:0]
	used := len(lengths) - count[0]
	if used == 0 {
		return true
	}
	var next [maxCode + 2]int
	code := 0
	for n := 1; n <= maxCode; n++ {
		next[n] = code
		code = (code + count[n]) << 1
	}
	if full := code == 1<<(maxCode+1); !full && !(used == 1 && count[1] == 1) {
		return false
	}
	// How long the codes of each subtable are: the later a code, the longer.
	var longest [1 << litBits]uint8
	if t.long(count) {
		after := next
		for _, n := range lengths {
			if int(n) > t.bits {
				i := reversed(after[n], int(n)) & (1<<t.bits - 1)
				longest[i] = max(longest[i], n)
			}
			after[n]++
		}
	}
	for s, n := range lengths {
		if n == 0 {
			continue
		}
		r := reversed(next[n], int(n))
		next[n]++
		e := meaning[s]
		if e != 0 {
			e += uint32(n)<<8 + uint32(n)
		}
		if int(n) <= t.bits {
			for i := r; i < 1<<t.bits; i += 1 << n {
				t.first[i] = e
			}
			continue
		}
		i := r & (1<<t.bits - 1)
		index := int(longest[i]) - t.bits
		if t.first[i] == 0 {
			t.first[i] = isSubtable | uint32(len(t.sub))<<16 | uint32(index)<<8 | uint32(t.bits)
			for range 1 << index {
				t.sub = append(t.sub, 0)
			}
		}
		sub := t.sub[t.first[i]>>16:][:1<<index]
		if e != 0 {
			e -= uint32(t.bits)<<8 + uint32(t.bits) // they are dropped before
		}
		for j := r >> t.bits; j < len(sub); j += 1 << (int(n) - t.bits) {
			sub[j] = e
		}
	}
	return true
}

func (t *table) long(count [maxCode + 1]int) bool {
	for _, c := range count[t.bits+1:] {
		if c > 0 {
			return true
		}
	}
	return false
}

// reversed: the first bit of a code is the lowest of the input's.
func reversed(code, n int) int { return int(bits.Reverse16(uint16(code)) >> (16 - n)) }

// meanings of the symbols of both alphabets (RFC 1951, 3.2.5), and of plain numbers.
type meanings struct{ lit, dist, plain []uint32 }

func newMeanings() meanings {
	m := meanings{lit: make([]uint32, 288), dist: make([]uint32, 32), plain: make([]uint32, 19)}
	for i := range 256 {
		m.lit[i] = isLiteral | uint32(i)<<16
	}
	m.lit[256] = isEnd
	length := 3
	for i := 257; i < 285; i++ {
		extra := max(0, (i-261)/4)
		m.lit[i] = uint32(length)<<16 | uint32(extra)
		length += 1 << extra
	}
	m.lit[285] = 258 << 16
	distance := 1
	for i := range 30 {
		extra := max(0, (i-2)/2)
		m.dist[i] = uint32(distance)<<16 | uint32(extra)
		distance += 1 << extra
	}
	for i := range 19 {
		m.plain[i] = isLiteral | uint32(i)<<16
	}
	return m
}
