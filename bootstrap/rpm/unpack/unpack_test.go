package unpack

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ProtonMail/go-crypto/openpgp"

	"github.com/cfbuild/cfbuild/internal/rpmfile"
	"github.com/cfbuild/cfbuild/internal/testneed"
	"github.com/cfbuild/cfbuild/internal/testrepo/rpmrepo"
)

// lay puts packages into a stage and gives its entries, in order.
func lay(t testing.TB, limit int64, rpms ...[]byte) ([]*tar.Header, map[string]string, error) {
	t.Helper()
	s, err := NewStage(t.TempDir(), rpmrepo.Made)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for i, data := range rpms {
		in := bytes.NewReader(data)
		p, err := rpmfile.Read(in)
		if err != nil {
			return nil, nil, err
		}
		if err := s.Add(t.Context(), fmt.Sprintf("p%d", i), p, data[len(data)-in.Len():], limit); err != nil {
			return nil, nil, err
		}
	}
	var b bytes.Buffer
	if _, err := s.Write(t.Context(), &b); err != nil {
		return nil, nil, err
	}
	var out []*tar.Header
	content := map[string]string{}
	for r := tar.NewReader(&b); ; {
		h, err := r.Next()
		if err == io.EOF {
			return out, content, nil
		}
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		content[h.Name] = string(data)
		out = append(out, h)
	}
}

func find(list []*tar.Header, name string) *tar.Header {
	for _, h := range list {
		if h.Name == name {
			return h
		}
	}
	return &tar.Header{}
}

// TestRealPackage lays out a package of the real rpmbuild: capabilities, hard
// links, ghosts, configuration, setuid, owners.
func TestRealPackage(t *testing.T) {
	dir := t.TempDir()
	spec := `Name: real
Version: 1
Release: 1
Summary: real
License: MIT
%description
real
%install
mkdir -p %{buildroot}/usr/bin %{buildroot}/etc/real %{buildroot}/var/log
printf first > %{buildroot}/usr/bin/one
ln %{buildroot}/usr/bin/one %{buildroot}/usr/bin/two
ln %{buildroot}/usr/bin/one %{buildroot}/usr/bin/also
printf caps > %{buildroot}/usr/bin/caps
printf conf > %{buildroot}/etc/real/conf
ln -s conf %{buildroot}/etc/real/link
: > %{buildroot}/var/log/ghost
%files
%attr(4755,root,root) /usr/bin/one
%attr(4755,root,root) /usr/bin/two
%attr(4755,root,root) /usr/bin/also
%attr(0755,root,root) %caps(cap_net_raw=ep) /usr/bin/caps
%attr(0640,root,real) %config(noreplace) /etc/real/conf
/etc/real/link
%dir %attr(2770,root,real) /etc/real
%ghost /var/log/ghost
`
	if err := os.WriteFile(filepath.Join(dir, "real.spec"), []byte(spec), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, payload := range []string{"w1.gzdio", "w1.xzdio", "w1.zstdio"} {
		cmd := exec.Command(testneed.Program(t, "rpmbuild"), "-bb", "--quiet", "--define", "_topdir "+dir, "--define", "_binary_payload "+payload, filepath.Join(dir, "real.spec"))
		cmd.Env = append(os.Environ(), "HOME="+dir)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("rpmbuild: %v\n%s", err, out)
		}
		files, _ := filepath.Glob(filepath.Join(dir, "RPMS/*/real-1-1.*.rpm"))
		data, err := os.ReadFile(files[0])
		if err != nil {
			t.Fatal(err)
		}
		passwd := rpmrepo.RPM{Name: "setup", Files: []rpmrepo.File{rpmrepo.Regular("/etc/group", "root:x:0:\nreal:x:77:\n")}}.Build(t)
		got, content, err := lay(t, 1<<20, passwd, data)
		if err != nil {
			t.Fatalf("%s: %v", payload, err)
		}
		if h := find(got, "usr/bin/also"); h.Typeflag != tar.TypeReg || h.Mode != 0o4755 || content["usr/bin/also"] != "first" {
			t.Errorf("%s: also: %+v %q", payload, h, content["usr/bin/also"])
		}
		for _, name := range []string{"usr/bin/one", "usr/bin/two"} {
			if h := find(got, name); h.Typeflag != tar.TypeLink || h.Linkname != "usr/bin/also" {
				t.Errorf("%s: %s: %+v", payload, name, h)
			}
		}
		if h := find(got, "usr/bin/caps"); h.PAXRecords["SCHILY.xattr.security.capability"] != "\x01\x00\x00\x02\x00\x20\x00\x00"+strings.Repeat("\x00", 12) {
			t.Errorf("%s: caps: %q", payload, h.PAXRecords)
		}
		if h := find(got, "etc/real/conf"); h.Mode != 0o640 || h.Gid != 77 || content["etc/real/conf"] != "conf" {
			t.Errorf("%s: conf: %+v", payload, h)
		}
		if h := find(got, "etc/real/"); h.Mode != 0o2770 || h.Gid != 77 {
			t.Errorf("%s: directory: %+v", payload, h)
		}
		if h := find(got, "etc/real/link"); h.Linkname != "conf" {
			t.Errorf("%s: link: %+v", payload, h)
		}
		if h := find(got, "var/log/ghost"); h.Name != "" {
			t.Errorf("%s: the ghost is there", payload)
		}
	}
}

