package xz

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/cfbuild/cfbuild/internal/testneed"
)

// compress runs xz-utils.
func compress(t testing.TB, in []byte, args ...string) []byte {
	t.Helper()
	cmd := exec.Command(testneed.Program(t, "xz"), append([]string{"-c", "-q", "-T1"}, args...)...)
	cmd.Stdin = bytes.NewReader(in)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("xz %v: %v: %s", args, err, errs.Bytes())
	}
	return out
}

func decode(z *Reader, in []byte) ([]byte, error) {
	if err := z.Reset(bytes.NewReader(in)); err != nil {
		return nil, err
	}
	return io.ReadAll(z)
}

// text has long and short repetitions, noise does not compress, code is this
// program (with many calls, for the x86 filter).
func samples(t testing.TB) map[string][]byte {
	rnd := rand.New(rand.NewPCG(1, 2))
	words := make([]string, 3000)
	for i := range words {
		words[i] = fmt.Sprintf("w%x", rnd.Uint32N(1<<rnd.UintN(30)))
	}
	var text strings.Builder
	for text.Len() < 1<<20 {
		text.WriteString(words[rnd.IntN(len(words))])
		text.WriteByte(" \n"[rnd.IntN(2)])
	}
	noise := make([]byte, 300_000)
	for i := range noise {
		noise[i] = byte(rnd.Uint32())
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	code, err := os.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	return map[string][]byte{
		"empty": {}, "one": {'x'}, "zeros": make([]byte, 3<<20), "noise": noise,
		"text": []byte(text.String()), "code": code[:min(len(code), 1<<20)],
		"mixed": slicesConcat(noise[:100_000], []byte(text.String()[:500_000]), noise[:200_000], make([]byte, 70_000)),
	}
}

func slicesConcat(p ...[]byte) []byte { return bytes.Join(p, nil) }

func TestAgainstXZUtils(t *testing.T) {
	z := NewReader(64 << 20)
	for name, in := range samples(t) {
		for _, args := range [][]string{
			{"-0"}, {"-6"}, {"-1", "--check=none"}, {"-1", "--check=crc32"}, {"-1", "--check=sha256"},
			{"--lzma2=preset=1,dict=4KiB"}, {"--lzma2=preset=1,dict=5000"}, {"--lzma2=preset=1,dict=64KiB,lc=0,lp=4,pb=0"},
			{"--lzma2=preset=1,lc=4,lp=0,pb=4"}, {"--lzma2=preset=1,dict=1MiB,lc=1,lp=3,pb=1,nice=273"},
			{"-1", "--block-size=300000"}, {"--x86", "--lzma2=preset=1"}, {"--x86=start=4096", "--lzma2=preset=0"},
			{"--delta=dist=1", "--lzma2=preset=0"}, {"--delta=dist=256", "--x86", "--lzma2=preset=0"},
			{"--x86", "--delta=dist=4", "--lzma2=preset=0"},
		} {
			got, err := decode(z, compress(t, in, args...))
			if err != nil || !bytes.Equal(got, in) {
				t.Errorf("%s with %v: %d bytes, %d expected, err %v", name, args, len(got), len(in), err)
			}
		}
	}
}

func TestPiecesAndStreams(t *testing.T) {
	in := samples(t)["mixed"]
	packed := compress(t, in, "-1", "--x86", "--lzma2=preset=1")
	twice := slicesConcat(packed, make([]byte, 8), packed, make([]byte, 4))
	z := NewReader(64 << 20)
	for _, r := range []io.Reader{bytes.NewReader(twice), iotest.HalfReader(bytes.NewReader(twice)), iotest.DataErrReader(bytes.NewReader(twice))} {
		if err := z.Reset(r); err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(iotest.OneByteReader(z))
		if err != nil || !bytes.Equal(got, slicesConcat(in, in)) {
			t.Fatalf("%d bytes of %d, %v", len(got), 2*len(in), err)
		}
		if err := z.Reset(iotest.HalfReader(bytes.NewReader(packed))); err != nil {
			t.Fatal(err)
		}
		var w bytes.Buffer
		if _, err := z.WriteTo(&w); err != nil || !bytes.Equal(w.Bytes(), in) {
			t.Fatalf("WriteTo: %d bytes of %d, %v", w.Len(), len(in), err)
		}
	}
	broken := errors.New("disk on fire")
	if err := z.Reset(io.MultiReader(bytes.NewReader(packed[:5000]), iotest.ErrReader(broken))); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(z); !errors.Is(err, broken) {
		t.Fatalf("error of the input is lost: %v", err)
	}
	if _, err := io.ReadAll(z); !errors.Is(err, broken) {
		t.Fatalf("error does not stay: %v", err)
	}
}

func TestDictionaryLimit(t *testing.T) {
	packed := compress(t, []byte("hello"), "--lzma2=preset=0,dict=16MiB")
	if _, err := decode(NewReader(8<<20), packed); !errors.Is(err, ErrMemory) {
		t.Fatalf("dictionary of 16 MiB with a limit of 8: %v", err)
	}
	if got, err := decode(NewReader(16<<20), packed); err != nil || string(got) != "hello" {
		t.Fatalf("%q, %v", got, err)
	}
}

// golden is "golden: " ten times and a newline, by xz -9 --check=crc64: this test
// needs no program.
const golden = "/Td6WFoAAATm1rRGAgAhARwAAAAQz1jM4ABQABBdADObyc2KqTBri0Ilqdj2AAAABznwTc8M6rEAASxR57/bBR+2830BAAAAAARZWg=="

func TestDamage(t *testing.T) {
	packed, err := base64.StdEncoding.DecodeString(golden)
	if err != nil {
		t.Fatal(err)
	}
	z := NewReader(64 << 20)
	want := strings.Repeat("golden: ", 10) + "\n"
	if got, err := decode(z, packed); err != nil || string(got) != want {
		t.Fatalf("%q, %v", got, err)
	}
	for n := range packed {
		if _, err := decode(z, packed[:n]); !errors.Is(err, ErrData) {
			t.Errorf("cut after %d bytes: %v", n, err)
		}
		for bit := range 8 {
			bad := bytes.Clone(packed)
			bad[n] ^= 1 << bit
			if got, err := decode(z, bad); err == nil {
				t.Errorf("byte %d changed: no error, %q", n, got)
			}
		}
	}
	if _, err := decode(z, append(bytes.Clone(packed), "junk"...)); !errors.Is(err, ErrData) {
		t.Errorf("junk at the end: %v", err)
	}
	if _, err := decode(z, append(bytes.Clone(packed), 0, 0)); !errors.Is(err, ErrData) {
		t.Errorf("odd padding: %v", err)
	}
}
