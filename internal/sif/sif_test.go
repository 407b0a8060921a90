package sif

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cfbuild/cfbuild/internal/rootfs"
	"github.com/cfbuild/cfbuild/internal/squashfs"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

func twoLayers(t testing.TB) [][]byte {
	su, ping := reg("bin/su", "su"), reg("bin/ping", "ping")
	su.Mode, su.Uid, su.Gid = 0o4755, 5, 70000
	ping.PAXRecords = map[string]string{"SCHILY.xattr.security.capability": "\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00",
		"SCHILY.xattr.system.posix_acl_access": "\x02"}
	secret := reg("etc/secret", strings.Repeat("not to be seen ", 20000))
	return [][]byte{
		archive(t, []entry{
			dir("bin"), su, ping, dir("etc"), secret, dir("var"), dir("var/cache"), reg("var/cache/old", "old"), reg("var/kept", "kept"),
			{Header: tar.Header{Name: "bin/su2", Typeflag: tar.TypeLink, Linkname: "bin/su"}},
			{Header: tar.Header{Name: "null", Typeflag: tar.TypeChar, Mode: 0o666, Devmajor: 1, Devminor: 3, ModTime: stamp}},
			{Header: tar.Header{Name: "etc/resolv.conf", Typeflag: tar.TypeSymlink, Linkname: "../run/resolv.conf", ModTime: stamp}},
			reg("etc/hosts", "127.0.0.1 builder"),
		}),
		archive(t, []entry{
			reg("etc/.wh.secret", ""), reg("var/cache/.wh..wh..opq", ""), reg("var/cache/new", "new"), reg("bin/.wh.su", ""), reg("var/kept", "replaced"),
		}),
	}
}

func tree(t testing.TB, path string) map[string]*squashfs.Node {
	t.Helper()
	i, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer i.Close()
	q, err := i.FS()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]*squashfs.Node{}
	if err := q.Walk(func(n *squashfs.Node) error { out[n.Path] = n; return nil }); err != nil {
		t.Fatal(err)
	}
	return out
}

func TestLayersAreFlattened(t *testing.T) {
	l, d := image(t, v1.Image{}, twoLayers(t)...)
	path, r := converted(t, l, d, Options{Name: "test"})
	got := tree(t, path)
	for _, gone := range []string{"etc/secret", "var/cache/old", "bin/su", "etc/.wh.secret", "var/cache/.wh..wh..opq"} {
		if got[gone] != nil {
			t.Errorf("%s is there", gone)
		}
	}
	// The file lives on under its other name.
	if n := got["bin/su2"]; n == nil || n.Mode != fs.ModeSetuid|0o755 || n.UID != 5 || n.GID != 70000 || n.Size != 2 || n.Links != 1 {
		t.Errorf("bin/su2: %+v", n)
	}
	if n := got["bin/ping"]; n == nil || len(n.Xattrs) != 1 || len(n.Xattrs["security.capability"]) != 20 {
		t.Errorf("bin/ping: %+v", n)
	}
	if n := got["null"]; n == nil || n.Mode&fs.ModeCharDevice == 0 || n.Major != 1 || n.Minor != 3 {
		t.Errorf("null: %+v", n)
	}
	if n := got["etc/resolv.conf"]; n == nil || n.Target != "../run/resolv.conf" {
		t.Errorf("etc/resolv.conf: %+v", n)
	}
	if n := got["etc/hosts"]; n == nil || n.Size != 0 {
		t.Errorf("etc/hosts: %+v", n)
	}
	if n := got["singularity"]; n == nil || n.Target != ".singularity.d/runscript" {
		t.Errorf("singularity: %+v", n)
	}
	if len(r.Dropped) != 1 || r.Dropped[0] != "/bin/ping: system.posix_acl_access" {
		t.Errorf("dropped %q", r.Dropped)
	}
	if r.Entries != len(got)-1 { // the root has no entry in these layers
		t.Errorf("%d entries, %d in the file", r.Entries, len(got))
	}
	i, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer i.Close()
	q, _ := i.FS()
	if b, err := q.ReadFile("var/kept", 100); string(b) != "replaced" {
		t.Errorf("var/kept: %q, %v", b, err)
	}
	// Of what a layer deleted nothing may be in the file, compressed or not.
	none, _ := converted(t, l, d, Options{Compression: squashfs.LZ4})
	raw, err := os.ReadFile(none)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(raw, []byte("not to be seen")) {
		t.Error("the content of a deleted file is in the SIF")
	}
	if st, err := i.Verify(context.Background()); err != nil || st.Entries != len(got) {
		t.Errorf("%+v, %v", st, err)
	}
}

