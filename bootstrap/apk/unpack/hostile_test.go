package unpack_test

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cfbuild/cfbuild/bootstrap/apk/index"
	"github.com/cfbuild/cfbuild/bootstrap/apk/unpack"
	"github.com/cfbuild/cfbuild/internal/testrepo/apkrepo"
)

var epoch = time.Unix(1_700_000_000, 0)

var (
	once sync.Once
	key  *apkrepo.Key // making one takes a while
)

// packages builds packages, and gives them as an index has them with their files.
func packages(t testing.TB, pkgs ...apkrepo.Pkg) ([]*index.Package, []string) {
	t.Helper()
	once.Do(func() { key = apkrepo.NewKey(t, "k.rsa.pub") })
	repo := apkrepo.Repo{Key: key, Pkgs: pkgs}
	dir := t.TempDir()
	built := repo.Write(t, dir)
	keys, err := index.KeysFor("test", "", key.Keyring(t))
	if err != nil {
		t.Fatal(err)
	}
	idx, err := index.Read(repo.Index(t, built), keys)
	if err != nil {
		t.Fatal(err)
	}
	var paths []string
	for _, b := range built {
		paths = append(paths, filepath.Join(dir, repo.Dir(), b.File))
	}
	return idx.Packages, paths
}

// layer unpacks packages into a tar, and gives its entries by name.
func layer(t testing.TB, o unpack.Options, pkgs ...apkrepo.Pkg) (map[string]*tar.Header, map[string]string, unpack.Summary, error) {
	t.Helper()
	list, paths := packages(t, pkgs...)
	o.Arch, o.Epoch, o.SpoolDir = "x86_64", epoch, t.TempDir()
	u, err := unpack.New(o)
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	for i, p := range list {
		if err := u.Add(context.Background(), p, paths[i]); err != nil {
			return nil, nil, unpack.Summary{}, err
		}
	}
	var b bytes.Buffer
	sum, err := u.Finish(context.Background(), &b)
	if err != nil {
		return nil, nil, sum, err
	}
	heads, data := map[string]*tar.Header{}, map[string]string{}
	for r := tar.NewReader(&b); ; {
		h, err := r.Next()
		if err == io.EOF {
			return heads, data, sum, nil
		}
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		name := strings.TrimSuffix(h.Name, "/")
		heads[name], data[name] = h, string(body)
	}
}

// What no package should hold is refused, and names the package and the path.
func TestHostile(t *testing.T) {
	file, dir := apkrepo.File, apkrepo.Dir
	lying := file("etc/x", "data")
	lying.PAXRecords = map[string]string{"APK-TOOLS.checksum.SHA1": strings.Repeat("00", 20)}
	strange := file("etc/x", "")
	strange.Typeflag = 'Z'
	for _, c := range []struct {
		name  string
		files []apkrepo.Entry
		says  string
	}{
		{"absolute", []apkrepo.Entry{file("/etc/x", "")}, "not a clean relative path"},
		{"climbing", []apkrepo.Entry{dir("etc", 0o755), file("etc/../../x", "")}, "not a clean relative path"},
		{"climbing at once", []apkrepo.Entry{file("../x", "")}, "not a clean relative path"},
		{"double slash", []apkrepo.Entry{file("etc//x", "")}, "not a clean relative path"},
		{"control character", []apkrepo.Entry{file("etc/x\ny", "")}, "control character"},
		{"long name", []apkrepo.Entry{file("etc/"+strings.Repeat("x", 256), "")}, "a name is too long"},
		{"hard link out of the package", []apkrepo.Entry{apkrepo.HardLink("etc/x", "etc/shadow")}, "no file of the package before it"},
		{"hard link to a directory", []apkrepo.Entry{dir("etc", 0o755), apkrepo.HardLink("x", "etc")}, "no file of the package before it"},
		{"link to nowhere", []apkrepo.Entry{apkrepo.Link("etc/x", "")}, "a symbolic link to nowhere"},
		{"file over a directory", []apkrepo.Entry{dir("etc", 0o755), file("etc", "")}, "there is a directory of that name"},
		{"directory below a file", []apkrepo.Entry{file("etc", ""), file("etc/x", "")}, "is no directory"},
		{"links in a circle", []apkrepo.Entry{apkrepo.Link("a", "b"), apkrepo.Link("b", "a"), file("a/x", "")}, "too many symbolic links"},
		{"a checksum that lies", []apkrepo.Entry{lying}, "not what its checksum says"},
		{"unknown type", []apkrepo.Entry{strange}, "unknown type"},
	} {
		_, _, _, err := layer(t, unpack.Options{}, apkrepo.Pkg{Name: "evil", Raw: c.name != "a checksum that lies", Files: c.files})
		var e *unpack.RefusedError
		if !errors.As(err, &e) || !errors.Is(err, unpack.ErrRefused) || !strings.Contains(err.Error(), c.says) || !strings.HasPrefix(err.Error(), "package evil=1.0-r0: ") || e.Hint() == "" {
			t.Errorf("%s: got %v", c.name, err)
		}
	}
}