func TestLayers(t *testing.T) {
	fs := rpmrepo.RPM{Name: "filesystem", Files: []rpmrepo.File{rpmrepo.Dir("/usr/bin"), rpmrepo.Symlink("/bin", "usr/bin"), rpmrepo.Symlink("/run", "../../../var/run"), rpmrepo.Symlink("/abs", "/usr/bin")}}.Build(t)
	app := rpmrepo.RPM{Name: "app", Files: []rpmrepo.File{rpmrepo.Exec("/bin/app", "x"), rpmrepo.Exec("/abs/more", "y"), rpmrepo.Exec("/run/pid", "z"), rpmrepo.Dir("/bin")}}.Build(t)
	got, content, err := lay(t, 1<<20, fs, app)
	if err != nil {
		t.Fatal(err)
	}
	if content["usr/bin/app"] != "x" || content["usr/bin/more"] != "y" || content["var/run/pid"] != "z" || find(got, "bin").Typeflag != tar.TypeSymlink {
		t.Errorf("%v", content)
	}
}

// TestHostile: no package reaches out of the stage, or takes more than it should.
func TestHostile(t *testing.T) {
	file := func(path string) rpmrepo.File { return rpmrepo.Regular(path, "x") }
	type rpm = rpmrepo.RPM
	hard := func(path string, inode uint64, data string) rpmrepo.File {
		f := rpmrepo.Regular(path, data)
		f.Inode = inode
		return f
	}
	long := strings.Repeat("x", 300)
	for _, c := range []struct {
		name string
		rpms []rpm
		want string
	}{
		{"a way out", []rpm{{Name: "a", Files: []rpmrepo.File{file("/etc/passwd")}, Tags: rpmfile.Values{rpmfile.DirNames: []string{"/../../etc/"}}}}, "path with a detour"},
		{"a relative path", []rpm{{Name: "a", Files: []rpmrepo.File{file("/x")}, Tags: rpmfile.Values{rpmfile.DirNames: []string{"etc/"}}}}, "is no absolute path"},
		{"a long name", []rpm{{Name: "a", Files: []rpmrepo.File{file("/" + long)}}}, "longer than a file name can be"},
		{"through a file", []rpm{{Name: "a", Files: []rpmrepo.File{file("/x")}}, {Name: "b", Files: []rpmrepo.File{file("/x/y")}}}, "leads through a file"},
		{"links in a circle", []rpm{{Name: "a", Files: []rpmrepo.File{rpmrepo.Symlink("/a", "b"), rpmrepo.Symlink("/b", "a")}}, {Name: "b", Files: []rpmrepo.File{file("/a/x")}}}, "too many symbolic links"},
		{"a file where a directory is", []rpm{{Name: "a", Files: []rpmrepo.File{rpmrepo.Dir("/x"), file("/x/y")}}, {Name: "b", Files: []rpmrepo.File{file("/x")}}}, "is a directory of another package"},
		{"a whiteout", []rpm{{Name: "a", Files: []rpmrepo.File{file("/etc/.wh.passwd")}}}, "a name that layers keep for themselves"},
		{"an empty link", []rpm{{Name: "a", Files: []rpmrepo.File{rpmrepo.Symlink("/x", "")}}}, "symbolic link to an impossible path"},
		{"an unknown type", []rpm{{Name: "a", Files: []rpmrepo.File{{File: rpmfile.File{Path: "/x", Mode: 0o050644}}}}}, "unknown type"},
		{"a payload of other files", []rpm{{Name: "a", Files: []rpmrepo.File{file("/x")}, Payload: rpmfile.Cpio([]rpmfile.File{{Path: "/y", Mode: rpmfile.ModeRegular}}, func(int) []byte { return nil })}}, `its payload has "/y", which its header does not list`},
		{"a file twice", []rpm{{Name: "a", Files: []rpmrepo.File{file("/x")}, Payload: rpmfile.Cpio([]rpmfile.File{{Path: "/x", Mode: rpmfile.ModeRegular}, {Path: "/x", Mode: rpmfile.ModeRegular}}, func(int) []byte { return []byte("x") })}}, "is twice in the payload"},
		{"another size", []rpm{{Name: "a", Files: []rpmrepo.File{file("/x")}, Payload: rpmfile.Cpio([]rpmfile.File{{Path: "/x", Mode: rpmfile.ModeRegular}}, func(int) []byte { return []byte("xyz") })}}, "has 3 bytes, its header says 1"},
		{"a hard link to nothing", []rpm{{Name: "a", Files: []rpmrepo.File{hard("/x", 5, "x")}, Payload: rpmfile.Cpio([]rpmfile.File{{Path: "/x", Mode: rpmfile.ModeRegular}}, func(int) []byte { return nil })}}, "is a hard link to nothing"},
		{"a payload cut short", []rpm{{Name: "a", Compression: "identity", Files: []rpmrepo.File{file("/x")}, Payload: rpmfile.Cpio([]rpmfile.File{{Path: "/x", Mode: rpmfile.ModeRegular}}, func(int) []byte { return []byte("x") })[:115]}}, "it ends in its payload"},
		{"no payload", []rpm{{Name: "a", Files: []rpmrepo.File{file("/x")}, Payload: []byte("hello, this is no archive")}}, "no cpio archive"},
		{"a bomb", []rpm{{Name: "a", Files: []rpmrepo.File{rpmrepo.Regular("/x", strings.Repeat("\x00", 4<<20))}}}, "unpacks to more than 1 MiB"},
		{"an unknown compression", []rpm{{Name: "a", Compression: "lrzip", Files: []rpmrepo.File{file("/x")}}}, `compressed with "lrzip"`},
		{"unreadable capabilities", []rpm{{Name: "a", Files: []rpmrepo.File{{File: rpmfile.File{Path: "/x", Mode: rpmfile.ModeRegular, Caps: "cap_everything=ep"}}}}}, "cannot be read"},
		{"too few sizes", []rpm{{Name: "a", Files: []rpmrepo.File{file("/x"), file("/y")}, Tags: rpmfile.Values{rpmfile.FileSizes: []uint32{1}}}}, "lacks sizes"},
		{"a directory index that is none", []rpm{{Name: "a", Files: []rpmrepo.File{file("/x")}, Tags: rpmfile.Values{rpmfile.DirIndexes: []uint32{7}}}}, "is in no directory"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var files [][]byte
			for _, r := range c.rpms {
				files = append(files, r.Build(t))
			}
			_, _, err := lay(t, 1<<20, files...)
			if !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %q", err, c.want)
			}
		})
	}
}

