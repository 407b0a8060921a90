package assemble_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cfbuild/cfbuild/internal/assembletest"
	"github.com/cfbuild/cfbuild/internal/layertest"
	"github.com/cfbuild/cfbuild/internal/listing"
	"github.com/cfbuild/cfbuild/internal/oci"
)

var someNames = []string{"a", "b", "c", "a/a", "a/b", "a/b/c", "b/a", "b/b", "b/b/a", "b/b/b", "c/a", "c/a/a", "a-", "a.b"}

// randomLayer makes members of few names, so that much meets. Parents of what it has
// are directories, stated or not; links never are parents.
func randomLayer(rng *rand.Rand) []member {
	kind := map[string]byte{}
	var out []member
	add := func(x member, p string) {
		kind[p] = x.Typeflag
		x.Mode = int64([]int{0o644, 0o755, 0o4755}[rng.IntN(3)])
		x.Uid = rng.IntN(2)
		if x.Typeflag != tar.TypeLink && rng.IntN(4) == 0 {
			x = attr(x, "user.n", fmt.Sprint(rng.IntN(2)))
		}
		x.ModTime = []time.Time{old, old, later, epoch}[rng.IntN(4)]
		out = append(out, x)
	}
	var files []string
	for range 2 + rng.IntN(12) {
		p := someNames[rng.IntN(len(someNames))]
		if _, ok := kind[p]; ok {
			continue
		}
		if slices.ContainsFunc(out, func(o member) bool { return strings.HasPrefix(o.Name, p+"/") }) {
			continue // a parent by now
		}
		parts := strings.Split(p, "/")
		ok := true
		for i := 1; i < len(parts); i++ {
			d := strings.Join(parts[:i], "/")
			if k, was := kind[d]; was && k != tar.TypeDir {
				ok = false
			} else if !was && ok {
				add(m(d+"/"), d)
			}
		}
		if !ok {
			continue
		}
		switch rng.IntN(9) {
		case 0:
			add(m(p+"->"+someNames[rng.IntN(3)]), p)
		case 1:
			add(m(p+"!"), p)
		case 2:
			x := m(p)
			x.Typeflag, x.Devmajor, x.Devminor = tar.TypeChar, 1, int64(rng.IntN(3))
			add(x, p)
		case 3, 4:
			add(m(p+"/"), p)
		case 5:
			if len(files) > 0 {
				add(m(p+"=>"+files[rng.IntN(len(files))]), p)
				continue
			}
			fallthrough
		default:
			add(m(p+":"+strings.Repeat("x", rng.IntN(3))), p)
			files = append(files, p)
		}
	}
	for range rng.IntN(4) {
		p := someNames[rng.IntN(len(someNames))]
		i := strings.LastIndexByte(p, '/') + 1
		if k, was := kind[strings.TrimSuffix(p[:i], "/")]; was && k != tar.TypeDir {
			continue
		}
		name := p[:i] + oci.Whiteout + p[i:]
		if k, was := kind[p]; rng.IntN(4) == 0 && (!was || k == tar.TypeDir) {
			name = p + "/" + oci.WhiteoutOpaque
		}
		out = append(out, m(name+":"))
	}
	return out
}

// TestProperty: whatever the raw layers hold, the image has the content they make
// together; and however the same layers are written, the image is the same.
func TestProperty(t *testing.T) {
	made, refused := 0, 0
	for seed := range uint64(40) {
		rng := rand.New(rand.NewPCG(seed, 1))
		var base, raw [][]byte
		for range 1 + rng.IntN(2) {
			base = append(base, layertest.Tar(t, randomLayer(rng)...))
		}
		l := newLab(t, base...)
		hows := []string{layertest.Plain, layertest.Gzip, layertest.Zstd}
		for range 1 + rng.IntN(3) {
			raw = append(raw, layertest.Tar(t, randomLayer(rng)...))
			l.raw(raw[len(raw)-1], hows[rng.IntN(3)])
		}
		img, err := l.write()
		if errors.Is(err, oci.ErrHostile) || errors.Is(err, oci.ErrCorrupt) { // below a file of a lower layer, say
			refused++
			continue
		}
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		made++
		got, err := listing.Image(img.layout, img.desc)
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		if diff := listing.Diff(stacked(t, slices.Concat(base, raw)), got); len(diff) > 0 {
			t.Fatalf("seed %d: content\n%s", seed, strings.Join(diff, "\n"))
		}
		for again := range 2 {
			n := newLab(t, base...)
			full := len(base)
			for i, g := range l.spec.Groups {
				if img.config.History[len(base)+i].EmptyLayer {
					n.raw(layertest.Tar(t), layertest.Gzip)
				} else {
					n.raw(assembletest.Mangle(t, img.layout, img.desc, full, epoch, rng), hows[rng.IntN(3)])
					full++
				}
				n.spec.Groups[i].Nodes = g.Nodes
			}
			if other := n.must(); other.Digest != img.Digest {
				t.Fatalf("seed %d, %d: %s and %s\n%q\n%q", seed, again, img.Digest, other.Digest, img.lines(t), other.lines(t))
			}
		}
	}
	t.Logf("%d images, %d refused", made, refused)
	if made < 30 {
		t.Errorf("only %d images", made)
	}
}

// stacked lists what layers make together, as package rootfs has it.
func stacked(t *testing.T, layers [][]byte) []listing.Entry {
	t.Helper()
	var tree listing.Tree
	for _, b := range layers {
		if err := tree.Add(bytes.NewReader(b)); err != nil {
			t.Fatal(err)
		}
	}
	return tree.List()
}
