// Package assembletest puts finished layers into the disorder in which other builders
// write them.
package assembletest

import (
	"archive/tar"
	"context"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cfbuild/cfbuild/internal/layertest"
	"github.com/cfbuild/cfbuild/internal/oci"
	"github.com/cfbuild/cfbuild/internal/rootfs"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// Mangle writes layer i of an image in another way that means the same, as builders
// do that take what their storage says: parents and untouched files stated again,
// files found in any order, times of the clock instead of the epoch, directories
// opaque, names with dots, members that a later one replaces.
func Mangle(t testing.TB, l *oci.Layout, d v1.Descriptor, i int, epoch time.Time, rng *rand.Rand) []byte {
	t.Helper()
	man, cfg, err := l.Image(d)
	if err != nil {
		t.Fatal(err)
	}
	m := &mangler{t: t, rng: rng, epoch: epoch, emit: map[string]bool{}, hide: map[string]bool{}, opaque: map[string]bool{}, own: map[string]bool{}}
	m.below, m.above = stack(t, l, man, cfg, i), stack(t, l, man, cfg, i+1)
	for _, e := range m.above.Layers[i].Entries {
		if e.Type == rootfs.Whiteout {
			m.hide[e.Path] = true
		} else {
			m.own[e.Path], m.emit[e.Path] = true, true
		}
	}
	m.repeat()
	m.makeOpaque()
	m.parents()
	return layertest.Tar(t, m.members()...)
}

// stack is the filesystem of the first n layers.
func stack(t testing.TB, l *oci.Layout, man v1.Manifest, cfg v1.Image, n int) *rootfs.FS {
	t.Helper()
	f := rootfs.New(rootfs.Options{Keep: func(*rootfs.Entry) bool { return true }, KeepBytes: 1 << 30})
	for i := range n {
		r, err := l.OpenLayer(man.Layers[i], cfg.RootFS.DiffIDs[i])
		if err != nil {
			t.Fatal(err)
		}
		err = f.Add(context.Background(), r)
		if err == nil {
			err = r.Finish()
		}
		r.Close()
		if err != nil {
			t.Fatal(err)
		}
	}
	return f
}

type mangler struct {
	t            testing.TB
	rng          *rand.Rand
	epoch        time.Time
	below, above *rootfs.FS
	own          map[string]bool // the layer has it for good
	emit         map[string]bool
	hide, opaque map[string]bool
}

func (m *mangler) repeat() {
	for _, e := range m.above.List() {
		if !e.Implied && m.rng.IntN(10) == 0 {
			m.emit[e.Path] = true
		}
	}
}

// makeOpaque: what stays of the directory is stated whole, and whiteouts in it are not
// needed.
func (m *mangler) makeOpaque() {
	for _, e := range m.above.List() {
		old, ok := m.below.Lookup(e.Path)
		if !ok || e.Path == "/" || e.Implied || e.Type != rootfs.Dir || old.Type != rootfs.Dir || m.rng.IntN(8) != 0 {
			continue
		}
		m.opaque[e.Path] = true
		for p := range m.hide {
			if strings.HasPrefix(p, e.Path+"/") {
				delete(m.hide, p)
			}
		}
		if err := m.above.Walk(e.Path, func(e *rootfs.Entry) error { m.emit[e.Path] = true; return nil }); err != nil {
			m.t.Fatal(err)
		}
	}
}

func (m *mangler) parents() {
	for _, p := range slices.Concat(slices.Collect(maps.Keys(m.emit)), slices.Collect(maps.Keys(m.hide)), slices.Collect(maps.Keys(m.opaque))) {
		for d := path.Dir(p); d != "/"; d = path.Dir(d) {
			if e, ok := m.above.Lookup(d); ok && !e.Implied {
				m.emit[d] = true
			}
		}
	}
}

// members are all of it, shuffled; of names of one file the first has the content.
func (m *mangler) members() []layertest.Member {
	var out []layertest.Member
	for _, p := range slices.Sorted(maps.Keys(m.hide)) {
		out = append(out, m.mark(path.Dir(p), oci.Whiteout+path.Base(p)))
	}
	for _, p := range slices.Sorted(maps.Keys(m.opaque)) {
		out = append(out, m.mark(p, oci.WhiteoutOpaque))
	}
	out = append(out, m.mark("/", oci.Whiteout+"never was"))
	for _, p := range slices.Sorted(maps.Keys(m.emit)) {
		if e, ok := m.above.Lookup(p); ok && !e.Implied {
			out = append(out, m.member(e))
		}
	}
	m.rng.Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
	// Where something else gives way to a directory, that comes before what is in it.
	replaced := func(o layertest.Member) bool {
		old, ok := m.below.Lookup(o.Name)
		return o.Typeflag == tar.TypeDir && ok && old.Type != rootfs.Dir
	}
	slices.SortStableFunc(out, func(a, b layertest.Member) int {
		x, y := replaced(a), replaced(b)
		switch {
		case x && y:
			return strings.Compare(path.Clean("/"+a.Name), path.Clean("/"+b.Name))
		case x:
			return -1
		case y:
			return 1
		}
		return 0
	})
	first := map[int]string{}
	var all []layertest.Member
	for _, o := range out {
		if e, ok := m.above.Lookup(path.Clean("/" + o.Name)); ok && o.Typeflag == tar.TypeReg {
			if name, ok := first[e.Inode]; ok {
				o.Typeflag, o.Linkname, o.Data = tar.TypeLink, name, ""
			} else {
				first[e.Inode] = o.Name
				if m.rng.IntN(6) == 0 { // a later one counts
					all = append(all, layertest.Member{Header: tar.Header{Name: o.Name, Typeflag: tar.TypeReg, ModTime: m.now()}, Data: "stale"})
				}
			}
		}
		all = append(all, o)
	}
	return all
}

func (m *mangler) now() time.Time {
	return m.epoch.Add(time.Duration(1+m.rng.IntN(1e9)) * time.Millisecond)
}

func (m *mangler) name(p string) string {
	return []string{"", "./", "/"}[m.rng.IntN(3)] + strings.TrimPrefix(p, "/")
}

func (m *mangler) mark(dir, name string) layertest.Member {
	return layertest.Member{Header: tar.Header{Name: m.name(path.Join(dir, name)), Typeflag: tar.TypeReg, ModTime: m.now()}}
}

var types = map[rootfs.Type]byte{rootfs.File: tar.TypeReg, rootfs.Dir: tar.TypeDir, rootfs.Symlink: tar.TypeSymlink,
	rootfs.Char: tar.TypeChar, rootfs.Block: tar.TypeBlock, rootfs.Fifo: tar.TypeFifo}

func (m *mangler) member(e *rootfs.Entry) layertest.Member {
	h := tar.Header{Name: m.name(e.Path), Typeflag: types[e.Type], Mode: int64(e.Mode), Uid: e.UID, Gid: e.GID, Linkname: e.Link, ModTime: e.ModTime}
	switch e.Type {
	case rootfs.Dir:
		if h.Name += "/"; e.Path == "/" {
			h.Name = "./"
		}
		if !m.own[e.Path] {
			h.ModTime = m.now()
		}
	case rootfs.Char, rootfs.Block:
		if _, err := fmt.Sscanf(e.Dev, "%d:%d", &h.Devmajor, &h.Devminor); err != nil {
			m.t.Fatal(err)
		}
	}
	if h.ModTime.Equal(m.epoch) {
		h.ModTime = m.now()
	}
	for k, v := range e.Xattrs {
		if h.PAXRecords == nil {
			h.PAXRecords = map[string]string{}
		}
		h.PAXRecords["SCHILY.xattr."+k] = v
	}
	if m.rng.IntN(2) == 0 && h.PAXRecords == nil {
		h.Format = tar.FormatPAX
		h.AccessTime = h.ModTime
	}
	var data []byte
	if e.Type == rootfs.File {
		var err error
		if data, err = m.above.Read(e, 1<<30); err != nil {
			m.t.Fatal(err)
		}
	}
	return layertest.Member{Header: h, Data: string(data)}
}

// Drain reads a layer's archive.
func Drain(t testing.TB, l *oci.Layout, d v1.Descriptor) []byte {
	t.Helper()
	r, err := l.OpenLayer(d, "")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	if err == nil {
		err = r.Finish()
	}
	if err != nil {
		t.Fatal(err)
	}
	return b
}
