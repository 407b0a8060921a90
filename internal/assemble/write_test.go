package assemble_test

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cfbuild/cfbuild/builders"
	"github.com/cfbuild/cfbuild/internal/assemble"
	"github.com/cfbuild/cfbuild/internal/assembletest"
	"github.com/cfbuild/cfbuild/internal/layertest"
	"github.com/cfbuild/cfbuild/internal/oci"
	"github.com/cfbuild/cfbuild/pipelines"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

var (
	amd64 = pipelines.Platform{OS: "linux", Architecture: "amd64"}
	epoch = time.Date(2024, 2, 29, 12, 0, 0, 0, time.UTC)
	old   = time.Date(2020, 1, 2, 3, 4, 5, 0, time.UTC)
	later = epoch.Add(1000 * time.Hour)
)

type member = layertest.Member

// m makes a member: "d/" is a directory, "a->b" a symbolic and "a=>b" a hard link,
// "a!" a fifo, else a file with the content after a colon. A time stamp may follow.
func m(s string, when ...time.Time) member {
	h := tar.Header{Typeflag: tar.TypeReg, Mode: 0o644, ModTime: old}
	var data string
	if at, to, ok := strings.Cut(s, "->"); ok {
		h.Name, h.Linkname, h.Typeflag = at, to, tar.TypeSymlink
	} else if at, to, ok := strings.Cut(s, "=>"); ok {
		h.Name, h.Linkname, h.Typeflag = at, to, tar.TypeLink
	} else if h.Name, data, ok = strings.Cut(s, ":"); !ok && strings.HasSuffix(s, "/") {
		h.Typeflag, h.Mode = tar.TypeDir, 0o755
	} else if name, ok := strings.CutSuffix(s, "!"); ok {
		h.Name, h.Typeflag = name, tar.TypeFifo
	}
	if len(when) > 0 {
		h.ModTime = when[0]
	}
	return member{Header: h, Data: data}
}

// with changes a member.
func with(m member, f func(*tar.Header)) member {
	f(&m.Header)
	return m
}

func attr(m member, kv ...string) member {
	m.PAXRecords = map[string]string{}
	for i := 0; i < len(kv); i += 2 {
		m.PAXRecords["SCHILY.xattr."+kv[i]] = kv[i+1]
	}
	return m
}

// step is a Run at a line of its own.
func step(shell string) []pipelines.Node {
	return []pipelines.Node{{ID: shell, Op: pipelines.Run{Shell: shell}, Name: "run " + shell, Platform: amd64,
		Where: pipelines.Position{File: "recipe.go", Line: 7}}}
}

// lab is a base, a place for raw layers, and a spec to write.
type lab struct {
	t    *testing.T
	spec assemble.Spec
}

func newLab(t *testing.T, base ...[]byte) *lab {
	t.Helper()
	l := &lab{t, assemble.Spec{Platform: amd64, Epoch: epoch, Raw: layertest.Layout(t), Cache: t.TempDir()}}
	if base != nil {
		c := v1.Image{Platform: oci.ToPlatform(amd64), Created: &old, Config: v1.ImageConfig{Env: []string{"PATH=/bin"}}}
		for range base {
			c.History = append(c.History, v1.History{Created: &old, CreatedBy: "base"})
		}
		b, d := layertest.Image(t, c, layertest.Gzip, base...)
		l.spec.Base = &assemble.Base{Layout: b, Desc: d}
	}
	return l
}

func (l *lab) raw(archive []byte, how string) *lab {
	l.t.Helper()
	d := layertest.Blob(l.t, l.spec.Raw, archive, how)
	l.spec.Groups = append(l.spec.Groups, assemble.Group{Nodes: step(fmt.Sprint(len(l.spec.Groups))), Raw: &d})
	return l
}

type image struct {
	builders.Result
	layout   *oci.Layout
	desc     v1.Descriptor
	manifest v1.Manifest
	config   v1.Image
}

func (l *lab) write() (image, error) {
	l.t.Helper()
	l.spec.Output = l.t.TempDir() + "/out"
	res, err := assemble.Write(l.t.Context(), l.spec)
	img := image{Result: res}
	if err != nil {
		return img, err
	}
	if img.layout, err = oci.Open(l.spec.Output); err != nil {
		l.t.Fatal(err)
	}
	if img.desc, err = img.layout.Manifest(amd64); err != nil {
		l.t.Fatal(err)
	}
	if err := img.layout.Verify(img.desc); err != nil {
		l.t.Fatal(err)
	}
	if img.desc.Digest.String() != res.Digest || img.desc.Size != res.Size {
		l.t.Fatalf("result %+v, index %+v", res, img.desc)
	}
	img.manifest, img.config, err = img.layout.Image(img.desc)
	return img, err
}