// A path through a symbolic link stays in the root.
func TestLinksStayInside(t *testing.T) {
	heads, data, _, err := layer(t, unpack.Options{},
		apkrepo.Pkg{Name: "a", Raw: true, Files: []apkrepo.Entry{apkrepo.Link("lib", "/usr/lib"), apkrepo.Link("up", "../../../etc")}},
		apkrepo.Pkg{Name: "b", Raw: true, Files: []apkrepo.Entry{apkrepo.Dir("lib", 0o755), apkrepo.File("lib/x", "in lib"), apkrepo.File("up/y", "in etc")}})
	if err != nil {
		t.Fatal(err)
	}
	if data["usr/lib/x"] != "in lib" || data["etc/y"] != "in etc" || heads["lib"].Typeflag != tar.TypeSymlink {
		t.Errorf("%v", data)
	}
}

// Two packages with one file.
func TestOverwrite(t *testing.T) {
	one := func(name, origin string, replaces ...string) apkrepo.Pkg {
		return apkrepo.Pkg{Name: name, Origin: origin, Replaces: replaces, Files: []apkrepo.Entry{apkrepo.File("etc/x", name)}}
	}
	strong := one("b", "", "a")
	strong.ReplacesPriority = 5
	first := one("a", "", "b")
	first.ReplacesPriority = 9
	for _, c := range []struct {
		name string
		pkgs []apkrepo.Pkg
		want string // "": refused
	}{
		{"nobody replaces", []apkrepo.Pkg{one("a", ""), one("b", "")}, ""},
		{"one origin", []apkrepo.Pkg{one("a", "o"), one("b", "o")}, "b"},
		{"the second replaces", []apkrepo.Pkg{one("a", ""), one("b", "", "a")}, "b"},
		{"another version is replaced", []apkrepo.Pkg{one("a", ""), one("b", "", "a<1")}, ""},
		{"the first replaces", []apkrepo.Pkg{one("a", "", "b"), one("b", "")}, "a"},
		{"both, the first with more priority", []apkrepo.Pkg{first, strong}, "a"},
	} {
		_, data, _, err := layer(t, unpack.Options{}, c.pkgs...)
		var e *unpack.ConflictError
		if c.want == "" {
			if !errors.As(err, &e) || e.Path != "/etc/x" || e.First != "a=1.0-r0" || e.Hint() == "" {
				t.Errorf("%s: got %v", c.name, err)
			}
			continue
		}
		if err != nil || data["etc/x"] != c.want {
			t.Errorf("%s: %v, %q", c.name, err, data["etc/x"])
		}
		// The database has the file once.
		if n := strings.Count(data["lib/apk/db/installed"], "R:x\n"); n != 1 {
			t.Errorf("%s: the database has it %d times", c.name, n)
		}
	}
}

