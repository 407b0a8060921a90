package squashfs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// memory is an image in memory.
type memory struct{ b []byte }

func (m *memory) WriteAt(p []byte, off int64) (int, error) {
	if end := int(off) + len(p); end > len(m.b) {
		m.b = append(m.b, make([]byte, end-len(m.b))...)
	}
	return copy(m.b[off:], p), nil
}

func (m *memory) Truncate(size int64) error {
	if int(size) > len(m.b) {
		m.b = append(m.b, make([]byte, int(size)-len(m.b))...)
	}
	m.b = m.b[:size]
	return nil
}

// file is an entry with its content.
type file struct {
	Entry
	data []byte
}

func build(t testing.TB, o Options, files []file) []byte {
	t.Helper()
	var m memory
	w, err := NewWriter(&m, o)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	for _, f := range files {
		f.Size = int64(len(f.data))
		if err := w.Add(f.Entry, bytes.NewReader(f.data)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return m.b
}

func open(t testing.TB, image []byte) *FS {
	t.Helper()
	f, err := Open(bytes.NewReader(image), int64(len(image)))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// read lists an image with all content.
func read(t testing.TB, image []byte) []file {
	t.Helper()
	f := open(t, image)
	var out []file
	err := f.Walk(func(n *Node) error {
		data, err := io.ReadAll(f.Content(n))
		if err != nil {
			return err
		}
		if len(data) == 0 {
			data = nil
		}
		out = append(out, file{n.Entry, data})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// addTree puts a directory of the machine in an image, as tar would.
func addTree(w *Writer, dir string) error {
	links, m := map[uint64]string{}, newMachine()
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		e, st, err := m.entry(path, rel)
		if err != nil {
			return err
		}
		if !d.IsDir() && st.Nlink > 1 {
			if first, ok := links[st.Ino]; ok {
				return w.Add(Entry{Path: rel, HardLink: first}, nil)
			}
			links[st.Ino] = rel
		}
		if e.Size == 0 {
			return w.Add(e, nil)
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		return w.Add(e, f)
	})
}

// machine reads paths of the machine.
type machine struct {
	names, value []byte
	// squashfuse 0.1, also with images of mksquashfs, lists security.* as trusted.* and
	// the other way round, though it gives them by their right names, and has no empty
	// values.
	squashfuse bool
}

func newMachine() *machine {
	return &machine{names: make([]byte, 1<<16), value: make([]byte, 1<<16)}
}

// entry reads a path with its attributes.
func (m *machine) entry(path, rel string) (e Entry, st unix.Stat_t, err error) {
	if err := unix.Lstat(path, &st); err != nil {
		return e, st, fmt.Errorf("%s: %w", path, err)
	}
	e = Entry{Path: rel, UID: st.Uid, GID: st.Gid, ModTime: time.Unix(st.Mtim.Sec, 0).UTC()}
	kind := map[uint32]uint16{unix.S_IFREG: kindFile, unix.S_IFDIR: kindDir, unix.S_IFLNK: kindSymlink, unix.S_IFBLK: kindBlock,
		unix.S_IFCHR: kindChar, unix.S_IFIFO: kindFIFO, unix.S_IFSOCK: kindSocket}[st.Mode&unix.S_IFMT]
	e.Mode = fileMode(kind, uint16(st.Mode&0o7777))
	switch kind {
	case kindFile:
		e.Size = st.Size
	case kindSymlink:
		if e.Target, err = os.Readlink(path); err != nil {
			return e, st, err
		}
	case kindBlock, kindChar:
		e.Major, e.Minor = unix.Major(st.Rdev), unix.Minor(st.Rdev)
	}
	e.Xattrs, err = m.xattrs(path)
	return e, st, err
}

func (m *machine) xattrs(path string) (map[string][]byte, error) {
	n, err := unix.Llistxattr(path, m.names)
	if err != nil || n == 0 {
		if errors.Is(err, unix.ENOTSUP) {
			err = nil
		}
		return nil, err
	}
	out := map[string][]byte{}
	for name := range strings.SplitSeq(strings.TrimSuffix(string(m.names[:n]), "\x00"), "\x00") {
		if m.squashfuse {
			name = strings.NewReplacer("security.", "trusted.", "trusted.", "security.").Replace(name)
		}
		if !Kept(name) {
			continue
		}
		k, err := unix.Lgetxattr(path, name, m.value)
		if m.squashfuse && err == unix.ENODATA {
			k, err = 0, nil
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %s: %w", path, name, err)
		}
		out[name] = bytes.Clone(m.value[:k])
	}
	return out, nil
}

// sameEntries compares without regard to how empty values are written.
func sameEntries(t testing.TB, got, want []file) {
	t.Helper()
	byPath := map[string]file{}
	for _, f := range want {
		byPath[f.Path] = f
	}
	for _, g := range got {
		w, ok := byPath[g.Path]
		if !ok {
			t.Errorf("%s: not wanted", g.Path)
			continue
		}
		delete(byPath, g.Path)
		if w.HardLink != "" {
			if g.HardLink != w.HardLink {
				t.Errorf("%s: hard link %q, want %q", g.Path, g.HardLink, w.HardLink)
			}
			continue
		}
		if g.Mode != w.Mode || g.UID != w.UID || g.GID != w.GID || !g.ModTime.Equal(w.ModTime) || g.Target != w.Target ||
			g.Major != w.Major || g.Minor != w.Minor || !maps.EqualFunc(g.Xattrs, w.Xattrs, bytes.Equal) {
			t.Errorf("%s:\n got %+v\nwant %+v", g.Path, g.Entry, w.Entry)
		}
		if !bytes.Equal(g.data, w.data) {
			t.Errorf("%s: %d bytes of content differ from the %d wanted", g.Path, len(g.data), len(w.data))
		}
	}
	for _, p := range slices.Sorted(maps.Keys(byPath)) {
		t.Errorf("%s: missing", p)
	}
}
