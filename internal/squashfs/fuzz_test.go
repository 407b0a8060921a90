package squashfs

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"strings"
	"testing"
)

// small is an image with each kind of inode, short and extended, a listing with
// an index and attributes, in few bytes.
func small(t testing.TB, c Compression, blockSize int) []byte {
	files := []file{
		{Entry{Path: "f", Mode: 0o4755, UID: 5, ModTime: stamp}, text(1, 9000)},
		{Entry{Path: "g", HardLink: "f"}, nil},
		{Entry{Path: "l", Mode: fs.ModeSymlink, Target: "f"}, nil},
		{Entry{Path: "n", Mode: fs.ModeDevice | fs.ModeCharDevice, Major: 1, Minor: 3}, nil},
		{Entry{Path: "p", Mode: fs.ModeNamedPipe}, nil},
		{Entry{Path: "h", Mode: 0o600}, make([]byte, 64<<10)},
		{Entry{Path: "x", Xattrs: map[string][]byte{"user.a": []byte("b"), "security.capability": make([]byte, 20)}}, []byte("x")},
	}
	for i := range 60 {
		files = append(files, file{Entry{Path: "d/" + strings.Repeat(string(rune('0'+i)), 200)}, nil})
	}
	return build(t, Options{Compression: c, BlockSize: blockSize, Workers: 1}, files)
}

// FuzzRead: whatever the bytes, reading ends, with an error that says what is wrong
// or with entries a file system can have.
func FuzzRead(f *testing.F) {
	for _, c := range []Compression{Gzip, XZ, LZ4, Zstd} {
		b := small(f, c, 4096)
		f.Add(b)
		f.Add(b[:len(b)/2])
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		q, err := Open(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			return
		}
		known := func(err error) {
			t.Helper()
			if err != nil && !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrTruncated) && !errors.Is(err, errStop) {
				t.Fatalf("error of no kind: %v", err)
			}
		}
		budget := int64(1 << 24)
		known(q.Walk(func(n *Node) error {
			if n.Path != "." && (!fs.ValidPath(n.Path) && strings.ToValidUTF8(n.Path, "_") == n.Path || strings.Contains("/"+n.Path+"/", "/../")) {
				t.Fatalf("path %q", n.Path)
			}
			got, err := io.CopyN(io.Discard, q.Content(n), min(n.Size, budget))
			if err == nil && n.Size <= budget && got != n.Size {
				t.Fatalf("%q has %d bytes, its inode says %d", n.Path, got, n.Size)
			}
			if budget -= got; budget <= 0 {
				return errStop
			}
			return err
		}))
		_, err = q.Verify(context.Background())
		known(err)
		if n, err := q.Lookup("d/x"); err == nil && n.Path != "d/x" {
			t.Fatalf("%+v", n)
		}
	})
}

// A changed byte is seen by Verify, or
// harmless to what is listed and read.
func TestChangedBytes(t *testing.T) {
	whole := small(t, Gzip, 4096)
	want := read(t, whole)
	seen, tried := 0, 0
	for i := 0; i < int(open(t, whole).s.used); i += 7 {
		tried++
		b := bytes.Clone(whole)
		b[i] ^= 0x55
		q, err := Open(bytes.NewReader(b), int64(len(b)))
		if err == nil {
			_, err = q.Verify(context.Background())
		}
		if err != nil {
			if !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrTruncated) && !errors.Is(err, ErrNotSquashfs) && !strings.Contains(err.Error(), "cannot be read") {
				t.Fatalf("byte %d: %v", i, err)
			}
			seen++
		}
	}
	if len(want) != 69 || seen < tried/2 {
		t.Errorf("%d entries; %d of %d changes seen", len(want), seen, tried)
	}
}

// Images that lie must be refused in no time and with little memory.
func TestHostileImages(t *testing.T) {
	whole := small(t, Gzip, 4096)
	change := func(name string, want error, f func(b []byte) []byte) {
		t.Helper()
		b := f(bytes.Clone(whole))
		q, err := Open(bytes.NewReader(b), int64(len(b)))
		if err == nil {
			_, err = q.Verify(context.Background())
		}
		if !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", name, err, want)
		}
	}
	change("empty", ErrNotSquashfs, func([]byte) []byte { return nil })
	change("text", ErrNotSquashfs, func(b []byte) []byte { return bytes.Repeat([]byte("text"), 100) })
	change("version 3", ErrNotSquashfs, func(b []byte) []byte { b[28] = 3; return b })
	change("cut", ErrTruncated, func(b []byte) []byte { return b[:200] })
	change("block size", ErrCorrupt, func(b []byte) []byte { b[12]++; return b })
	change("ids", ErrCorrupt, func(b []byte) []byte { b[26], b[27] = 0, 0; return b })
	change("fragments without end", ErrCorrupt, func(b []byte) []byte { le.PutUint32(b[16:], 1<<31); return b })
	change("inodes without end", ErrCorrupt, func(b []byte) []byte { le.PutUint32(b[4:], 1<<31); return b })
	change("root elsewhere", ErrCorrupt, func(b []byte) []byte { le.PutUint64(b[32:], 1<<40); return b })
	change("root is a file", ErrCorrupt, func(b []byte) []byte { le.PutUint64(b[32:], 0); return b })
	change("tables in the wrong order", ErrCorrupt, func(b []byte) []byte { le.PutUint64(b[72:], 1); return b })
	change("used without end", ErrCorrupt, func(b []byte) []byte { le.PutUint64(b[40:], 1<<63); return b })
}
