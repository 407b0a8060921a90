package assemble

import (
	"archive/tar"
	"bytes"
	"io"
	"path"
	"strings"
	"testing"
	"time"

	"github.com/cfbuild/cfbuild/internal/layertest"
)

// script makes an archive of lines: a letter for the type, a name, "=" and a target.
// A line may make a header that tar cannot hold; then there is none.
func script(text string) []byte {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for line := range strings.Lines(text) {
		if line = strings.TrimSuffix(line, "\n"); line == "" {
			continue
		}
		name, link, _ := strings.Cut(line[1:], "=")
		h := &tar.Header{Name: name, Linkname: link, Mode: int64(line[0]) * 7 & 0o7777, Uid: len(link), ModTime: time.Unix(int64(len(line))*1e8, 0)}
		switch line[0] {
		case 'd':
			h.Typeflag, h.Name = tar.TypeDir, name+"/"
		case 's':
			h.Typeflag = tar.TypeSymlink
		case 'h':
			h.Typeflag = tar.TypeLink
		case 'p':
			h.Typeflag = tar.TypeFifo
		default:
			h.Typeflag, h.Size = tar.TypeReg, int64(len(link))
		}
		if w.WriteHeader(h) != nil || h.Size > 0 && fails(io.WriteString(w, link)) {
			return nil
		}
	}
	w.Close()
	return b.Bytes()
}

func fails(_ int, err error) bool { return err != nil }

// FuzzLayer reads anything as a raw layer. What is accepted stays in the image, and
// the layer made of it changes what it is said to change and nothing else.
func FuzzLayer(f *testing.F) {
	h := func(name string, kind byte, link string) layertest.Member {
		return layertest.Member{Header: tar.Header{Name: name, Typeflag: kind, Linkname: link, Mode: 0o755}}
	}
	base := layertest.Tar(f, h("a/", tar.TypeDir, ""), h("a/b", tar.TypeReg, ""), h("l", tar.TypeSymlink, "a"), h("up", tar.TypeSymlink, "../../.."), h("loop", tar.TypeSymlink, "loop"))
	f.Add("fa/.wh.b\nfup/x\nhy=l/b\nda\nsz=a")
	f.Add("fa/.wh..wh..opq\nf../x\nfloop/x\nda/b/c\npa/b/p")
	f.Add("dl\npl/x\ndn/m\nfn\nf.wh.a\nfa\nhb=a/b\nha/c=b")
	f.Add("hq=a/b\nhr=q\nfa/b\nf./x\nd.\nf.wh.up")
	items, err := readItems(f.Context(), bytes.NewReader(base))
	if err != nil {
		f.Fatal(err)
	}
	below, err := emptyTree().with(0, items, false, nil)
	if err != nil {
		f.Fatal(err)
	}
	epoch := time.Unix(1e9, 0)
	clamp := Clamp(epoch.Unix(), 1<<62)
	f.Fuzz(func(t *testing.T, text string) {
		raw := script(text)
		items, err := readItems(t.Context(), bytes.NewReader(raw))
		if err != nil {
			return
		}
		for _, strict := range []bool{false, true} {
			above, err := below.with(1, items, strict, keepXattrs)
			if err != nil {
				continue
			}
			l := layertest.Layout(t)
			var out []item
			changes := above.changes(below, clamp)
			_, err = MakeLayer(l, epoch, func(w *LayerWriter) error {
				first := map[*inode]string{}
				for i, c := range changes {
					if c.path != "" && (path.Clean("/" + c.path)[1:] != c.path || strict && strings.HasPrefix(path.Base(c.path), ".wh.")) {
						t.Errorf("path %q", c.path)
					}
					if i > 0 && changes[i-1].path >= c.path {
						t.Errorf("%q before %q", changes[i-1].path, c.path)
					}
					it, err := addChange(w, c, clamp, first, func() (io.ReadCloser, error) {
						src := raw
						if c.f.layer == 0 {
							src = base
						}
						r, err := member(bytes.NewReader(src[c.f.Start:]))
						return io.NopCloser(r), err
					})
					if err != nil {
						return err
					}
					out = append(out, it)
				}
				return nil
			})
			if err != nil { // a name or number that tar cannot hold
				continue
			}
			final, err := below.with(1, out, true, nil)
			if err != nil {
				t.Fatalf("what was made cannot be read: %v", err)
			}
			if left := above.changes(final, clamp); len(left) > 0 {
				t.Errorf("not in the layer: %+v", left[0])
			}
			if more := final.changes(above, clamp); len(more) > 0 {
				t.Errorf("in the layer: %+v", more[0])
			}
		}
	})
}
