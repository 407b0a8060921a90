package apkrepo

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Images as old and new versions of docker save write them, with the database where old
// and new versions of Alpine have it: all give the same packages.
func TestAlpine(t *testing.T) {
	const db = "C:Q1AAAA/AAA+AAAAAAAAAAAAAAAAAA=\nP:busybox\nV:1.0-r1\nA:x86_64\nT:a shell\nt:1600000000\nk:5\nD:so:libc.musl\np:/bin/sh cmd:sh=1.0-r1\nF:bin\nR:busybox\na:0:0:755\nR:sh\nF:dev\n\n" +
		"C:Q1BBBBBBBBBBBBBBBBBBBBBBBBBBB=\nP:busybox-doc\nV:2\ni:busybox docs\nr:old\nF:\nF:usr\nF:usr/share\nR:again\n\n"
	scripts := func(sum string) []byte {
		return Tar(t, []Entry{Program("busybox-1.0-r1."+sum+".post-install", "#!/bin/sh\n"), Program("busybox-1.0-r1."+sum+".trigger", "#!/bin/sh -e\n")}, false, true)
	}
	layer := func(dir string, scripts Entry) []byte {
		return Tar(t, []Entry{
			Dir("./bin", 0o755), Program("./bin/busybox", "program"), Link("./bin/sh", "/bin/busybox"),
			HardLink("./usr/share/again", "./bin/busybox"), Dir("./"+dir, 0o755),
			File("./"+dir+"/installed", db), File("./"+dir+"/triggers", "Q1AAAA/AAA+AAAAAAAAAAAAAAAAAA= /bin /usr/bin\n"), scripts,
			File("./etc/ssl/cert.pem", "roots\n"),
		}, false, true)
	}
	old := layer("lib/apk/db", File("./lib/apk/db/scripts.tar", string(scripts("Q1AAAA/AAA+AAAAAAAAAAAAAAAAAA="))))
	modern := layer("usr/lib/apk/db", File("./usr/lib/apk/db/scripts.tar.gz", string(Gzip(t, scripts("Q1000000"))))) // in hex
	save := func(name string, layer []byte) []byte {
		return Tar(t, []Entry{File("manifest.json", `[{"Config":"c.json","Layers":["`+name+`"]}]`), File("c.json", "{}"), File(name, string(layer))}, false, true)
	}
	for name, data := range map[string][]byte{
		"of old":              save("0123/layer.tar", old),
		"of old, compressed":  Gzip(t, save("0123/layer.tar", old)),
		"of today":            save("blobs/sha256/0123", Gzip(t, modern)),
		"of today, old layer": save("blobs/sha256/0123", old),
	} {
		got := Alpine(named(t, data))
		if len(got) != 2 {
			t.Fatalf("%s: %+v", name, got)
		}
		b, d := got[0], got[1]
		if b.Name != "busybox" || b.Version != "1.0-r1" || b.Arch != "x86_64" || b.Desc != "a shell" || b.Built.Unix() != 1_600_000_000 || b.ProviderPriority != 5 ||
			!slices.Equal(b.Provides, []string{"/bin/sh", "cmd:sh=1.0-r1"}) || !slices.Equal(b.Triggers, []string{"/bin", "/usr/bin"}) ||
			len(b.Scripts) != 2 || b.Scripts["trigger"] != "#!/bin/sh -e\n" {
			t.Errorf("%s: %+v", name, b)
		}
		var files []string
		for _, e := range append(b.Files, d.Files...) {
			files = append(files, e.Name+"="+string(e.Data)+e.Linkname)
		}
		if s := strings.Join(files, " "); s != "bin= bin/busybox=program bin/sh=/bin/busybox dev= usr= usr/share= usr/share/again=program" {
			t.Errorf("%s: %s", name, s)
		}
		if d.Name != "busybox-doc" || len(d.Scripts) > 0 || !slices.Equal(d.InstallIf, []string{"busybox", "docs"}) || !slices.Equal(d.Replaces, []string{"old"}) {
			t.Errorf("%s: %+v", name, d)
		}
		// Today's names over it.
		all := Release(t, "3.24")
		if n := len(all); n != 5 || all[2].Version != "3.24.0-r0" || string(all[3].Files[0].Data) != "roots\n" {
			t.Errorf("%s: %d packages", name, n)
		}
	}
	for says, data := range map[string][]byte{
		"manifest.json":            Tar(t, []Entry{File("x", "")}, false, true),
		"not one image with one":   Tar(t, []Entry{File("manifest.json", `[{"Layers":["a","b"]}]`)}, false, true),
		"not an image of Alpine":   save("layer.tar", Tar(t, []Entry{File("etc/debian_version", "12\n")}, false, true)),
		"unexpected EOF":           Gzip(t, save("0123/layer.tar", old))[:200],
		"archive/tar: invalid tar": []byte(strings.Repeat("no image ", 200)),
	} {
		if _, err := readImage(data); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("got %v, want %s", err, says)
		}
	}
}

// named is the test in which an image is the one that the run names.
func named(t *testing.T, data []byte) testing.TB {
	t.Helper()
	path := filepath.Join(t.TempDir(), "image")
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
	t.Setenv(ImageVariable, path)
	forget := func() {
		image.Lock()
		image.root = nil
		image.Unlock()
	}
	forget()
	t.Cleanup(forget)
	return t
}
