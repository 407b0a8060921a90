package gunzip

import (
	"bytes"
	stdflate "compress/flate"
	stdgzip "compress/gzip"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"
	"testing/iotest"

	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/gzip"
)

// contents of kinds that take different ways through the decoder.
func contents() map[string][]byte {
	rnd := rand.New(rand.NewPCG(3, 4))
	noise := make([]byte, 300<<10)
	skewed := make([]byte, 700<<10) // codes longer than the first table's index
	for i := range noise {
		noise[i] = byte(rnd.Uint32())
	}
	for i := range skewed {
		skewed[i] = byte(min(255, rnd.ExpFloat64()*9))
	}
	var words, periods bytes.Buffer
	for words.Len() < 1<<20 {
		fmt.Fprintf(&words, "word%d and ", rnd.IntN(3000))
	}
	for i := 1; periods.Len() < 500<<10; i = i%40 + 1 {
		periods.Write(bytes.Repeat(noise[i:2*i], 1+rnd.IntN(400)))
	}
	far := append(noise[:32<<10:32<<10], noise[:32<<10]...) // distances of a whole window
	return map[string][]byte{"empty": nil, "one byte": {7}, "noise": noise, "skewed": skewed, "words": words.Bytes(),
		"periods": periods.Bytes(), "zeros": make([]byte, 3<<20), "far": far}
}

func unpacked(r io.Reader) ([]byte, error) {
	z, err := NewReader(r)
	if err != nil {
		return nil, err
	}
	return io.ReadAll(z)
}

func TestContents(t *testing.T) {
	for name, data := range contents() {
		for _, level := range []int{flate.HuffmanOnly, 0, 1, 5, 9} {
			var b bytes.Buffer
			w, err := gzip.NewWriterLevel(&b, level)
			if err != nil {
				t.Fatal(err)
			}
			w.Write(data[:len(data)/3])
			w.Flush()
			w.Write(data[len(data)/3:])
			w.Close()
			for how, r := range map[string]io.Reader{"whole": bytes.NewReader(b.Bytes()), "with its end": iotest.DataErrReader(bytes.NewReader(b.Bytes())),
				"byte by byte": iotest.OneByteReader(bytes.NewReader(b.Bytes()))} {
				if got, err := unpacked(r); err != nil || !bytes.Equal(got, data) {
					t.Errorf("%s, level %d, %s: %d bytes of %d, %v", name, level, how, len(got), len(data), err)
				}
			}
		}
	}
}

