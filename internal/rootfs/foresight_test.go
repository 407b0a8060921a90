package rootfs

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"path"
	"testing"

	"github.com/cfbuild/cfbuild/internal/oci"
)

// What is foreseen of layers without hard links, names once in each, is what comes.
func TestForesight(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	names := []string{"a", "b", "c", "d"}
	hidden, kept := 0, 0
	for range 150 {
		var layers [][]byte
		for range 2 + rnd.IntN(3) {
			var hs []h
			seen := map[string]bool{}
			for range rnd.IntN(8) {
				p := ""
				for range 1 + rnd.IntN(3) {
					p = path.Join(p, names[rnd.IntN(len(names))])
				}
				if seen[p] {
					continue
				}
				seen[p] = true
				switch d, base := path.Split(p); rnd.IntN(6) {
				case 0:
					hs = append(hs, dir(p))
				case 1:
					hs = append(hs, link(p, "x"))
				case 2:
					hs = append(hs, file(d+oci.Whiteout+base, ""))
				case 3:
					hs = append(hs, file(d+oci.WhiteoutOpaque, ""))
				default:
					hs = append(hs, file(p, p))
				}
			}
			layers = append(layers, archive(t, hs...))
		}
		l, d := layout(t, layers...)
		m, _, err := l.Image(d)
		if err != nil {
			t.Fatal(err)
		}
		foresight := Foresee(context.Background(), l, m)
		hides := map[*Entry]bool{}
		img, err := Open(context.Background(), l, d, Options{Visit: func(layer int, e *Entry, _ io.Reader) error {
			hides[e] = foresight.Hides(layer, e.Path)
			return nil
		}})
		if err != nil {
			continue // below a file of the same layer
		}
		there := map[*Entry]bool{}
		for _, e := range img.List() {
			there[e] = true
		}
		for e, gone := range hides {
			if gone == there[e] {
				t.Errorf("%s of layer %d: foreseen to be gone: %v\n%s", e.Path, e.Layer, gone, listing(img))
			}
			if gone {
				hidden++
			} else {
				kept++
			}
		}
	}
	if hidden < 50 || kept < 50 {
		t.Errorf("%d files hidden, %d kept: the layers try too little", hidden, kept)
	}
}

func listing(f *FS) (s string) {
	for i, l := range f.Layers {
		for _, e := range l.Entries {
			s += fmt.Sprintf("  layer %d: %s %s\n", i, e.Type, e.Path)
		}
	}
	return s
}
