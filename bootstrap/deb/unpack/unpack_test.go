package unpack

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cfbuild/cfbuild/bootstrap/deb/debtest"
)

var epoch = time.Unix(1_650_000_000, 0)

// layer unpacks packages and gives the tar.
func layer(t testing.TB, o Options, debs ...debtest.Deb) ([]byte, Summary, error) {
	t.Helper()
	var files [][]byte
	for _, d := range debs {
		files = append(files, d.Build(t))
	}
	return layerOf(t, o, files...)
}

func layerOf(t testing.TB, o Options, debs ...[]byte) ([]byte, Summary, error) {
	t.Helper()
	if o.Arch == "" {
		o.Arch = "amd64"
	}
	if o.Epoch.IsZero() {
		o.Epoch = epoch
	}
	o.SpoolDir = t.TempDir()
	u, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	var wg sync.WaitGroup
	errs := make([]error, len(debs))
	for i, b := range debs {
		f := filepath.Join(o.SpoolDir, fmt.Sprintf("%d.deb", i))
		if err := os.WriteFile(f, b, 0o644); err != nil {
			t.Fatal(err)
		}
		wg.Go(func() { errs[i] = u.Add(context.Background(), Package{Auto: i%2 == 1}, f) })
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		for _, err := range errs {
			if err != nil {
				return nil, Summary{}, err
			}
		}
	}
	var out bytes.Buffer
	s, err := u.Finish(context.Background(), &out, nil)
	return out.Bytes(), s, err
}