// Layers that delete and replace files are read once; a second time only when a hard
// link keeps what they hide.
func TestLayersAreReadOnce(t *testing.T) {
	base := []entry{reg("a/gone", "1"), reg("a/kept", "2"), reg("b/old", "3"), reg("c", "4"), reg("etc/hosts", "5"), reg("d", "6")}
	top := []entry{reg("a/.wh.gone", ""), reg("b/.wh..wh..opq", ""), reg("b/new", "7"), reg("c", "8"), reg("d/e", "9")}
	link := entry{Header: tar.Header{Name: "other", Typeflag: tar.TypeLink, Linkname: "a/gone"}}
	for want, lower := range map[bool][]entry{true: base, false: append(base[:len(base):len(base)], link)} {
		l, d := image(t, v1.Image{}, archive(t, lower), archive(t, top))
		m, c, err := l.Image(d)
		if err != nil {
			t.Fatal(err)
		}
		add, err := added(c, d, Options{}, true)
		if err != nil {
			t.Fatal(err)
		}
		out, err := os.Create(filepath.Join(t.TempDir(), "out"))
		if err != nil {
			t.Fatal(err)
		}
		defer out.Close()
		b := builder{layout: l, manifest: d, m: m, config: c, out: out, add: add}
		_, exact, err := b.write(context.Background(), b.foreseen(context.Background()))
		if err != nil {
			t.Fatal(err)
		}
		b.w.Abort()
		if exact != want {
			t.Errorf("all that is in the image and nothing else was taken in: %v, want %v", exact, want)
		}
	}
}

// The names of a layer are read before the layer is verified: what is wrong with it is
// still told as of any other.
func TestCorruptUpperLayer(t *testing.T) {
	l, d := image(t, v1.Image{}, twoLayers(t)...)
	m, _, err := l.Image(d)
	if err != nil {
		t.Fatal(err)
	}
	blob := l.BlobPath(m.Layers[1].Digest)
	whole, err := os.ReadFile(blob)
	if err != nil {
		t.Fatal(err)
	}
	for name, bad := range map[string][]byte{"cut": whole[:len(whole)/2], "empty": nil, "no gzip": []byte("no archive")} {
		if err := os.WriteFile(blob, bad, 0o644); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(t.TempDir(), "image.sif")
		_, err := Convert(context.Background(), l, d, path, Options{})
		if e, ok := errors.AsType[*rootfs.LayerError](err); !ok || e.Index != 1 || !errors.Is(err, rootfs.ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
		if left, err := os.ReadDir(filepath.Dir(path)); err != nil || len(left) > 0 {
			t.Errorf("%s: left %v, %v", name, left, err)
		}
	}
}

// A name that is twice in one layer, and a file of ours that has another name.
func TestHiddenInOneLayer(t *testing.T) {
	l, d := image(t, v1.Image{}, archive(t, []entry{
		reg("twice", strings.Repeat("not to be seen ", 20000)), reg("twice", "last"), reg("etc/hosts", "hosts"),
		{Header: tar.Header{Name: "other", Typeflag: tar.TypeLink, Linkname: "etc/hosts"}},
	}))
	path, _ := converted(t, l, d, Options{Compression: squashfs.LZ4})
	raw, _ := os.ReadFile(path)
	if bytes.Contains(raw, []byte("not to be seen")) {
		t.Error("hidden content is in the SIF")
	}
	got := tree(t, path)
	if got["twice"].Size != 4 || got["other"].Size != 5 || got["etc/hosts"].Size != 0 {
		t.Errorf("%+v, %+v, %+v", got["twice"], got["other"], got["etc/hosts"])
	}
}

func TestObjects(t *testing.T) {
	c := v1.Image{Platform: v1.Platform{Architecture: "s390x"}, Config: v1.ImageConfig{Env: []string{"PATH=/bin", "A=b"}, Labels: map[string]string{"k": "v"}, Cmd: []string{"sh"}}}
	l, d := image(t, c, twoLayers(t)...)
	path, r := converted(t, l, d, Options{Name: "test", Test: "#!/bin/sh\ntrue\n", Help: "help yourself\n"})
	i, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer i.Close()
	if i.ID != r.ID || i.Arch != "s390x" || r.Arch != "s390x" || !i.Created.Equal(stamp) || len(i.Objects) != 4 {
		t.Errorf("%+v, %+v", i, r)
	}
	p := i.Objects[3]
	if p.FileSystem != "Squashfs" || p.Arch != "s390x" || p.Offset%4096 != 0 || p.Group != 1 {
		t.Errorf("%+v", p)
	}
	a, err := i.Attributes()
	if err != nil {
		t.Fatal(err)
	}
	labels := a["labels"].(map[string]any)
	if labels["k"] != "v" || labels["org.label-schema.build-arch"] != "s390x" || labels["org.label-schema.build-date"] != "Tuesday_14_November_2023_22:13:20_UTC" {
		t.Errorf("%v", labels)
	}
	if a["helpfile"] != "help yourself" || a["test"] != "#!/bin/sh\ntrue" || !strings.Contains(a["deffile"].(string), "from: test@"+d.Digest.String()) {
		t.Errorf("%v", a)
	}
	raw, err := i.Data(configName)
	var back v1.ImageConfig
	if err != nil || json.Unmarshal(raw, &back) != nil || back.Cmd[0] != "sh" {
		t.Errorf("%s, %v", raw, err)
	}
	if st, _ := os.Stat(path); st.Mode().Perm() != 0o755 || st.Size() != r.Size {
		t.Errorf("%v, %d bytes", st.Mode(), st.Size())
	}
}

func TestSameBytes(t *testing.T) {
	l, d := image(t, v1.Image{Config: v1.ImageConfig{Labels: map[string]string{"a": "1", "b": "2", "c": "3"}}}, twoLayers(t)...)
	var first []byte
	for i, o := range []Options{{Workers: 1}, {Workers: 8}, {}} {
		path, _ := converted(t, l, d, o)
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			first = b
		} else if !bytes.Equal(b, first) {
			t.Errorf("%+v writes other bytes", o)
		}
	}
}

