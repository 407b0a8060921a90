package unpack

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cfbuild/cfbuild/bootstrap/deb/debtest"
)

// entryNamed is a deb with one entry of exactly that name.
func entryNamed(name string) debtest.Deb {
	h := debtest.File("x", "evil")
	h.Name = name
	return debtest.Deb{Name: "evil", Raw: true, Files: []*tar.Header{h}}
}

func TestHostilePackages(t *testing.T) {
	good := debtest.Deb{Name: "evil", Files: []*tar.Header{debtest.File("usr/x", "x")}}
	data := func(heads ...*tar.Header) []byte {
		return debtest.Deb{Name: "evil", Files: heads}.Build(t)
	}
	raw := func(heads ...*tar.Header) []byte {
		return debtest.Deb{Name: "evil", Files: heads, Raw: true}.Build(t)
	}
	control, payload := string(good.ControlTar(t)), string(good.DataTar(t))
	withControl := func(heads ...*tar.Header) []byte {
		return debtest.AR("debian-binary", "2.0\n", "control.tar", string(debtest.Tar(t, heads)), "data.tar", payload)
	}
	hard := debtest.HardLink("usr/y", "usr/x")
	hard.Linkname = "../../etc/passwd"
	absolute := debtest.HardLink("usr/y", "usr/x")
	absolute.Linkname = "/etc/passwd"
	owner := debtest.File("usr/x", "")
	owner.Uid = 1 << 33
	owner.Format = tar.FormatGNU
	sparse := sparseBomb()
	for name, c := range map[string]struct {
		deb  []byte
		want string
	}{
		"path traversal":          {entryNamed("./../../etc/passwd").Build(t), "outside of the root"},
		"path traversal inside":   {entryNamed("./usr/../../etc/passwd").Build(t), "outside of the root"},
		"absolute path":           {entryNamed("/etc/passwd").Build(t), "absolute path"},
		"name too long":           {entryNamed("./" + strings.Repeat("x", 300)).Build(t), "longer than 255"},
		"path too long":           {entryNamed("./" + strings.Repeat("x/", 3000) + "x").Build(t), "impossible path"},
		"root as a file":          {entryNamed(".").Build(t), "is the root directory"},
		"hard link out":           {data(debtest.File("usr/x", "x"), hard), "outside of the root"},
		"hard link absolute":      {data(debtest.File("usr/x", "x"), absolute), "absolute path"},
		"hard link to nothing":    {data(debtest.HardLink("usr/y", "usr/x")), "no file before it"},
		"hard link to a link":     {data(debtest.Link("usr/x", "/etc/passwd"), debtest.HardLink("usr/y", "usr/x")), "no file before it"},
		"hard link to itself":     {data(debtest.HardLink("usr/y", "usr/y")), "no file before it"},
		"the same path twice":     {data(debtest.File("usr/x", "x"), debtest.File("usr/x", "y")), "twice"},
		"link then file":          {data(debtest.Link("usr/x", "y"), debtest.File("usr/x", "y")), "twice"},
		"through a link out":      {raw(debtest.Link("x", "../../.."), debtest.File("x/y", "evil")), "out of the root"},
		"through a dangling link": {raw(debtest.Link("x", "nowhere"), debtest.File("x/y", "evil")), "link to nothing"},
		"through a link circle":   {raw(debtest.Link("x", "y"), debtest.Link("y", "x"), debtest.File("x/y", "evil")), "too many symbolic links"},
		"through a file":          {raw(debtest.File("x", ""), debtest.File("x/y", "evil")), "not a directory"},
		"device":                  {raw(&tar.Header{Typeflag: tar.TypeBlock, Name: "./sda", Devmajor: 8}), "device node"},
		"owner out of range":      {raw(owner), "owner"},
		"unknown type":            {raw(&tar.Header{Typeflag: 'Z', Name: "./x"}), "unknown type"},
		"two data.tar": {debtest.AR("debian-binary", "2.0\n", "control.tar", control, "data.tar", payload, "data.tar", payload),
			"second time"},
		"two control.tar": {debtest.AR("debian-binary", "2.0\n", "control.tar", control, "control.tar", control, "data.tar", payload),
			"out of order"},
		"data before control": {debtest.AR("debian-binary", "2.0\n", "data.tar", payload, "control.tar", control), "out of order"},
		"no data":             {debtest.AR("debian-binary", "2.0\n", "control.tar", control), "lacks data.tar"},
		"nothing":             {nil, "not a Debian package"},
		"no ar":               {[]byte("PK\x03\x04 this is a zip file"), "no ar magic"},
		"strange member":      {debtest.AR("debian-binary", "2.0\n", "payload.tar", payload), "no member"},
		"version 3":           {debtest.AR("debian-binary", "3.0\n", "control.tar", control, "data.tar", payload), "format"},
		"strange compression": {debtest.AR("debian-binary", "2.0\n", "control.tar.rar", control, "data.tar", payload), "compression"},
		"damaged xz":          {debtest.AR("debian-binary", "2.0\n", "control.tar", control, "data.tar.xz", "no xz at all"), "damaged"},
		"damaged gz":          {debtest.AR("debian-binary", "2.0\n", "control.tar", control, "data.tar.gz", "no gz at all"), "damaged"},
		"damaged tar":         {debtest.AR("debian-binary", "2.0\n", "control.tar", control, "data.tar", strings.Repeat("x", 4096)), "damaged"},
		"cut short":           {good.Build(t)[:300], "unexpected end"},
		"control traversal":   {withControl(debtest.File("control", "Package: evil\n"), debtest.File("../postinst", "evil")), "outside of control.tar"},
		"control twice":       {withControl(debtest.File("control", "Package: evil\n"), debtest.File("control", "Package: evil\n")), "twice"},
		"control name":        {withControl(debtest.File("control", "Package: evil\n"), debtest.File("post inst", "evil")), "not a name"},
		"control link":        {withControl(debtest.Link("control", "/etc/passwd")), "not a regular file"},
		"no control":          {withControl(debtest.File("md5sums", "")), "no control file"},
		"no package":          {withControl(debtest.File("control", "Version: 1\nArchitecture: all\n")), "says Package"},
		"package is a path":   {withControl(debtest.File("control", "Package: ../x\nVersion: 1\nArchitecture: all\n")), "illegal package"},
		"field twice":         {withControl(debtest.File("control", "Package: evil\nPackage: good\n")), "twice"},
		"bomb":                {debtest.AR("debian-binary", "2.0\n", "control.tar", control, "data.tar.gz", bomb(t)), "far more than it declares"},
		"bomb in control":     {debtest.AR("debian-binary", "2.0\n", "control.tar.gz", bomb(t), "data.tar", payload), "MiB"},
		"sparse bomb":         {debtest.AR("debian-binary", "2.0\n", "control.tar", control, "data.tar", sparse), "far more than it declares"},
	} {
		_, _, err := layerOf(t, Options{}, c.deb)
		var r *RefusedError
		if !errors.As(err, &r) || !errors.Is(err, ErrRefused) {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if !strings.Contains(err.Error(), c.want) || r.Package == "" || r.Hint() == "" {
			t.Errorf("%s: error %q (package %q) does not say %q", name, err, r.Package, c.want)
		}
	}
	if _, _, err := layerOf(t, Options{}, good.Build(t)); err != nil {
		t.Errorf("the sound package: %v", err)
	}
}

// bomb is 100 MiB of zeros in a tar entry, gzipped.
func bomb(t testing.TB) string {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "./control", Mode: 0o644, Size: 100 << 20}); err != nil {
		t.Fatal(err)
	}
	return string(debtest.Pack(t, ".gz", append(b.Bytes(), make([]byte, 100<<20)...)))
}

