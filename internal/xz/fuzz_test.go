package xz

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"hash/crc32"
	"io"
	"testing"

	reference "github.com/xi2/xz"
)

// FuzzReader feeds anything to the decoder: it must not panic or use more memory
// than allowed, and what it accepts another decoder must read the same way.
func FuzzReader(f *testing.F) {
	packed, err := base64.StdEncoding.DecodeString(golden)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(packed)
	f.Add(packed[:40])
	f.Add(append(bytes.Clone(packed), packed...))
	z := NewReader(1 << 20)
	f.Fuzz(func(t *testing.T, in []byte) {
		same(t, z, in)
		// Random bytes seldom get past the headers: use them as LZMA2 data.
		same(t, z, wrap(in))
	})
}

func same(t *testing.T, z *Reader, in []byte) {
	if err := z.Reset(bytes.NewReader(in)); err != nil {
		return
	}
	got, err := io.ReadAll(io.LimitReader(z, 16<<20))
	if len(z.d.buf) > 1<<20+slack+origin+16 {
		t.Fatalf("buffer of %d bytes", len(z.d.buf))
	}
	r, err2 := reference.NewReader(bytes.NewReader(in), 1<<20)
	if err2 != nil {
		if err == nil {
			t.Fatalf("accepted what the reference refuses: %v", err2)
		}
		return
	}
	want, err2 := io.ReadAll(io.LimitReader(r, 16<<20))
	if err == nil && len(got) < 16<<20 && (err2 != nil || len(got) != len(want)) {
		t.Fatalf("%d bytes, the reference has %d, %v", len(got), len(want), err2)
	}
	// Where one or both fail, what they gave before is the same.
	if n := min(len(got), len(want)); !bytes.Equal(got[:n], want[:n]) {
		t.Fatal("output differs from the reference's")
	}
}

// wrap makes a stream without integrity check around LZMA2 data.
func wrap(data []byte) []byte {
	sum := func(b []byte) []byte { return binary.LittleEndian.AppendUint32(b, crc32.ChecksumIEEE(b)) }
	flags := []byte{0, 0}
	out := append(bytes.Clone(magic), sum(flags)...)
	out = append(out, sum([]byte{2, 0, filterLZMA2, 1, 12, 0, 0, 0})...)
	return append(out, data...)
}
