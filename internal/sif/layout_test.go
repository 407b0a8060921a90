package sif

import (
	"archive/tar"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cfbuild/cfbuild/internal/oci"
	"github.com/cfbuild/cfbuild/internal/rootfs"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// odd is an image with what is hard to keep.
func odd(t *testing.T) (*oci.Layout, v1.Descriptor) {
	t.Helper()
	later := stamp.Add(time.Hour)
	suid := reg("usr/suid", "#!x")
	suid.Header.Mode, suid.Header.Uid, suid.Header.Gid = 0o4755, 42, 43
	attr := reg("usr/attr", "a")
	attr.Header.PAXRecords = map[string]string{"SCHILY.xattr.user.note": "hello"}
	newer := reg("usr/newer", "")
	newer.Header.ModTime = later
	sticky := dir("tmp")
	sticky.Header.Mode = 0o1777
	return image(t, v1.Image{}, archive(t, []entry{dir("usr"), suid, attr, newer, sticky,
		{Header: tar.Header{Name: "usr/hard", Typeflag: tar.TypeLink, Linkname: "usr/suid", ModTime: stamp}},
		{Header: tar.Header{Name: "usr/soft", Typeflag: tar.TypeSymlink, Linkname: "/usr/attr", Mode: 0o777, ModTime: stamp}},
		{Header: tar.Header{Name: "null", Typeflag: tar.TypeChar, Devmajor: 1, Devminor: 3, Mode: 0o666, ModTime: stamp}},
		{Header: tar.Header{Name: "pipe", Typeflag: tar.TypeFifo, Mode: 0o600, ModTime: stamp}},
		{Header: tar.Header{Name: "environment", Typeflag: tar.TypeSymlink, Linkname: "usr/attr", Mode: 0o777, ModTime: stamp}}}))
}

func list(t *testing.T, l *oci.Layout, d v1.Descriptor) map[string]*rootfs.Entry {
	t.Helper()
	f, err := rootfs.Open(t.Context(), l, d, rootfs.Options{})
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]*rootfs.Entry{}
	for _, e := range f.List() {
		out[e.Path] = e
	}
	return out
}

// A layout of a SIF file has what the image had, without what was added to run it.
func TestLayoutOfSIF(t *testing.T) {
	l, d := odd(t)
	file, _ := converted(t, l, d, Options{})
	dir := filepath.Join(t.TempDir(), "layout")
	made, err := Layout(t.Context(), file, dir, v1.Image{Created: &stamp, Author: "me", Platform: v1.Platform{OS: "linux", Architecture: "amd64"}, Config: v1.ImageConfig{Cmd: []string{"x"}}})
	if err != nil {
		t.Fatal(err)
	}
	back, err := oci.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := back.Verify(made); err != nil {
		t.Error(err)
	}
	_, c, err := back.Image(made)
	if err != nil || c.Author != "me" || c.Config.Cmd[0] != "x" || len(c.RootFS.DiffIDs) != 1 {
		t.Errorf("%v %+v", err, c)
	}
	want, got := list(t, l, d), list(t, back, made)
	for path, w := range want {
		g := got[path]
		if g == nil {
			t.Errorf("%s is gone", path)
			continue
		}
		if g.Type != w.Type || g.Mode != w.Mode || g.UID != w.UID || g.GID != w.GID || g.Link != w.Link || g.Dev != w.Dev || g.Size != w.Size || g.Xattrs["user.note"] != w.Xattrs["user.note"] {
			t.Errorf("%s\n got %+v\nwant %+v", path, g, w)
		}
		if g.ModTime.After(stamp) {
			t.Errorf("%s: %v is later than the image", path, g.ModTime)
		}
	}
	if got["/usr/hard"].Inode != got["/usr/suid"].Inode {
		t.Error("a hard link was lost")
	}
	for path := range got {
		if strings.HasPrefix(path, "/.singularity.d") || path == "/.run" || path == "/singularity" {
			t.Errorf("%s is of no use in a layout", path)
		}
	}
	// An image's own link by a name of Apptainer's stays.
	if e := got["/environment"]; e == nil || e.Link != "usr/attr" {
		t.Errorf("%+v", e)
	}
}

func TestNoDevices(t *testing.T) {
	l, d := odd(t)
	file, r := converted(t, l, d, Options{NoDevices: true})
	if len(r.Dropped) != 1 || !strings.HasPrefix(r.Dropped[0], "/null: device") {
		t.Errorf("%q", r.Dropped)
	}
	if all := tree(t, file); all["null"] != nil || all["pipe"] == nil {
		t.Errorf("null %+v, pipe %+v", all["null"], all["pipe"])
	}
}

// A SIF file is delivered as it is, or signed; whole or not at all.
func TestDeliver(t *testing.T) {
	l, d := odd(t)
	file, made := converted(t, l, d, Options{})
	to := filepath.Join(t.TempDir(), "to.sif")
	for i := range 2 {
		r, err := Deliver(t.Context(), file, to, nil)
		if err != nil || r.Digest != made.Digest || r.Unchanged != (i == 1) {
			t.Errorf("%v %+v, want %+v", err, r, made)
		}
	}
	if _, err := Deliver(t.Context(), to+".none", to, nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v", err)
	}
	if err := os.Truncate(file, 5000); err != nil {
		t.Fatal(err)
	}
	if _, err := Deliver(t.Context(), file, to+".cut", nil); err == nil {
		t.Error("a file that was cut off was delivered")
	}
	left, err := os.ReadDir(filepath.Dir(to))
	if err != nil || len(left) != 1 {
		t.Errorf("left %v %v", left, err)
	}
}