func packed(t testing.TB, h gzip.Header, data string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	w.Header = h
	if _, err := io.WriteString(w, data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestMembers(t *testing.T) {
	all := append(packed(t, gzip.Header{Name: "n", Comment: "c", Extra: []byte("extra")}, "one "), packed(t, gzip.Header{}, "two")...)
	if got, err := unpacked(bytes.NewReader(all)); err != nil || string(got) != "one two" {
		t.Errorf("%q, %v", got, err)
	}
	// A distance must not reach into the member before.
	empty := packed(t, gzip.Header{}, "")
	reach := append(packed(t, gzip.Header{}, "before"), empty[:10]...)
	reach = append(reach, 0x83, 0x03, 0) // fixed codes: length 3 of distance 1, end
	if got, err := unpacked(bytes.NewReader(append(reach, make([]byte, 8)...))); !errors.Is(err, ErrFormat) {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := unpacked(bytes.NewReader(append(empty, "garbage beyond"...))); !errors.Is(err, ErrFormat) {
		t.Errorf("garbage at the end: %v", err)
	}
}

func TestDamage(t *testing.T) {
	whole := packed(t, gzip.Header{Name: "name"}, "some content, some content, some more of it")
	for n := range whole {
		if _, err := unpacked(bytes.NewReader(whole[:n])); err != io.ErrUnexpectedEOF {
			t.Errorf("cut to %d of %d bytes: %v", n, len(whole), err)
		}
		broken := errors.New("broken")
		if _, err := unpacked(io.MultiReader(bytes.NewReader(whole[:n]), iotest.ErrReader(broken))); err != broken {
			t.Errorf("broken after %d bytes: %v", n, err)
		}
	}
	for i := range 8 {
		b := bytes.Clone(whole)
		b[len(b)-1-i] ^= 1
		if _, err := unpacked(bytes.NewReader(b)); !errors.Is(err, ErrChecksum) {
			t.Errorf("byte %d from the end: %v", i, err)
		}
	}
	for _, i := range []int{0, 1, 2} {
		b := bytes.Clone(whole)
		b[i] ^= 0x40
		if _, err := unpacked(bytes.NewReader(b)); !errors.Is(err, ErrFormat) {
			t.Errorf("header's byte %d: %v", i, err)
		}
	}
	if _, err := unpacked(iotest.ErrReader(nil)); err != io.ErrNoProgress {
		t.Errorf("a reader that gives nothing: %v", err)
	}
}

// raw decodes deflate blocks without a member around them.
func raw(b []byte) (out []byte, err error) {
	z := Reader{inflater: inflater{input: input{r: bytes.NewReader(b)}, out: make([]byte, outSize), lit: newTable(litBits),
		dist: newTable(distBits), plain: newTable(7), m: newMeanings()}, state: inBlocks}
	for z.state == inBlocks {
		if err = z.advance(); err != nil {
			return out, err
		}
		out = append(out, z.out[z.read:z.w]...)
		z.read = z.w
		if len(out) > 64<<20 {
			return out, errors.New("too long for a test")
		}
	}
	return out, nil
}

// FuzzInflate: what the standard library decodes is decoded the same, what it refuses
// is refused.
func FuzzInflate(f *testing.F) {
	for _, data := range contents() {
		for _, level := range []int{flate.HuffmanOnly, 0, 1, 9} {
			var b bytes.Buffer
			w, err := flate.NewWriter(&b, level)
			if err != nil {
				f.Fatal(err)
			}
			w.Write(data[:min(len(data), 20<<10)])
			w.Close()
			f.Add(b.Bytes())
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		want, refused := io.ReadAll(io.LimitReader(stdflate.NewReader(bytes.NewReader(b)), 64<<20))
		if len(want) == 64<<20 {
			return
		}
		got, err := raw(b)
		if (err == nil) != (refused == nil) {
			t.Fatalf("%v; the standard library says %v", err, refused)
		}
		if err == nil && !bytes.Equal(got, want) {
			t.Fatalf("%d bytes; the standard library's %d are others", len(got), len(want))
		}
	})
}

// Damage of all kinds, on every run.
func TestMutations(t *testing.T) {
	rnd := rand.New(rand.NewPCG(5, 6))
	refused := 0
	for name, data := range contents() {
		var b bytes.Buffer
		w, err := stdgzip.NewWriterLevel(&b, 6)
		if err != nil {
			t.Fatal(err)
		}
		w.Write(data[:min(len(data), 40<<10)])
		w.Close()
		for range 300 {
			m := bytes.Clone(b.Bytes()[10 : b.Len()-8])
			for range 1 + rnd.IntN(3) {
				m[rnd.IntN(len(m))] ^= 1 << rnd.IntN(8)
			}
			want, bad := io.ReadAll(stdflate.NewReader(bytes.NewReader(m)))
			got, err := raw(m)
			if (err == nil) != (bad == nil) || err == nil && !bytes.Equal(got, want) {
				t.Fatalf("%s: %v; the standard library says %v", name, err, bad)
			}
			if err != nil {
				refused++
			}
		}
	}
	if refused == 0 {
		t.Error("no damage was found")
	}
}

func BenchmarkReader(b *testing.B) {
	data := contents()["words"]
	in := packed(b, gzip.Header{}, string(data))
	for name, open := range map[string]func(io.Reader) (io.Reader, error){
		"this":      func(r io.Reader) (io.Reader, error) { return NewReader(r) },
		"klauspost": func(r io.Reader) (io.Reader, error) { return gzip.NewReader(r) },
		"standard":  func(r io.Reader) (io.Reader, error) { return stdgzip.NewReader(r) },
	} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(data)))
			for b.Loop() {
				r, err := open(bytes.NewReader(in))
				if err != nil {
					b.Fatal(err)
				}
				if n, err := io.Copy(io.Discard, r); err != nil || n != int64(len(data)) {
					b.Fatal(n, err)
				}
			}
		})
	}
}
