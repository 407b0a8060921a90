package squashfs

import (
	"bytes"
	"context"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cfbuild/cfbuild/internal/testneed"
	"golang.org/x/sys/unix"
)

// record is all that must survive about a path.
type record struct {
	Mode     fs.FileMode
	UID, GID uint32
	Time     int64
	Links    uint64
	Size     int64
	Major    uint32
	Minor    uint32
	Target   string
	Xattrs   string
	Sum      uint32
}

// records reads a tree of the machine.
func records(t testing.TB, m *machine, dir string) map[string]record {
	t.Helper()
	out := map[string]record{}
	buf := make([]byte, 4<<20)
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(dir, path)
		e, st, err := m.entry(path, rel)
		if err != nil {
			return err
		}
		r := record{e.Mode, e.UID, e.GID, e.ModTime.Unix(), uint64(st.Nlink), e.Size, e.Major, e.Minor, e.Target, "", 0}
		if len(e.Xattrs) > 0 {
			r.Xattrs = fmt.Sprint(e.Xattrs)
		}
		// A quarter of many files will do, always the same ones.
		if e.Size > 4096 || e.Size > 0 && crc32.ChecksumIEEE([]byte(rel))%4 == 0 {
			r.Sum, err = checksum(path, e.Size, buf)
		}
		out[rel] = r
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// checksum sums up a file; of a file above 1 GiB 4 MiB out of each 128, and the end.
func checksum(path string, size int64, buf []byte) (uint32, error) {
	fd, err := unix.Open(path, unix.O_RDONLY, 0)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", path, err)
	}
	defer unix.Close(fd)
	var sum uint32
	add := func(at, n int64) error {
		for n > 0 {
			m, err := unix.Pread(fd, buf[:min(n, int64(len(buf)))], at)
			if err == nil && m == 0 {
				err = io.ErrUnexpectedEOF
			}
			if err != nil {
				return fmt.Errorf("%s: %w", path, err)
			}
			sum = crc32.Update(sum, castagnoli, buf[:m])
			at, n = at+int64(m), n-int64(m)
		}
		return nil
	}
	if size <= 1<<30 {
		return sum, add(0, size)
	}
	for at := int64(0); at < size; at += 128 << 20 {
		if err := add(at, min(4<<20, size-at)); err != nil {
			return 0, err
		}
	}
	return sum, add(size-4<<20, 4<<20)
}

func sameRecords(t *testing.T, what string, got, want map[string]record) {
	t.Helper()
	bad := 0
	for p, w := range want {
		if g, ok := got[p]; !ok {
			t.Errorf("%s: %q is missing", what, p)
		} else if g != w {
			t.Errorf("%s: %q\n got %+v\nwant %+v", what, p, g, w)
		} else {
			continue
		}
		if bad++; bad > 20 {
			t.Fatalf("%s: and more", what)
		}
	}
	if len(got) != len(want) {
		t.Errorf("%s: %d paths, want %d", what, len(got), len(want))
	}
}