func TestRefusedImages(t *testing.T) {
	convert := func(c v1.Image, layers ...[]byte) error {
		lay, d := image(t, c, layers...)
		out := t.TempDir()
		_, err := Convert(context.Background(), lay, d, filepath.Join(out, "x.sif"), Options{})
		if left, _ := os.ReadDir(out); len(left) != 0 {
			t.Errorf("%v left behind", left)
		}
		return err
	}
	if err := convert(v1.Image{Platform: v1.Platform{Architecture: "vax"}}); !errors.Is(err, ErrArchitecture) || !strings.Contains(err.Error(), `"vax"`) {
		t.Errorf("%v", err)
	}
	if err := convert(v1.Image{Platform: v1.Platform{OS: "windows"}}); !errors.Is(err, ErrNotLinux) {
		t.Errorf("%v", err)
	}
	if err := convert(v1.Image{}, archive(t, []entry{reg("../../etc/passwd", "x")})); !errors.Is(err, rootfs.ErrHostile) {
		t.Errorf("%v", err)
	}
	l, d := image(t, v1.Image{}, archive(t, []entry{reg("a", strings.Repeat("a", 9000))}))
	m, _, err := l.Image(d)
	if err != nil {
		t.Fatal(err)
	}
	blob := l.BlobPath(m.Layers[0].Digest)
	raw, _ := os.ReadFile(blob)
	raw[len(raw)-6] ^= 1
	if err := os.WriteFile(blob, raw, 0o644); err != nil {
		t.Fatal(err)
	}
	out := t.TempDir()
	if _, err := Convert(context.Background(), l, d, filepath.Join(out, "x.sif"), Options{}); !errors.Is(err, rootfs.ErrCorrupt) {
		t.Errorf("%v", err)
	}
	if left, _ := os.ReadDir(out); len(left) != 0 {
		t.Errorf("%v left behind", left)
	}
	l, d = image(t, v1.Image{})
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Convert(ctx, l, d, filepath.Join(out, "x.sif"), Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	if _, err := Convert(context.Background(), l, d, out, Options{}); err == nil || !strings.Contains(err.Error(), "not a file") {
		t.Errorf("%v", err)
	}
}

func TestDamagedFiles(t *testing.T) {
	l, d := image(t, v1.Image{}, twoLayers(t)...)
	path, _ := converted(t, l, d, Options{})
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	check := func(b []byte) error {
		p := filepath.Join(t.TempDir(), "x.sif")
		if err := os.WriteFile(p, b, 0o644); err != nil {
			t.Fatal(err)
		}
		i, err := Open(p)
		if err != nil {
			return err
		}
		defer i.Close()
		_, err = i.Verify(context.Background())
		return err
	}
	if err := check(whole); err != nil {
		t.Fatal(err)
	}
	for _, b := range [][]byte{nil, []byte("text"), whole[:100], bytes.Repeat([]byte("x"), 40000)} {
		if err := check(b); !errors.Is(err, ErrNotSIF) {
			t.Errorf("%d bytes: %v", len(b), err)
		}
	}
	var oe *ObjectError
	if err := check(whole[:len(whole)-5000]); !errors.As(err, &oe) || oe.ID != 4 || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("cut: %v", err)
	}
	i, _ := Open(path)
	defer i.Close()
	for _, o := range i.Objects[1:] {
		b := bytes.Clone(whole)
		copy(b[o.Offset+100:], "damaged")
		if o.Size < 100 {
			b[o.Offset] = 'x'
		}
		err := check(b)
		if errors.Is(err, ErrChanged) && o.ID < 4 {
			continue // still JSON
		}
		if !errors.As(err, &oe) || oe.ID != o.ID {
			t.Errorf("object %d: %v", o.ID, err)
		}
	}
}