// sparseBomb is an old GNU sparse file of 1 TiB without data.
func sparseBomb() string {
	var b [1024]byte
	copy(b[:], "./sparse")
	copy(b[100:], "0000644\x000000000\x000000000\x0000000000000\x0000000000000\x00")
	b[156] = 'S'
	copy(b[257:], "ustar  \x00")
	// The real size at 483, in base 256: 1 << 40.
	b[483], b[483+12-6] = 0x80, 1
	copy(b[148:], "        ")
	sum := 0
	for _, c := range b[:512] {
		sum += int(c)
	}
	copy(b[148:], []byte{byte('0' + sum>>15&7), byte('0' + sum>>12&7), byte('0' + sum>>9&7), byte('0' + sum>>6&7), byte('0' + sum>>3&7), byte('0' + sum&7), 0, ' '})
	return string(b[:512]) + string(make([]byte, 1024))
}

// A package must be the one the archive named.
func TestNotTheOneAskedFor(t *testing.T) {
	f := filepath.Join(t.TempDir(), "x.deb")
	if err := os.WriteFile(f, debtest.Deb{Name: "a", Version: "1"}.Build(t), 0o644); err != nil {
		t.Fatal(err)
	}
	u, err := New(Options{Arch: "amd64", Epoch: epoch, SpoolDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	for _, p := range []Package{{Name: "b", Version: "1", Architecture: "all"}, {Name: "a", Version: "2", Architecture: "all"}, {Name: "a", Version: "1", Architecture: "amd64"}} {
		if err := u.Add(context.Background(), p, f); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "the archive says") {
			t.Errorf("%v: %v", p, err)
		}
	}
	if err := u.Add(context.Background(), Package{Name: "a", Version: "1", Architecture: "all"}, f); err != nil {
		t.Error(err)
	}
}

// FuzzDeb reads anything as a package: no panic, and what is accepted can be
// written as a tar.
func FuzzDeb(f *testing.F) {
	f.Add(debtest.Deb{Name: "a", Files: []*tar.Header{debtest.File("etc/a", "a"), debtest.Link("b", "etc")},
		Control: map[string]string{"conffiles": "/etc/a\n", "triggers": "interest x\n"}, Compression: "none"}.Build(f))
	f.Add(debtest.Deb{Name: "a", Files: []*tar.Header{debtest.File("x", "a"), debtest.HardLink("y", "x")}, Compression: "none"}.Build(f))
	f.Add(debtest.Deb{Name: "a", Compression: "zst"}.Build(f))
	f.Add(debtest.AR("debian-binary", "2.0\n", "control.tar", "", "data.tar.xz", ""))
	f.Fuzz(func(t *testing.T, b []byte) {
		file := filepath.Join(t.TempDir(), "x.deb")
		if err := os.WriteFile(file, b, 0o644); err != nil {
			t.Fatal(err)
		}
		u, err := New(Options{Arch: "amd64", Epoch: epoch, SpoolDir: t.TempDir(), Workers: 1, MergedUsr: len(b)%2 == 0, MaxSize: 1 << 20})
		if err != nil {
			t.Fatal(err)
		}
		defer u.Close()
		if err := u.Add(context.Background(), Package{}, file); err != nil {
			if !errors.Is(err, ErrRefused) {
				t.Fatal(err)
			}
			return
		}
		var out bytes.Buffer
		if _, err := u.Finish(context.Background(), &out, nil); err != nil {
			return
		}
		for r := tar.NewReader(&out); ; {
			if _, err := r.Next(); err == io.EOF {
				return
			} else if err != nil {
				t.Fatal(err)
			}
		}
	})
}