// inMemory gives a directory in a tmpfs of the test's own.
func inMemory(t testing.TB) string {
	t.Helper()
	testneed.Root(t)
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=2g,nr_inodes=1m,mode=755"); err != nil {
		testneed.Skip(t, "cannot mount a tmpfs: "+err.Error())
	}
	t.Cleanup(func() {
		// The kernel lets go of a loop device's file when it likes.
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// mounted mounts an image with the kernel.
func mounted(t testing.TB, image string) string {
	t.Helper()
	dir := t.TempDir()
	if out, err := exec.Command("mount", "-t", "squashfs", "-o", "ro,loop", image, dir).CombinedOutput(); err != nil {
		t.Fatalf("mount: %v\n%s", err, out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", dir).CombinedOutput(); err != nil {
			t.Errorf("umount: %v\n%s", err, out)
		}
	})
	return dir
}

// fused mounts an image with squashfuse.
func fused(t testing.TB, image string) string {
	t.Helper()
	program := testneed.Program(t, "squashfuse")
	dir := t.TempDir()
	cmd := exec.Command(program, "-f", image, dir)
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() {
		unix.Unmount(dir, unix.MNT_DETACH)
		<-ended
	})
	parent, _ := os.Stat(filepath.Dir(dir))
	for {
		st, err := os.Stat(dir)
		if err == nil && st.Sys().(*syscall.Stat_t).Dev != parent.Sys().(*syscall.Stat_t).Dev {
			return dir
		}
		select {
		case err := <-ended:
			ended <- err
			t.Fatalf("squashfuse: %v\n%s", err, said.String())
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// unsquashed parses unsquashfs -lln into what it shows of each path.
func unsquashed(t testing.TB, image string) map[string]string {
	t.Helper()
	cmd := exec.Command(testneed.Program(t, "unsquashfs"), "-lln", "-d", "", image)
	cmd.Env = append(os.Environ(), "TZ=UTC", "LC_ALL=C.UTF-8")
	raw, err := cmd.Output()
	if err != nil {
		t.Fatalf("unsquashfs: %v", err)
	}
	out := map[string]string{}
	for line := range strings.Lines(string(raw)) {
		f := strings.Fields(line)
		if len(f) < 5 || !strings.Contains(f[1], "/") {
			continue
		}
		// A device has "major, minor" for a size.
		n := 3
		if strings.HasSuffix(f[2], ",") {
			n = 4
		}
		i := strings.Index(line, f[n]+" "+f[n+1])
		rest := strings.TrimSuffix(line[i+len(f[n])+len(f[n+1])+1:], "\n")
		name, target, _ := strings.Cut(rest, " -> ")
		name = strings.TrimPrefix(name[min(1, len(name)):], "/")
		if name == "" {
			name = "."
		}
		out[name] = strings.Join([]string{f[0], f[1], strings.Join(f[2:n], ""), f[n], f[n+1], target}, " ")
	}
	return out
}

// listed gives a record as unsquashed has it.
func (r record) listed(got string) string {
	m := []byte("-rwxrwxrwx")
	for i := range 9 {
		if r.Mode&(1<<(8-i)) == 0 {
			m[i+1] = '-'
		}
	}
	special := func(at int, bit fs.FileMode, with, without byte) {
		if r.Mode&bit == 0 {
			return
		}
		if m[at] == 'x' {
			m[at] = with
		} else {
			m[at] = without
		}
	}
	special(3, fs.ModeSetuid, 's', 'S')
	special(6, fs.ModeSetgid, 's', 'S')
	special(9, fs.ModeSticky, 't', 'T')
	size := strconv.FormatInt(r.Size, 10)
	switch {
	case r.Mode.IsDir():
		m[0] = 'd'
		size = strings.Fields(got)[2] // of the listing: ours to choose
	case r.Mode&fs.ModeSymlink != 0:
		m[0], size = 'l', strconv.Itoa(len(r.Target))
	case r.Mode&fs.ModeDevice != 0:
		m[0], size = 'b', fmt.Sprintf("%d,%d", r.Major, r.Minor)
		if r.Mode&fs.ModeCharDevice != 0 {
			m[0] = 'c'
		}
	case r.Mode&fs.ModeNamedPipe != 0:
		m[0] = 'p'
	case r.Mode&fs.ModeSocket != 0:
		m[0] = 's'
	}
	return fmt.Sprintf("%s %d/%d %s %s %s", m, r.UID, r.GID, size, time.Unix(r.Time, 0).UTC().Format("2006-01-02 15:04"), r.Target)
}

// allAgree compares what unsquashfs, the kernel, squashfuse and our reader see with
// the source tree.
func allAgree(t *testing.T, image, source string) {
	t.Helper()
	start := time.Now()
	lap := func(what string) { t.Logf("%v after %s", time.Since(start), what) }
	want := records(t, newMachine(), source)
	lap("records")
	list := unsquashed(t, image)
	lap("unsquashed")
	bad := 0
	for p, r := range want {
		if r.Minor > 255 {
			continue // unsquashfs 4.5 shows eight bits of it
		}
		if got, ok := list[p]; !ok || got != r.listed(got) {
			t.Errorf("unsquashfs: %q\n got %s\nwant %s", p, got, r.listed(". . ."))
			if bad++; bad > 20 {
				t.Fatal("and more")
			}
		}
	}
	if len(list) != len(want) {
		t.Errorf("unsquashfs lists %d paths, want %d", len(list), len(want))
	}
	sameRecords(t, "kernel", records(t, newMachine(), mounted(t, image)), want)
	lap("kernel")
	fuse := newMachine()
	fuse.squashfuse = true
	sameRecords(t, "squashfuse", records(t, fuse, fused(t, image)), want)
	lap("squashfuse")
	defer lap("verify")
	f, err := os.Open(image)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	st, _ := f.Stat()
	q, err := Open(f, st.Size())
	if err != nil {
		t.Fatal(err)
	}
	if n, err := q.Verify(context.Background()); err != nil || n.Entries != len(want) {
		t.Errorf("verify: %+v, %v; want %d entries", n, err, len(want))
	}
}

// plant makes everything on the machine.
func plant(t testing.TB, dir string) {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	var later []file
	for _, f := range everything() {
		path := filepath.Join(dir, strings.ReplaceAll(f.Path, "\n", ""))
		must(os.MkdirAll(filepath.Dir(path), 0o755))
		dev := int(unix.Mkdev(f.Major, f.Minor))
		switch {
		case f.HardLink != "":
			later = append(later, f)
			continue
		case f.Mode.IsDir():
			must(os.MkdirAll(path, 0o755))
		case f.Mode&fs.ModeSymlink != 0:
			must(os.Symlink(f.Target, path))
		case f.Mode&fs.ModeCharDevice != 0:
			must(unix.Mknod(path, unix.S_IFCHR, dev))
		case f.Mode&fs.ModeDevice != 0:
			must(unix.Mknod(path, unix.S_IFBLK, dev))
		case f.Mode&fs.ModeNamedPipe != 0:
			must(unix.Mknod(path, unix.S_IFIFO, 0))
		case f.Mode&fs.ModeSocket != 0:
			must(unix.Mknod(path, unix.S_IFSOCK, 0))
		default:
			must(os.WriteFile(path, f.data, 0o644))
		}
		must(os.Lchown(path, int(f.UID), int(f.GID)))
		if f.Mode&fs.ModeSymlink == 0 {
			must(unix.Chmod(path, uint32(unixMode(f.Mode))))
		}
		for k, v := range f.Xattrs {
			must(unix.Lsetxattr(path, k, v, 0))
		}
	}
	for _, f := range later {
		must(os.Link(filepath.Join(dir, f.HardLink), filepath.Join(dir, f.Path)))
	}
	// Times last, for making a file touches its directory; and not the machine's.
	must(filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err == nil {
			ts := unix.NsecToTimespec(stamp.UnixNano() + int64(len(path))*1e9)
			err = unix.UtimesNanoAt(unix.AT_FDCWD, path, []unix.Timespec{ts, ts}, unix.AT_SYMLINK_NOFOLLOW)
		}
		return err
	}))
}

func writeImage(o Options, source, image string) error {
	f, err := os.Create(image)
	if err != nil {
		return err
	}
	defer f.Close()
	w, err := NewWriter(f, o)
	if err != nil {
		return err
	}
	defer w.Abort()
	if err := addTree(w, source); err != nil {
		return err
	}
	return w.Close()
}

func TestRealReadersAgree(t *testing.T) {
	source := inMemory(t)
	plant(t, source)
	for _, o := range []Options{{}, {Compression: Zstd, BlockSize: 1 << 20}, {Compression: XZ}, {Compression: LZ4}, {Compression: LZ4, Level: 2, BlockSize: 4096}} {
		t.Run(fmt.Sprintf("%v-%d-%d", o.Compression, o.Level, o.BlockSize), func(t *testing.T) {
			image := filepath.Join(t.TempDir(), "image")
			if err := writeImage(o, source, image); err != nil {
				t.Fatal(err)
			}
			allAgree(t, image, source)
		})
	}
}

// Our reader takes images of mksquashfs and tar2sqfs.
func TestImagesOfOthers(t *testing.T) {
	source := inMemory(t)
	plant(t, source)
	want := records(t, newMachine(), source)
	for name, run := range map[string]string{
		"mksquashfs":   `mksquashfs "$1" "$2" -no-progress -quiet -comp zstd`,
		"mksquashfs-x": `mksquashfs "$1" "$2" -no-progress -quiet -comp xz -tailends -b 64K`,
		"mksquashfs-n": `mksquashfs "$1" "$2" -no-progress -quiet -noI -noD -noF -noX -no-exports`,
		"tar2sqfs":     `tar --xattrs --xattrs-include='*' -C "$1" -cf - . | tar2sqfs -q -c gzip "$2"`,
	} {
		t.Run(name, func(t *testing.T) {
			testneed.Program(t, strings.Fields(run)[0])
			testneed.Program(t, "tar2sqfs")
			image := filepath.Join(t.TempDir(), "image")
			if out, err := exec.Command("sh", "-c", run, "sh", source, image).CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			b, err := os.ReadFile(image)
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range read(t, b) {
				w := want[f.Path]
				if f.HardLink != "" {
					continue
				}
				if f.Mode != w.Mode || f.UID != w.UID || f.Size != w.Size || crc32.Checksum(f.data, castagnoli) != w.Sum && w.Sum != 0 {
					t.Errorf("%q: %+v, want %+v", f.Path, f.Entry, w)
				}
				if x := fmt.Sprint(f.Xattrs); len(f.Xattrs) > 0 && x != w.Xattrs {
					t.Errorf("%q: attributes %s, want %s", f.Path, x, w.Xattrs)
				}
			}
			if st, err := open(t, b).Verify(context.Background()); err != nil || st.Entries < len(want)-1 { // tar has no sockets
				t.Errorf("%+v, %v; want %d entries", st, err, len(want))
			}
		})
	}
}

const bigChild = "CFBUILD_SQUASHFS_CHILD"

// plantBig makes 200,000 files, many of them in one directory, and 6 GB of which 3 MB
// are data.
func plantBig(t testing.TB, dir string) {
	t.Helper()
	n := 0
	put := func(path string, data []byte) {
		fd, err := unix.Open(path, unix.O_CREAT|unix.O_WRONLY|unix.O_EXCL, 0o644)
		if err == nil && len(data) > 0 {
			_, err = unix.Write(fd, data)
		}
		if err != nil {
			t.Fatal(err)
		}
		unix.Close(fd)
		n++
	}
	large := filepath.Join(dir, "large")
	if err := os.Mkdir(large, 0o755); err != nil {
		t.Fatal(err)
	}
	for i := range 60000 {
		put(fmt.Sprintf("%s/%08d-%s", large, i*7919%1000003, strings.Repeat("n", i%40)), []byte(strconv.Itoa(i%5000)))
	}
	for i := range 700 {
		sub := fmt.Sprintf("%s/d%02d/%03d", dir, i%37, i)
		if err := os.MkdirAll(sub, 0o755); err != nil {
			t.Fatal(err)
		}
		for j := range 200 {
			put(fmt.Sprintf("%s/%d", sub, j), text(i*200+j, j))
		}
		if err := os.Link(sub+"/7", filepath.Join(dir, fmt.Sprintf("link%d", i))); err != nil {
			t.Fatal(err)
		}
	}
	f, err := os.Create(filepath.Join(dir, "sparse"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, at := range []int64{0, 2<<30 + 77, 6_000_000_000 - 1<<20} {
		if _, err := f.WriteAt(noise(uint64(at), 1<<20), at); err != nil {
			t.Fatal(err)
		}
	}
	if n != 200000 {
		t.Fatalf("%d files", n)
	}
}

func TestLargeTree(t *testing.T) {
	if image := os.Getenv(bigChild); image != "" {
		if err := writeImage(Options{Level: 6}, os.Getenv(bigChild+"_SOURCE"), image); err != nil {
			t.Fatal(err)
		}
		return
	}
	source := inMemory(t)
	plantBig(t, source)
	image := filepath.Join(inMemory(t), "image")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, "-test.run=^TestLargeTree$")
	cmd.Env = append(slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "GOCOVERDIR=") }),
		bigChild+"="+image, bigChild+"_SOURCE="+source)
	start := time.Now()
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	peak := cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss >> 10
	st, err := os.Stat(image)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d MiB of memory, %v, image of %d MiB, %d workers", peak, time.Since(start), st.Size()>>20, runtime.GOMAXPROCS(0))
	if peak > 300 {
		t.Errorf("writing took %d MiB of memory, at most 300 are allowed", peak)
	}
	allAgree(t, image, source)
}
