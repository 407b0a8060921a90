package squashfs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

var stamp = time.Unix(1700000000, 0).UTC()

// noise is bytes that do not compress, the same for the same seed.
func noise(seed uint64, n int) []byte {
	r := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)})
	b := make([]byte, n)
	r.Read(b)
	return b
}

func text(seed, n int) []byte {
	var b bytes.Buffer
	for i := seed; b.Len() < n; i++ {
		fmt.Fprintf(&b, "line %d of %d, %d\n", i, n, i*i%977)
	}
	return b.Bytes()[:n]
}

// everything has each kind of entry and of content for blocks of 128 KiB.
func everything() []file {
	e := func(path string, mode fs.FileMode) Entry {
		return Entry{Path: path, Mode: mode, UID: 7, GID: 70000, ModTime: stamp}
	}
	holes := make([]byte, 1<<20)
	copy(holes[600<<10:], "in the middle")
	big := text(1, 3<<20+17)
	long := strings.Repeat("n", 255)
	link := e("dev/link", fs.ModeSymlink|0o777)
	link.Target = "../" + strings.Repeat("t", 4000)
	null := e("dev/null", fs.ModeDevice|fs.ModeCharDevice|0o666)
	null.Major, null.Minor = 1, 3
	disk := e("dev/disk", fs.ModeDevice|0o660)
	disk.Major, disk.Minor = 4095, 1<<20-1
	capable := e("bin/ping", 0o755)
	capable.Xattrs = map[string][]byte{"security.capability": {1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, "user.note": []byte("ü\x00"), "trusted.empty": {}}
	same := e("bin/ping6", 0o755)
	same.Xattrs = capable.Xattrs
	fifo := e("dev/fifo", fs.ModeNamedPipe|0o600)
	fifo.Xattrs = map[string][]byte{"trusted.x": []byte("y")}
	dir := e("tmp", fs.ModeDir|fs.ModeSticky|0o777)
	dir.Xattrs = map[string][]byte{"trusted.overlay.opaque": []byte("y")}
	return []file{
		{e("bin/su", fs.ModeSetuid|0o755), []byte("su")},
		{capable, text(3, 1000)},
		{same, text(3, 1000)},
		{e("bin/empty", fs.ModeSetgid|0o644), nil},
		{Entry{Path: "bin/zz", HardLink: "bin/big"}, nil}, // its target comes later
		{e("bin/big", 0o644), big},
		{e("bin/again", 0o644), big},
		{e("bin/start", 0o644), big[:2<<20]},
		{e("bin/block", 0o644), text(5, 128<<10)},
		{e("bin/noise", 0o644), noise(1, 300<<10)},
		{e("bin/holes", 0o644), holes},
		{e("bin/zeros", 0o644), make([]byte, 512<<10)},
		{e("bin/short-zeros", 0o644), make([]byte, 100)},
		{e(long+"/"+long, 0o400), []byte("long")},
		{e("bin", fs.ModeDir|0o751), nil}, // after what is in it
		{e("dev", fs.ModeDir|0o755), nil},
		{e(long, fs.ModeDir|0o755), nil},
		{dir, nil}, {link, nil}, {null, nil}, {disk, nil}, {fifo, nil},
		{e("dev/socket", fs.ModeSocket|0o600), nil},
		{e("dev/ümlaut\n", 0), nil},
		{e(".", fs.ModeDir|0o755), nil},
	}
}

func TestEverythingComesBack(t *testing.T) {
	// In a walk names are sorted: the name that comes first has the content.
	want := everything()
	for i, f := range want {
		if f.Path == "bin/zz" {
			want[i].HardLink = "bin/big"
		}
	}
	for _, o := range []Options{{}, {Level: 1}, {Level: 6, BlockSize: 4 << 10}, {Compression: Zstd}, {Compression: Zstd, Level: 3, BlockSize: 1 << 20},
		{Compression: LZ4}, {Compression: LZ4, Level: 2}, {Compression: XZ}} {
		t.Run(fmt.Sprintf("%v-%d-%d", o.Compression, o.Level, o.BlockSize), func(t *testing.T) {
			image := build(t, o, everything())
			sameEntries(t, read(t, image), want)
			st, err := open(t, image).Verify(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			if st.Entries != len(want) || st.Hardlinks != 1 || st.Inodes != len(want)-1 {
				t.Errorf("%+v", st)
			}
			if len(image)%4096 != 0 {
				t.Errorf("%d bytes are no whole pages", len(image))
			}
		})
	}
}

func TestSameBytesForAnyNumberOfWorkers(t *testing.T) {
	for _, c := range []Compression{Gzip, Zstd, LZ4, XZ} {
		one := build(t, Options{Compression: c, Workers: 1, Epoch: stamp}, everything())
		for _, n := range []int{2, 8} {
			if many := build(t, Options{Compression: c, Workers: n, Epoch: stamp}, everything()); !bytes.Equal(one, many) {
				t.Errorf("%v: %d workers write other bytes than one", c, n)
			}
		}
	}
}

func TestEpoch(t *testing.T) {
	late := Entry{Path: "late", Mode: 0o644, ModTime: stamp.Add(time.Hour)}
	early := Entry{Path: "d/early", Mode: 0o644, ModTime: time.Unix(-5, 0)}
	got := read(t, build(t, Options{Epoch: stamp}, []file{{late, nil}, {early, nil}}))
	for _, f := range got {
		want := stamp
		if f.Path == "d/early" {
			want = time.Unix(0, 0)
		}
		if !f.ModTime.Equal(want) {
			t.Errorf("%s: %v, want %v", f.Path, f.ModTime, want)
		}
	}
	if f := open(t, build(t, Options{Epoch: stamp}, nil)); !f.Info().Time.Equal(stamp) {
		t.Errorf("made %v", f.Info().Time)
	}
	if f := open(t, build(t, Options{}, nil)); f.Info().Time.Unix() != 0 {
		t.Errorf("made %v without an epoch", f.Info().Time)
	}
}

// Duplicates must cost next to nothing, also those longer than what is held back
// and those that were the last file written.
func TestDuplicates(t *testing.T) {
	data := noise(9, holdMax+3<<20+100)
	e := func(p string, n int) file { return file{Entry{Path: p, Mode: 0o644}, data[:n]} }
	once := len(build(t, Options{}, []file{e("long", len(data)), e("held", 1<<20), e("short", 5000)}))
	image := build(t, Options{}, []file{
		e("long", len(data)), e("held", 1<<20), e("short", 5000),
		e("short2", 5000), e("held2", 1<<20), e("long2", len(data)),
	})
	if len(image) > once+4096 {
		t.Errorf("%d bytes with duplicates, %d without", len(image), once)
	}
	for _, f := range read(t, image) {
		if f.Mode.IsRegular() && !bytes.Equal(f.data, data[:len(f.data)]) {
			t.Errorf("%s differs", f.Path)
		}
	}
	if _, err := open(t, image).Verify(context.Background()); err != nil {
		t.Error(err)
	}
}

func TestManyOwners(t *testing.T) {
	var m memory
	w, err := NewWriter(&m, Options{Workers: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	for i := range uint32(maxIDs) {
		if err := w.Add(Entry{Path: fmt.Sprint(i), UID: i * 3, GID: i * 3}, nil); err != nil {
			t.Fatal(err)
		}
	}
	err = w.Add(Entry{Path: "more", UID: 1}, nil)
	var ee *EntryError
	if !errors.As(err, &ee) || ee.Path != "more" {
		t.Fatalf("one owner too many: %v", err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	f := open(t, m.b)
	for _, i := range []uint32{0, 1, 2047, 2048, 65534} {
		n, err := f.Lookup(fmt.Sprint(i))
		if err != nil || n.UID != i*3 || n.GID != i*3 {
			t.Errorf("%d: %+v, %v", i, n, err)
		}
	}
}

func TestRefusedEntries(t *testing.T) {
	long := strings.Repeat("x", 256)
	bad := func(e Entry, want string) {
		t.Helper()
		var m memory
		w, err := NewWriter(&m, Options{Workers: 1})
		if err != nil {
			t.Fatal(err)
		}
		defer w.Abort()
		for _, e := range []Entry{{Path: "file"}, {Path: "made/file"}, {Path: "dir", Mode: fs.ModeDir}} {
			if err := w.Add(e, nil); err != nil {
				t.Fatal(err)
			}
		}
		err = w.Add(e, strings.NewReader("12345"))
		if err == nil {
			err = w.Close()
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q", e, err, want)
		}
		var ee *EntryError
		var xe *XattrError
		if !errors.As(err, &ee) && !errors.As(err, &xe) {
			t.Errorf("%+v: %T has no type", e, err)
		}
	}
	bad(Entry{}, `"": path is empty`)
	bad(Entry{Path: "a/../b"}, `"a/../b": path has ".."`)
	bad(Entry{Path: "a\x00"}, "NUL")
	bad(Entry{Path: "a/" + long}, "longer than 255 bytes")
	bad(Entry{Path: strings.Repeat("a/", 40000)}, "longer than 64 KiB")
	bad(Entry{Path: "file"}, "an entry of that path already")
	bad(Entry{Path: "./dir/", Mode: fs.ModeDir}, "an entry of that path already")
	bad(Entry{Path: "file/below"}, `"file" is no directory`)
	bad(Entry{Path: "made"}, "other entries are in it")
	bad(Entry{Path: "x", Mode: fs.ModeIrregular}, "no type squashfs has")
	bad(Entry{Path: "x", Size: -1}, "negative")
	bad(Entry{Path: "x", Size: 4}, "longer than the 4 bytes of its entry")
	bad(Entry{Path: "x", Size: 6}, "ends before the 6 bytes of its entry")
	bad(Entry{Path: "x", Mode: fs.ModeDir, Size: 4}, "only regular files have content")
	bad(Entry{Path: "x", Mode: fs.ModeSymlink}, "without a target")
	bad(Entry{Path: "x", Mode: fs.ModeSymlink, Target: strings.Repeat("x", 4096)}, "longer than 4095")
	bad(Entry{Path: "x", Mode: fs.ModeSymlink, Target: "a\x00"}, "NUL")
	bad(Entry{Path: "x", Mode: fs.ModeDevice, Major: 4096}, "device number")
	bad(Entry{Path: "x", Mode: fs.ModeDevice, Minor: 1 << 20}, "device number")
	bad(Entry{Path: "x", HardLink: "nowhere"}, `"x": hard link to "nowhere": there is no such entry`)
	bad(Entry{Path: "x", HardLink: "x"}, "circle")
	bad(Entry{Path: "x", HardLink: "dir"}, "it is a directory")
	bad(Entry{Path: "x", HardLink: "file/y"}, "no such entry")
	bad(Entry{Path: ".", Mode: 0o644}, "is a directory, for other entries are in it")
	bad(Entry{Path: "x", Xattrs: map[string][]byte{"system.posix_acl_access": nil}}, "user.*, trusted.* and security.*")
	bad(Entry{Path: "x", Xattrs: map[string][]byte{"user.": nil}}, "user.*, trusted.* and security.*")
	bad(Entry{Path: "x", Xattrs: map[string][]byte{"user." + long: nil}}, "longer than 255")
	bad(Entry{Path: "x", Xattrs: map[string][]byte{"user.x": make([]byte, 1<<16+1)}}, "Linux allows 65536")
}

// What is refused before it is read leaves the writer usable; what fails in the
// middle does not.
func TestAfterAnError(t *testing.T) {
	var m memory
	w, err := NewWriter(&m, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	if w.Add(Entry{Path: ".."}, nil) == nil {
		t.Fatal("no error")
	}
	if err := w.Add(Entry{Path: "ok"}, nil); err != nil {
		t.Fatal(err)
	}
	cause := errors.New("layer is corrupt")
	err = w.Add(Entry{Path: "bad", Size: 1 << 20}, io.MultiReader(bytes.NewReader(make([]byte, 200<<10)), iotest.ErrReader(cause)))
	if !errors.Is(err, cause) || !strings.Contains(err.Error(), `"bad": read: `) {
		t.Fatal(err)
	}
	for _, err := range []error{w.Add(Entry{Path: "next"}, nil), w.Close()} {
		if !errors.Is(err, ErrClosed) || !errors.Is(err, cause) {
			t.Errorf("%v", err)
		}
	}
}

// full fails to write from a place on, as a full disk does.
type full struct {
	memory
	from int64
}

var errFull = errors.New("no space left on device")

func (f *full) WriteAt(p []byte, off int64) (int, error) {
	if off+int64(len(p)) > f.from {
		return 0, errFull
	}
	return f.memory.WriteAt(p, off)
}

func TestFullDisk(t *testing.T) {
	size := len(build(t, Options{Workers: 2}, everything()))
	for _, at := range []int{0, 100, size / 2, size - 4096 - 200} {
		w, err := NewWriter(&full{from: int64(at)}, Options{Workers: 2})
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range everything() {
			f.Size = int64(len(f.data))
			if err = w.Add(f.Entry, bytes.NewReader(f.data)); err != nil {
				break
			}
		}
		if err == nil {
			err = w.Close()
		}
		w.Abort()
		if !errors.Is(err, errFull) {
			t.Errorf("full at %d of %d: %v", at, size, err)
		}
	}
}

func TestRefusedOptions(t *testing.T) {
	for _, o := range []Options{{Compression: 2}, {Level: 10}, {Level: -1}, {Compression: Zstd, Level: 23}, {Compression: XZ, Level: 1},
		{BlockSize: 3000}, {BlockSize: 2 << 20}, {BlockSize: 130 << 10}, {Workers: -1}} {
		if w, err := NewWriter(&memory{}, o); err == nil {
			w.Abort()
			t.Errorf("%+v was taken", o)
		}
	}
	if _, err := ParseCompression("lzma"); err == nil || !strings.Contains(err.Error(), "zstd") {
		t.Errorf("%v", err)
	}
	for _, n := range Compressions() {
		if c, err := ParseCompression(n); err != nil || c.String() != n {
			t.Errorf("%s: %v, %v", n, c, err)
		}
	}
}

func TestLookup(t *testing.T) {
	f := open(t, build(t, Options{}, everything()))
	if b, err := f.ReadFile("/bin/su", 10); err != nil || string(b) != "su" {
		t.Errorf("%q, %v", b, err)
	}
	if _, err := f.ReadFile("bin/big", 10); err == nil || !strings.Contains(err.Error(), "more than 10") {
		t.Errorf("%v", err)
	}
	if _, err := f.ReadFile("dev", 10); err == nil || !strings.Contains(err.Error(), "no regular file") {
		t.Errorf("%v", err)
	}
	for _, p := range []string{"nope", "bin/nope", "bin/su/nope"} {
		if _, err := f.Lookup(p); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %v", p, err)
		}
	}
}

func TestContentBeforeItsEntry(t *testing.T) {
	var m memory
	w, err := NewWriter(&m, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	data := text(1, 300<<10)
	c, err := w.Content("layer file", int64(len(data)), bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range []Entry{{Path: "a", Content: c}, {Path: "b", Mode: 0o600, Content: c}} {
		if err := w.Add(e, nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	for _, f := range read(t, m.b)[1:] {
		if !bytes.Equal(f.data, data) || f.HardLink != "" {
			t.Errorf("%s: %d bytes, hard link %q", f.Path, len(f.data), f.HardLink)
		}
	}
}