// The run script, under a real shell.
func TestRunscript(t *testing.T) {
	run := func(entrypoint, cmd []string, env string, args ...string) string {
		t.Helper()
		p := filepath.Join(t.TempDir(), "runscript")
		if err := os.WriteFile(p, []byte(runscript(entrypoint, cmd, env != "NOSHELL=")), 0o755); err != nil {
			t.Fatal(err)
		}
		c := exec.Command("/bin/sh", append([]string{p}, args...)...)
		c.Env = append(os.Environ(), "V=value", env)
		c.Stdin = strings.NewReader("echo from a shell")
		out, err := c.CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return strings.TrimSuffix(string(out), "\n")
	}
	print := []string{"printf", "<%s>"}
	for _, c := range []struct {
		got, want string
	}{
		{run(print, []string{"a b", "$V", `'"\`}, "X="), `<a b><$V><'"\>`},
		{run(print, []string{"default"}, "X=", "one", "two words"), "<one><two words>"},
		{run(print, nil, "X=", "$V"), "<value>"},
		{run(print, nil, "APPTAINER_NO_EVAL=1", "$V", `"`), `<$V><">`},
		{run(nil, []string{"printf", "<%s>", "cmd"}, "X="), "<cmd>"},
		{run(nil, []string{"printf", "cmd"}, "X=", "echo", "instead"), "instead"},
		{run(nil, nil, "X="), "from a shell"},
		{run(nil, nil, "X=", "echo", "args"), "args"},
		{run(print, []string{"same"}, "NOSHELL="), "<same>"},
	} {
		if c.got != c.want {
			t.Errorf("%q, want %q", c.got, c.want)
		}
	}
}

func TestEnvironment(t *testing.T) {
	p := filepath.Join(t.TempDir(), "env.sh")
	env := environment([]string{"PATH=/image", "A=first", `A=a 'b' "c" $d`, "SET=image", "not.a.name=x", "EMPTY=", "ALONE"})
	if err := os.WriteFile(p, []byte(env), 0o644); err != nil {
		t.Fatal(err)
	}
	c := exec.Command("/bin/sh", "-c", `. "$0"; echo "$PATH|$A|$SET|$EMPTY|$ALONE"`, p)
	c.Env = []string{"PATH=/bin:/usr/bin", "SET=caller"}
	out, err := c.CombinedOutput()
	if want := `/image|a 'b' "c" $d|caller||` + "\n"; err != nil || string(out) != want {
		t.Errorf("%q, %v; want %q", out, err, want)
	}
}