// Time stamps are bounded, and what is not a package's is the epoch's.
func TestTimes(t *testing.T) {
	young := apkrepo.File("etc/young", "")
	young.ModTime = epoch.Add(time.Hour)
	heads, _, _, err := layer(t, unpack.Options{}, apkrepo.Pkg{Name: "a", Files: []apkrepo.Entry{young, apkrepo.File("etc/old", "")}})
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]time.Time{"etc/young": epoch, "etc/old": apkrepo.Stamp, "lib/apk/db/installed": epoch, ".": epoch} {
		if h := heads[name]; h == nil || !h.ModTime.Equal(want) {
			t.Errorf("%s: %v, want %v", name, h, want)
		}
	}
}

// Which database there is depends on the root's own apk.
func TestVersion3(t *testing.T) {
	p := apkrepo.Pkg{Name: "a", Scripts: map[string]string{"post-install": "#!/bin/sh\n"}, Files: []apkrepo.Entry{apkrepo.File("etc/.keep_x", "")}}
	for _, v3 := range []bool{false, true} {
		heads, _, sum, err := layer(t, unpack.Options{Version3: v3}, p)
		if err != nil {
			t.Fatal(err)
		}
		if (heads["lib/apk/db/scripts.tar.gz"] != nil) != v3 || (heads["lib/apk/db/scripts.tar"] != nil) == v3 || (heads["etc/.keep_x"] != nil) != v3 {
			t.Errorf("version 3 %v: %v", v3, heads)
		}
		if fmt.Sprint(sum.Scripts) != "[{/lib/apk/exec/a-1.0-r0.post-install a 1.0-r0 post-install [1.0-r0]}]" {
			t.Errorf("%v", sum.Scripts)
		}
	}
}

// A file with capabilities whose owner only a script makes cannot be kept.
func TestCapabilitiesOfLateOwners(t *testing.T) {
	e := apkrepo.Xattr(apkrepo.Owned(apkrepo.Program("usr/bin/x", ""), "late", 70, "late", 70), "security.capability", "\x01\x00\x00\x02")
	p := apkrepo.Pkg{Name: "a", Files: []apkrepo.Entry{e}, Scripts: map[string]string{"pre-install": "#!/bin/sh\n"}}
	if _, _, _, err := layer(t, unpack.Options{}, p); err == nil || !strings.Contains(err.Error(), `package a=1.0-r0: "/usr/bin/x": a file with capabilities`) {
		t.Errorf("got %v", err)
	}
	p.Scripts = nil // nobody can make it
	if heads, _, _, err := layer(t, unpack.Options{}, p); err != nil || heads["usr/bin/x"].Uid != 70 {
		t.Errorf("%v, %v", err, heads["usr/bin/x"])
	}
}

// Whatever is cut off or changed in a package is refused, never a panic.
func TestDamaged(t *testing.T) {
	list, paths := packages(t, apkrepo.Pkg{Name: "a", Scripts: map[string]string{"post-install": "#!/bin/sh\n"}, Files: []apkrepo.Entry{apkrepo.File("etc/x", "data")}})
	whole, err := os.ReadFile(paths[0])
	if err != nil {
		t.Fatal(err)
	}
	for i := range whole {
		b := bytes.Clone(whole)
		b[i] ^= 0x40
		c, _, err := list[0].Open(bytes.NewReader(b), int64(len(b)))
		// The signature is not what is trusted: changes of its content do not matter.
		if err == nil && c == nil {
			t.Fatalf("byte %d: neither", i)
		}
		if _, _, err := list[0].Open(bytes.NewReader(whole[:i]), int64(i)); err == nil {
			t.Errorf("cut to %d bytes it is taken", i)
		}
		q := *list[0]
		q.Size = int64(i)
		if _, _, err := q.Open(bytes.NewReader(whole[:i]), int64(i)); err == nil {
			t.Errorf("cut to %d bytes, as the index says, it is taken", i)
		}
	}
}