func TestCapabilities(t *testing.T) {
	for in, want := range map[string]string{
		"":                            "",
		"=":                           "",
		"cap_net_raw=ep":              "\x01\x00\x00\x02\x00\x20\x00\x00" + strings.Repeat("\x00", 12),
		"cap_net_admin,cap_net_raw+p": "\x00\x00\x00\x02\x00\x30\x00\x00" + strings.Repeat("\x00", 12),
		"= cap_setuid,cap_setgid+ep":  "\x01\x00\x00\x02\xc0\x00\x00\x00" + strings.Repeat("\x00", 12),
		"cap_perfmon=i":               "\x00\x00\x00\x02" + strings.Repeat("\x00", 12) + "\x40\x00\x00\x00",
		"cap_chown=ep cap_chown-ep":   "",
		"cap_sys_admin,cap_bpf=p":     "\x00\x00\x00\x02\x00\x00\x20\x00\x00\x00\x00\x00\x80\x00\x00\x00\x00\x00\x00\x00",
	} {
		if got, err := capability(in); err != nil || got != want {
			t.Errorf("%q: %q, %v, want %q", in, got, err, want)
		}
	}
	for _, bad := range []string{"cap_x=ep", "cap_chown", "cap_chown=x"} {
		if got, err := capability(bad); err == nil {
			t.Errorf("%q: %q", bad, got)
		}
	}
}

// TestSignatureV3 is the kind that CentOS signs with.
func TestSignatureV3(t *testing.T) {
	key := rpmrepo.NewKey(t)
	content := []byte("a header")
	sig := key.SignV3(t, content)
	ring := openpgp.EntityList{key.Entity}
	if err := verify(ring, content, sig); err != nil {
		t.Error(err)
	}
	if err := verify(ring, []byte("b header"), sig); err == nil {
		t.Error("another content was taken")
	}
	if err := verify(openpgp.EntityList{rpmrepo.NewKey(t).Entity}, content, sig); err == nil || !strings.Contains(err.Error(), "is not in the keyring") {
		t.Errorf("another key: %v", err)
	}
	for i := range sig {
		b := bytes.Clone(sig)
		b[i] ^= 0x41
		if i != 19 && i != 20 && verify(ring, content, b) == nil && !(i >= 3+17 && i < 3+19) {
			t.Errorf("byte %d changed, and taken", i)
		}
		_ = verify(ring, content, sig[:i])
	}
}

func FuzzPackage(f *testing.F) {
	key := rpmrepo.NewKey(f)
	for _, c := range []string{"", "gzip", "identity"} {
		r := rpmrepo.RPM{Name: "a", Compression: c, Key: key, V3: true, Files: []rpmrepo.File{rpmrepo.Regular("/x", "x"), rpmrepo.Symlink("/y", "x"), rpmrepo.Dir("/z")}}
		f.Add(r.Build(f))
	}
	ring := openpgp.EntityList{key.Entity}
	f.Fuzz(func(t *testing.T, b []byte) {
		_, _, _ = Verify(b, Expect{"a", "1-1", "noarch"}, ring)
		_, _, _ = lay(t, 1<<20, b)
	})
}