// read gives the entries of a tar, contents in PAXRecords["content"].
func read(t testing.TB, b []byte) map[string]*tar.Header {
	t.Helper()
	out := map[string]*tar.Header{}
	seen := map[string]bool{"": true}
	last := ""
	for r := tar.NewReader(bytes.NewReader(b)); ; {
		h, err := r.Next()
		if err == io.EOF {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		name := strings.TrimSuffix(h.Name, "/")
		if out[name] != nil {
			t.Errorf("%s is there twice", name)
		}
		if parent := filepath.Dir(name); parent != "." && !seen[parent] {
			t.Errorf("%s comes before its directory", name)
		}
		if key := strings.ReplaceAll(name, "/", "\x00"); key < last && name != "." {
			t.Errorf("%s is out of order", name)
		} else if name != "." {
			last = key
		}
		seen[name] = h.Typeflag == tar.TypeDir
		data, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		if h.PAXRecords == nil {
			h.PAXRecords = map[string]string{}
		}
		h.PAXRecords["content"] = string(data)
		out[name] = h
	}
}

func must(t testing.TB, o Options, debs ...debtest.Deb) (map[string]*tar.Header, Summary) {
	t.Helper()
	b, s, err := layer(t, o, debs...)
	if err != nil {
		t.Fatal(err)
	}
	return read(t, b), s
}

func TestEveryKindOfEntry(t *testing.T) {
	long := "usr/share/" + strings.Repeat("long/", 40) + "ñame"
	su := debtest.File("usr/bin/su", "root")
	su.Mode = 0o4755
	ping := debtest.File("usr/bin/ping", "caps")
	ping.PAXRecords["SCHILY.xattr.security.capability"] = "\x01\x00\x00\x02\x00\x20"
	ping.Uid, ping.Gid = 7, 3_000_000
	spool := debtest.Dir("var/spool")
	spool.Mode, spool.Gid = 0o2775, 8
	future := debtest.File("usr/future", "x")
	future.ModTime = epoch.Add(time.Hour)
	past := debtest.File("usr/past", "x")
	past.ModTime = epoch.Add(-time.Hour)
	null := &tar.Header{Typeflag: tar.TypeChar, Name: "./dev/null", Mode: 0o666, Devmajor: 1, Devminor: 3, ModTime: epoch}
	fifo := &tar.Header{Typeflag: tar.TypeFifo, Name: "./run/fifo", Mode: 0o600, ModTime: epoch}
	got, s := must(t, Options{Devices: true}, debtest.Deb{Name: "kinds", Files: []*tar.Header{
		su, ping, spool, future, past, null, fifo, debtest.File(long, "long"),
		debtest.File("usr/z", "linked"), debtest.HardLink("usr/a", "usr/z"), debtest.HardLink("usr/b", "usr/a"),
		debtest.Link("etc/link", "../../../outside"), debtest.File("usr/empty", ""),
	}})
	check := func(name string, ok func(h *tar.Header) bool) {
		t.Helper()
		if h := got[name]; h == nil || !ok(h) {
			t.Errorf("%s: %+v", name, h)
		}
	}
	check("usr/bin/su", func(h *tar.Header) bool { return h.Mode == 0o4755 && h.PAXRecords["content"] == "root" })
	check("usr/bin/ping", func(h *tar.Header) bool {
		return h.Uid == 7 && h.Gid == 3_000_000 && h.PAXRecords["SCHILY.xattr.security.capability"] == "\x01\x00\x00\x02\x00\x20"
	})
	check("var/spool", func(h *tar.Header) bool { return h.Typeflag == tar.TypeDir && h.Mode == 0o2775 && h.Gid == 8 })
	check("usr/future", func(h *tar.Header) bool { return h.ModTime.Equal(epoch) })
	check("usr/past", func(h *tar.Header) bool { return h.ModTime.Equal(past.ModTime) })
	check("dev/null", func(h *tar.Header) bool { return h.Typeflag == tar.TypeChar && h.Devmajor == 1 && h.Devminor == 3 })
	check("run/fifo", func(h *tar.Header) bool { return h.Typeflag == tar.TypeFifo })
	check(long, func(h *tar.Header) bool { return h.PAXRecords["content"] == "long" })
	check("etc/link", func(h *tar.Header) bool { return h.Typeflag == tar.TypeSymlink && h.Linkname == "../../../outside" })
	check("usr/empty", func(h *tar.Header) bool { return h.Typeflag == tar.TypeReg && h.Size == 0 })
	// The first in order has the content, whatever the package called the link.
	check("usr/a", func(h *tar.Header) bool { return h.Typeflag == tar.TypeReg && h.PAXRecords["content"] == "linked" })
	check("usr/b", func(h *tar.Header) bool { return h.Typeflag == tar.TypeLink && h.Linkname == "usr/a" })
	check("usr/z", func(h *tar.Header) bool { return h.Typeflag == tar.TypeLink && h.Linkname == "usr/a" })
	check(".", func(h *tar.Header) bool { return h.Typeflag == tar.TypeDir && h.Mode == 0o755 })
	if s.Entries != len(got) {
		t.Errorf("%d entries, %d counted", len(got), s.Entries)
	}
	if _, _, err := layer(t, Options{}, debtest.Deb{Name: "dev", Files: []*tar.Header{null}}); !errors.Is(err, ErrRefused) {
		t.Errorf("device node: %v", err)
	}
}

// some makes packages with content of all sizes.
func some(n int, compression string) []debtest.Deb {
	rnd := rand.New(rand.NewPCG(3, 4))
	var out []debtest.Deb
	for i := range n {
		d := debtest.Deb{Name: fmt.Sprintf("p%02d", i), Arch: []string{"amd64", "all"}[i%2], Compression: compression,
			Control: map[string]string{"postinst": "#!/bin/sh\n", "conffiles": fmt.Sprintf("/etc/p%d.conf\n", i)}}
		d.Files = append(d.Files, debtest.File(fmt.Sprintf("etc/p%d.conf", i), "conf"))
		for j := range rnd.IntN(30) {
			data := make([]byte, rnd.IntN(1<<rnd.IntN(20)))
			for k := range data {
				data[k] = "abcdefgh"[rnd.IntN(8)]
			}
			d.Files = append(d.Files, debtest.File(fmt.Sprintf("usr/share/p%d/f%d", i, j), string(data)))
		}
		out = append(out, d)
	}
	return out
}

func TestDeterministic(t *testing.T) {
	debs := some(30, "zst")
	var files [][]byte
	for _, d := range debs {
		files = append(files, d.Build(t))
	}
	var want []byte
	for _, workers := range []int{1, 8, 8} {
		u, err := New(Options{Arch: "amd64", Epoch: epoch, Workers: workers, SpoolDir: t.TempDir(), MergedUsr: true})
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		for _, i := range rand.Perm(len(files)) {
			f := filepath.Join(t.TempDir(), "x.deb")
			if err := os.WriteFile(f, files[i], 0o644); err != nil {
				t.Fatal(err)
			}
			wg.Go(func() {
				if err := u.Add(context.Background(), Package{Auto: i%3 == 0}, f); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		var out bytes.Buffer
		if _, err := u.Finish(context.Background(), &out, nil); err != nil {
			t.Fatal(err)
		}
		u.Close()
		if want == nil {
			want = out.Bytes()
			read(t, want)
		} else if !bytes.Equal(want, out.Bytes()) {
			t.Fatalf("another tar with %d workers", workers)
		}
	}
}

func TestCompressionsGiveTheSameLayer(t *testing.T) {
	var want []byte
	for _, c := range []string{"", "none", "zst", "xz"} {
		got, _, err := layer(t, Options{}, some(3, c)...)
		if err != nil {
			t.Fatalf("%q: %v", c, err)
		}
		if want == nil {
			want = got
		}
		if !bytes.Equal(got, want) {
			t.Errorf("compression %q gives another layer", c)
		}
	}
}

func TestCancel(t *testing.T) {
	u, err := New(Options{Arch: "amd64", Epoch: epoch, SpoolDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	f := filepath.Join(t.TempDir(), "x.deb")
	if err := os.WriteFile(f, some(1, "")[0].Build(t), 0o644); err != nil {
		t.Fatal(err)
	}
	stop := errors.New("stop")
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(stop)
	if err := u.Add(ctx, Package{}, f); !errors.Is(err, stop) {
		t.Errorf("add: %v", err)
	}
	if err := u.Add(context.Background(), Package{}, f); err != nil {
		t.Fatal(err)
	}
	if _, err := u.Finish(ctx, io.Discard, nil); !errors.Is(err, stop) {
		t.Errorf("finish: %v", err)
	}
	left, err := os.ReadDir(u.o.SpoolDir)
	if err != nil || slices.ContainsFunc(left, func(e os.DirEntry) bool { return strings.HasPrefix(e.Name(), ".spool") }) {
		t.Errorf("spool files have names: %v, %v", left, err)
	}
}

// BenchmarkUnpack unpacks 60 packages of about 1 MB each, compressed as Debian
// and Ubuntu compress theirs, into a tar.
func BenchmarkUnpack(b *testing.B) {
	for _, c := range []string{"xz", "zst"} {
		b.Run(c, func(b *testing.B) {
			dir := b.TempDir()
			var total int64
			debs := some(60, c)
			for i, d := range debs {
				data := d.Build(b)
				if err := os.WriteFile(filepath.Join(dir, fmt.Sprint(i)), data, 0o644); err != nil {
					b.Fatal(err)
				}
				for _, f := range d.Files {
					total += f.Size
				}
			}
			b.SetBytes(total)
			b.ReportAllocs()
			for b.Loop() {
				u, err := New(Options{Arch: "amd64", Epoch: epoch, SpoolDir: dir})
				if err != nil {
					b.Fatal(err)
				}
				var wg sync.WaitGroup
				for i := range debs {
					wg.Go(func() {
						if err := u.Add(context.Background(), Package{}, filepath.Join(dir, fmt.Sprint(i))); err != nil {
							b.Error(err)
						}
					})
				}
				wg.Wait()
				if _, err := u.Finish(context.Background(), io.Discard, nil); err != nil {
					b.Fatal(err)
				}
				u.Close()
			}
		})
	}
}
