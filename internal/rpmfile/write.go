package rpmfile

import (
	"bytes"
	"encoding/binary"
	"maps"
	"slices"
)

// Values of a header by tag: string, []string, I18N, []byte, uint16, uint32, uint64
// or slices of these.
type Values map[int]any

// I18N is a string that may be translated.
type I18N string

// Build makes a header with its region, as rpm writes one.
func (v Values) Build() []byte { return v.build(tagImmutable) }

// BuildSignatures makes a signature header, with the bytes that pad it.
func (v Values) BuildSignatures() []byte {
	b := v.build(tagSignatures)
	return append(b, make([]byte, -len(b)&7)...)
}

func (v Values) build(region int) []byte {
	var index, data bytes.Buffer
	entry := func(b *bytes.Buffer, tag, kind, off, count int) {
		for _, n := range []int{tag, kind, off, count} {
			binary.Write(b, binary.BigEndian, int32(n))
		}
	}
	var rest bytes.Buffer
	for _, tag := range slices.Sorted(maps.Keys(v)) {
		kind, count, align, b := encode(v[tag])
		data.Write(make([]byte, (align-data.Len()%align)%align))
		entry(&rest, tag, kind, data.Len(), count)
		data.Write(b)
	}
	n := len(v) + 1
	entry(&index, region, typeBin, data.Len(), entrySize)
	index.Write(rest.Bytes())
	entry(&data, region, typeBin, -n*entrySize, entrySize)
	out := binary.BigEndian.AppendUint32(nil, headerMagic)
	out = binary.BigEndian.AppendUint32(out, 0)
	out = binary.BigEndian.AppendUint32(out, uint32(n))
	out = binary.BigEndian.AppendUint32(out, uint32(data.Len()))
	return append(append(out, index.Bytes()...), data.Bytes()...)
}

func encode(x any) (kind, count, align int, data []byte) {
	var b bytes.Buffer
	strs := func(list []string) []byte {
		for _, s := range list {
			b.WriteString(s)
			b.WriteByte(0)
		}
		return b.Bytes()
	}
	nums := func(x any) []byte {
		binary.Write(&b, binary.BigEndian, x)
		return b.Bytes()
	}
	switch x := x.(type) {
	case string:
		return typeString, 1, 1, strs([]string{x})
	case I18N:
		return typeI18N, 1, 1, strs([]string{string(x)})
	case []string:
		return typeStrings, len(x), 1, strs(x)
	case []byte:
		return typeBin, len(x), 1, x
	case uint16:
		return typeInt16, 1, 2, nums(x)
	case []uint16:
		return typeInt16, len(x), 2, nums(x)
	case uint32:
		return typeInt32, 1, 4, nums(x)
	case []uint32:
		return typeInt32, len(x), 4, nums(x)
	case uint64:
		return typeInt64, 1, 8, nums(x)
	case []uint64:
		return typeInt64, len(x), 8, nums(x)
	}
	panic("rpmfile: a value of an unknown type")
}
