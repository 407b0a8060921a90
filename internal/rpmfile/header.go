package rpmfile

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// ErrMalformed: not a package, or one that contradicts itself.
var ErrMalformed = errors.New("malformed package")

func malformed(format string, a ...any) error {
	return fmt.Errorf("%w: %s", ErrMalformed, fmt.Sprintf(format, a...))
}

// Bounds of a header, those of rpm itself (rpm, lib/header.c): entries, and bytes
// of data.
const (
	maxEntries = 0x0000ffff
	maxData    = 0x0fffffff
)

// Types of entries.
const (
	typeChar      = 1
	typeInt8      = 2
	typeInt16     = 3
	typeInt32     = 4
	typeInt64     = 5
	typeString    = 6
	typeBin       = 7
	typeStrings   = 8
	typeI18N      = 9
	entrySize     = 16
	introSize     = 16
	headerMagic   = 0x8eade801
	tagSignatures = 62 // region of the signature header
	tagImmutable  = 63 // region of the header
)

// sizeOf a value of a fixed-size type, 0 for strings and unknown ones.
func sizeOf(kind uint32) int {
	switch kind {
	case typeChar, typeInt8, typeBin:
		return 1
	case typeInt16:
		return 2
	case typeInt32:
		return 4
	case typeInt64:
		return 8
	}
	return 0
}

type value struct {
	kind  uint32
	count int
	data  []byte
}

// Header is a set of tagged values.
type Header struct {
	values map[int]value
	// Raw is the header as it is in the file, from its magic to the end of its
	// data: what digests and signatures cover.
	Raw []byte
}

// readHeader reads one header.
func readHeader(r io.Reader) (*Header, error) {
	intro := make([]byte, introSize)
	if _, err := io.ReadFull(r, intro); err != nil {
		return nil, short("header", err)
	}
	if binary.BigEndian.Uint32(intro) != headerMagic {
		return nil, malformed("a header without its magic number")
	}
	n, size := int(binary.BigEndian.Uint32(intro[8:])), int(binary.BigEndian.Uint32(intro[12:]))
	if n < 1 || n > maxEntries || size < 0 || size > maxData {
		return nil, malformed("a header of %d entries and %d bytes", n, size)
	}
	raw, err := readN(r, introSize+n*entrySize+size, intro)
	if err != nil {
		return nil, short("header", err)
	}
	h := &Header{values: make(map[int]value, n), Raw: raw}
	index, data := raw[introSize:introSize+n*entrySize], raw[introSize+n*entrySize:]
	for i := range n {
		e := index[i*entrySize:]
		tag := int(binary.BigEndian.Uint32(e))
		kind := binary.BigEndian.Uint32(e[4:])
		off, count := int(binary.BigEndian.Uint32(e[8:])), int(binary.BigEndian.Uint32(e[12:]))
		if off < 0 || off > len(data) || count < 0 || count > maxData {
			return nil, malformed("tag %d lies outside of its header", tag)
		}
		v := value{kind: kind, count: count}
		if size := sizeOf(kind); size > 0 {
			if count*size > len(data)-off {
				return nil, malformed("tag %d lies outside of its header", tag)
			}
			v.data = data[off : off+count*size]
		} else {
			end := off
			for range count {
				z := slices.Index(data[end:], 0)
				if z < 0 {
					return nil, malformed("tag %d has no end", tag)
				}
				end += z + 1
			}
			v.data = data[off:end]
		}
		if _, twice := h.values[tag]; twice {
			return nil, malformed("tag %d is there twice", tag)
		}
		h.values[tag] = v
	}
	return h, nil
}

// readN reads up to n bytes in all, head being the first of them, without
// believing n before the bytes are there.
func readN(r io.Reader, n int, head []byte) ([]byte, error) {
	out := slices.Clone(head)
	for len(out) < n {
		k := min(n-len(out), 1<<20)
		out = slices.Grow(out, k)
		m, err := io.ReadFull(r, out[len(out):len(out)+k])
		out = out[:len(out)+m]
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

func short(what string, err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return malformed("it ends in its %s", what)
	}
	return err
}

// Has says whether a tag is there.
func (h *Header) Has(tag int) bool { _, ok := h.values[tag]; return ok }

// String is the first string of a tag, "" where there is none.
func (h *Header) String(tag int) string {
	if s := h.Strings(tag); len(s) > 0 {
		return s[0]
	}
	return ""
}

// Strings are the strings of a tag, nil where there are none.
func (h *Header) Strings(tag int) []string {
	v := h.values[tag]
	if v.kind != typeString && v.kind != typeStrings && v.kind != typeI18N || v.count == 0 {
		return nil
	}
	return strings.Split(string(v.data[:len(v.data)-1]), "\x00")
}

// Ints are the numbers of a tag, nil where there are none.
func (h *Header) Ints(tag int) []uint64 {
	v := h.values[tag]
	size := sizeOf(v.kind)
	if v.kind == typeBin || size == 0 {
		return nil
	}
	out := make([]uint64, v.count)
	for i := range out {
		d := v.data[i*size:]
		switch size {
		case 1:
			out[i] = uint64(d[0])
		case 2:
			out[i] = uint64(binary.BigEndian.Uint16(d))
		case 4:
			out[i] = uint64(binary.BigEndian.Uint32(d))
		case 8:
			out[i] = binary.BigEndian.Uint64(d)
		}
	}
	return out
}

// Int is the first number of a tag, 0 where there is none.
func (h *Header) Int(tag int) uint64 {
	if n := h.Ints(tag); len(n) > 0 {
		return n[0]
	}
	return 0
}

// Bytes are the bytes of a tag, nil where there are none.
func (h *Header) Bytes(tag int) []byte {
	if v := h.values[tag]; v.kind == typeBin {
		return v.data
	}
	return nil
}
