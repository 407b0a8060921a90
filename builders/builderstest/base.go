package builderstest

import (
	"archive/tar"
	"compress/gzip"
	"debug/elf"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/cfbuild/cfbuild/internal/oci"
	"github.com/cfbuild/cfbuild/internal/testneed"
	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/opencontainers/go-digest"
	specs "github.com/opencontainers/image-spec/specs-go"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// member is one member of a base layer.
type member struct {
	name string // with a slash at the end: a directory
	mode int64
	uid  int
	data string
	link string // symbolic
	same string // hard
	dev  [2]int64
	attr map[string]string
}

// oldTime is when everything in base images was changed last.
var oldTime = time.Date(2020, 1, 2, 3, 4, 5, 0, time.UTC)

// makeBase writes an image of one layer as an OCI layout.
func makeBase(t testing.TB, p pipelines.Platform, config v1.ImageConfig, members []member) pipelines.Layout {
	t.Helper()
	l, err := oci.Create(t.TempDir())
	check(t, err)
	w, err := l.NewBlob()
	check(t, err)
	defer w.Abort()
	sum := digest.SHA256.Digester()
	z := gzip.NewWriter(w)
	tw := tar.NewWriter(io.MultiWriter(z, sum.Hash()))
	for _, m := range members {
		h := &tar.Header{Name: m.name, Typeflag: tar.TypeReg, Mode: m.mode, Uid: m.uid, Gid: m.uid, Size: int64(len(m.data)), ModTime: oldTime}
		switch {
		case strings.HasSuffix(m.name, "/"):
			h.Typeflag = tar.TypeDir
		case m.link != "":
			h.Typeflag, h.Linkname, h.Mode = tar.TypeSymlink, m.link, 0o777
		case m.same != "":
			h.Typeflag, h.Linkname = tar.TypeLink, m.same
		case m.dev[0] != 0:
			h.Typeflag, h.Devmajor, h.Devminor = tar.TypeChar, m.dev[0], m.dev[1]
		}
		for k, v := range m.attr {
			h.PAXRecords = map[string]string{"SCHILY.xattr." + k: v}
		}
		check(t, tw.WriteHeader(h))
		_, err := io.WriteString(tw, m.data)
		check(t, err)
	}
	check(t, tw.Close())
	check(t, z.Close())
	d, n, err := w.Commit()
	check(t, err)
	cfg, err := l.PutJSON(v1.MediaTypeImageConfig, v1.Image{Platform: oci.ToPlatform(p), Config: config, Created: &oldTime,
		RootFS:  v1.RootFS{Type: "layers", DiffIDs: []digest.Digest{sum.Digest()}},
		History: []v1.History{{Created: &oldTime, CreatedBy: "base"}}})
	check(t, err)
	man, err := l.PutJSON(v1.MediaTypeImageManifest, v1.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: v1.MediaTypeImageManifest,
		Config: cfg, Layers: []v1.Descriptor{{MediaType: v1.MediaTypeImageLayerGzip, Digest: d, Size: n}}})
	check(t, err)
	plat := oci.ToPlatform(p)
	man.Platform = &plat
	check(t, l.SetIndex(v1.Index{Manifests: []v1.Descriptor{man}}))
	return pipelines.Layout{Path: l.Dir(), Digest: man.Digest.String()}
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// netBindService is security.capability with cap_net_bind_service=ep, revision 2.
const netBindService = "\x01\x00\x00\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"

// busyboxBase is a small system with what is hard to keep: owners, setuid, links,
// attributes, a device.
func busyboxBase(t testing.TB, p pipelines.Platform) pipelines.Layout {
	t.Helper()
	bin := testneed.Program(t, "busybox")
	f, err := elf.Open(bin)
	check(t, err)
	defer f.Close()
	for _, s := range f.Progs {
		if s.Type == elf.PT_INTERP {
			testneed.Skip(t, "busybox is not static (package busybox-static)")
		}
	}
	data, err := os.ReadFile(bin)
	check(t, err)
	list, err := exec.Command(bin, "--list").Output()
	check(t, err)
	members := []member{
		{name: "./", mode: 0o755},
		{name: "bin/", mode: 0o755},
		{name: "bin/busybox", mode: 0o755, data: string(data)},
		{name: "dev/", mode: 0o755},
		{name: "dev/console", mode: 0o600, dev: [2]int64{5, 1}},
		{name: "etc/", mode: 0o755},
		{name: "etc/passwd", mode: 0o644, data: "root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000::/home/user:/bin/sh\n"},
		{name: "etc/group", mode: 0o644, data: "root:x:0:\nuser:x:1000:\nextra:x:1234:user\n"},
		{name: "etc/conf", mode: 0o640, uid: 3, data: "old\n"},
		{name: "home/", mode: 0o755},
		{name: "home/user/", mode: 0o750, uid: 1000, data: ""},
		{name: "opt/", mode: 0o755},
		{name: "opt/suid", mode: 0o4755, data: "suid"},
		{name: "opt/sgid/", mode: 0o2775, uid: 7},
		{name: "opt/one", mode: 0o644, data: "shared"},
		{name: "opt/two", mode: 0o644, same: "opt/one"},
		{name: "opt/link", link: "one"},
		{name: "opt/dirlink", link: "/srv"},
		{name: "opt/attr", mode: 0o644, data: "attr", attr: map[string]string{"user.note": "hello"}},
		{name: "opt/cap", mode: 0o755, data: "cap", attr: map[string]string{"security.capability": netBindService}},
		{name: "srv/", mode: 0o755},
		{name: "srv/data", mode: 0o600, uid: 9, data: "data"},
		{name: "srv/deep/", mode: 0o755},
		{name: "srv/deep/er/", mode: 0o755},
		{name: "srv/deep/er/file", mode: 0o644, data: "deep"},
		{name: "tmp/", mode: 0o1777},
	}
	for a := range strings.FieldsSeq(string(list)) {
		if a != "busybox" {
			members = append(members, member{name: "bin/" + a, link: "busybox"})
		}
	}
	return makeBase(t, p, v1.ImageConfig{Env: []string{"PATH=/bin", "KEEP=base"}, Cmd: []string{"/bin/sh"},
		Labels: map[string]string{"base": "yes", "who": "base"}, WorkingDir: "/"}, members)
}

// Busybox makes the suite's base image for this machine, for benchmarks.
func Busybox(t testing.TB) pipelines.Layout {
	t.Helper()
	return busyboxBase(t, pipelines.HostPlatform())
}