func (l *lab) must() image {
	l.t.Helper()
	img, err := l.write()
	if err != nil {
		l.t.Fatal(err)
	}
	return img
}

// lines lists the members of the image's last layer.
func (img image) lines(t *testing.T) []string {
	t.Helper()
	tr := tar.NewReader(bytes.NewReader(assembletest.Drain(t, img.layout, img.manifest.Layers[len(img.manifest.Layers)-1])))
	out := []string{}
	for {
		h, err := tr.Next()
		if err == io.EOF {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(tr)
		if err != nil {
			t.Fatal(err)
		}
		s := h.Name
		switch h.Typeflag {
		case tar.TypeSymlink:
			s += "->" + h.Linkname
		case tar.TypeLink:
			s += "=>" + h.Linkname
		case tar.TypeFifo:
			s += "!"
		case tar.TypeReg:
			s += ":" + string(data)
		}
		if when := h.ModTime.UTC(); when.Equal(epoch) {
			s += " epoch"
		} else if !when.Equal(old) {
			s += " " + when.Format(time.DateOnly)
		}
		if h.Mode != 0o644 && h.Typeflag == tar.TypeReg && !strings.Contains(h.Name, ".wh.") {
			s += fmt.Sprintf(" %04o", h.Mode)
		}
		for _, k := range slices.Sorted(maps.Keys(h.PAXRecords)) {
			if name, ok := strings.CutPrefix(k, "SCHILY.xattr."); ok {
				s += " " + name + "=" + h.PAXRecords[k]
			}
		}
		out = append(out, s)
	}
}

var baseTar = []member{m("./"), m("d/"), m("d/a:1"), m("d/b:2"), m("d/sub/"), m("d/sub/x:x"), m("f:f"), m("g=>f"), m("l->d"), m("p!"), attr(m("x:x"), "user.note", "n", "security.capability", "c")}

func TestLayers(t *testing.T) {
	for name, c := range map[string]struct {
		raw  []member
		want []string // nil: no layer
		lost bool
	}{
		"nothing":                {},
		"all as it was":          {raw: []member{m("d/", later), m("d/sub/", later), m("f:f"), m("g=>f"), m("d/a:1"), m("l->d"), m("p!"), m("./", later)}},
		"two names as one":       {raw: []member{m("f:f"), m("g:f")}},
		"sorted, parents gone":   {raw: []member{m("z:z", later), m("d/", later), m("d/sub/", later), m("d/sub/n:n", later), m("d-:1", later)}, want: []string{"d-:1 epoch", "d/sub/n:n epoch", "z:z epoch"}},
		"old time stays":         {raw: []member{m("n:n")}, want: []string{"n:n"}},
		"touched":                {raw: []member{m("d/a:1", later)}, want: []string{"d/a:1 epoch"}},
		"content":                {raw: []member{m("d/a:2")}, want: []string{"d/a:2"}},
		"mode of a directory":    {raw: []member{with(m("d/"), func(h *tar.Header) { h.Mode = 0o700 })}, want: []string{"d/"}},
		"mode of the root":       {raw: []member{with(m("./"), func(h *tar.Header) { h.Mode = 0o700 })}, want: []string{"./"}},
		"owner":                  {raw: []member{with(m("f:f"), func(h *tar.Header) { h.Uid = 5 })}, want: []string{"f:f"}},
		"link":                   {raw: []member{m("l->f")}, want: []string{"l->f"}},
		"whiteouts":              {raw: []member{m(".wh.f:"), m("d/"), m("d/.wh.a:"), m(".wh.never:"), m("nowhere/"), m("nowhere/.wh.x:")}, want: []string{"d/.wh.a: epoch", ".wh.f: epoch", "nowhere/"}},
		"one whiteout of a tree": {raw: []member{m("d/sub/.wh.x:"), m("d/.wh.sub:"), m(".wh.d:"), m("d/.wh.a:")}, want: []string{".wh.d: epoch"}},
		"whiteout and back":      {raw: []member{m("f:f"), m(".wh.f:"), m("d/.wh.sub:"), m("d/sub/")}, want: []string{"d/sub/.wh.x: epoch"}},
		"opaque":                 {raw: []member{m("d/b:2"), m("d/.wh..wh..opq:"), m("d/sub/")}, want: []string{"d/.wh.a: epoch", "d/sub/.wh.x: epoch"}},
		"opaque root":            {raw: []member{m(".wh..wh..opq:"), m("f:f")}, want: []string{".wh.d: epoch", ".wh.g: epoch", ".wh.l: epoch", ".wh.p: epoch", ".wh.x: epoch"}},
		"aufs names":             {raw: []member{m(".wh..wh.plnk/"), m(".wh..wh.aufs:")}},
		"file for directory":     {raw: []member{m("d:now")}, want: []string{"d:now"}},
		"directory for file":     {raw: []member{m("f/"), m("f/in:1")}, want: []string{"f/", "f/in:1"}},
		"directory for link":     {raw: []member{m("l/"), m("l/in:1")}, want: []string{"l/", "l/in:1"}},
		"through a link below":   {raw: []member{m("l/new:1"), m("l/.wh.a:")}, want: []string{"d/.wh.a: epoch", "d/new:1"}},
		"implied parent":         {raw: []member{m("i/j:1")}, want: []string{"i/ epoch", "i/j:1"}},
		"twice":                  {raw: []member{m("n:1"), m("n:2"), m("d:file"), m("d/"), m("d/a:1")}, want: []string{"d/.wh.b: epoch", "d/.wh.sub: epoch", "n:2"}},
		"hard links":             {raw: []member{m("z:1"), m("a=>z"), m("m=>a")}, want: []string{"a:1", "m=>a", "z=>a"}},
		"all names of a change":  {raw: []member{m("f:f"), m("g=>f"), m("new=>f")}, want: []string{"f:f", "g=>f", "new=>f"}},
		"link to what is below":  {raw: []member{m("new=>d/sub/x")}, want: []string{"d/sub/x:x", "new=>d/sub/x"}},
		"link through a link":    {raw: []member{m("new=>l/a")}, want: []string{"d/a:1", "new=>d/a"}},
		"link to a link":         {raw: []member{m("new=>l")}, want: []string{"new->d"}},
		"link to a fifo":         {raw: []member{m("new=>p")}, want: []string{"new!"}},
		"attribute":              {raw: []member{attr(m("f:f"), "user.a", "1", "trusted.x", "2", "security.selinux", "3", "user.overlay.y", "4"), m("g=>f")}, want: []string{"f:f user.a=1", "g=>f"}},
		"attributes gone":        {raw: []member{m("x:x")}, want: []string{"x:x"}},
		"lost attributes":        {lost: true, raw: []member{attr(m("x:x"), "security.capability", "c")}},
		"lost, mode":             {lost: true, raw: []member{with(attr(m("x:x"), "security.capability", "d"), func(h *tar.Header) { h.Mode = 0o755 })}, want: []string{"x:x 0755 security.capability=d user.note=n"}},
		"lost, capability gone":  {lost: true, raw: []member{m("x:x")}, want: []string{"x:x user.note=n"}},
		"lost, content":          {lost: true, raw: []member{m("x:y")}, want: []string{"x:y"}},
		"global header":          {raw: []member{{Header: tar.Header{Typeflag: tar.TypeXGlobalHeader, PAXRecords: map[string]string{"comment": "x"}}}, m("n:1")}, want: []string{"n:1"}},
	} {
		for _, how := range []string{layertest.Plain, layertest.Gzip, layertest.Zstd} {
			t.Run(name+"/"+how, func(t *testing.T) {
				l := newLab(t, layertest.Tar(t, baseTar...)).raw(layertest.Tar(t, c.raw...), how)
				l.spec.LostXattrs = c.lost
				img := l.must()
				if h := img.config.History[len(img.config.History)-1]; h.EmptyLayer != (c.want == nil) || h.CreatedBy != "run 0" || !h.Created.Equal(epoch) {
					t.Errorf("history %+v", h)
				}
				if c.want == nil {
					if len(img.manifest.Layers) != 1 {
						t.Errorf("a layer: %q", img.lines(t))
					}
					return
				}
				if len(img.manifest.Layers) != 2 {
					t.Fatal("no layer")
				}
				slices.SortFunc(c.want, func(a, b string) int {
					return strings.Compare(strings.Replace(a, ".wh.", "", 1), strings.Replace(b, ".wh.", "", 1))
				})
				if got := img.lines(t); !slices.Equal(got, c.want) {
					t.Errorf("got  %q\nwant %q", got, c.want)
				}
			})
		}
	}
}
