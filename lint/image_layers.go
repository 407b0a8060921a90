package lint

import (
	"cmp"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/cfbuild/cfbuild/internal/rootfs"
)

// Bounds of the rules on size, in bytes.
const (
	cacheLeast  = 4 << 10 // what cleaning commands themselves leave is smaller
	hiddenLeast = 5 << 20
	hugeLayer   = 1 << 30
	mostLayers  = 100
)

// heap is what belongs together of a layer.
type heap struct {
	layer int
	dir   string
	files int
	bytes int64
	first []*rootfs.Entry
}

// heaps adds files up by layer and directory, in the order they come.
type heaps struct {
	order []*heap
	at    map[string]*heap
}

func (h *heaps) add(e *rootfs.Entry, dir string) {
	if h.at == nil {
		h.at = map[string]*heap{}
	}
	key := fmt.Sprintf("%d %s", e.Layer, dir)
	p := h.at[key]
	if p == nil {
		p = &heap{layer: e.Layer, dir: dir}
		h.at[key] = p
		h.order = append(h.order, p)
	}
	p.files++
	p.bytes += e.Size
	p.first = append(p.first, e)
}

// largest names the three largest files.
func (h *heap) largest() string {
	slices.SortFunc(h.first, func(a, b *rootfs.Entry) int {
		return cmp.Or(cmp.Compare(b.Size, a.Size), strings.Compare(a.Path, b.Path))
	})
	var names []string
	for _, e := range h.first[:min(3, len(h.first))] {
		names = append(names, fmt.Sprintf("%s (%s)", e.Path, size(e.Size)))
	}
	return strings.Join(names, ", ")
}

// size is a number of bytes for people.
func size(n int64) string {
	switch {
	case n >= 1<<30:
		return fmt.Sprintf("%.1f GB", float64(n)/(1<<30))
	case n >= 1<<20:
		return fmt.Sprintf("%.1f MB", float64(n)/(1<<20))
	case n >= 1<<10:
		return fmt.Sprintf("%d kB", n>>10)
	}
	return fmt.Sprintf("%d B", n)
}

func files(n int) string {
	if n == 1 {
		return "1 file"
	}
	return fmt.Sprintf("%d files", n)
}

// layers are the rules on size and on what layers hide.
func (i *image) layers() {
	var hiddenCache, hidden, caches heaps
	for _, l := range i.fs.Layers {
		for _, e := range l.Hidden {
			if e.Type != rootfs.File || e.Hard != "" {
				continue
			}
			if dir := cacheOf(e.Path); dir != "" {
				hiddenCache.add(e, dir)
			} else {
				hidden.add(e, "")
			}
		}
	}
	i.fs.Walk("/", func(e *rootfs.Entry) error {
		if e.Type == rootfs.File && e.Hard == "" {
			if dir := cacheOf(e.Path); dir != "" {
				caches.add(e, dir)
			}
		}
		return nil
	})
	for _, h := range caches.order {
		if h.bytes >= cacheLeast {
			i.at(PackageCache, h.layer, Finding{Path: h.dir, Message: fmt.Sprintf("%s holds a package manager's cache: %s, %s", h.dir, files(h.files), size(h.bytes))})
		}
	}
	for _, h := range hiddenCache.order {
		if h.bytes >= cacheLeast {
			i.at(CacheInLowerLayer, h.layer, Finding{Path: h.dir, Message: fmt.Sprintf("%s was cleaned by a later layer: its %s, %s, are still in this one", h.dir, files(h.files), size(h.bytes))})
		}
	}
	for _, h := range hidden.order {
		if h.bytes >= hiddenLeast {
			i.at(HiddenSpace, h.layer, Finding{Subject: "layer " + stepOr(i, h.layer), Message: fmt.Sprintf("later layers delete or replace %s of this one, %s: %s", files(h.files), size(h.bytes), h.largest())})
		}
	}
	for n, l := range i.fs.Layers {
		subject := "layer " + stepOr(i, n)
		if len(l.Entries) == 0 {
			i.at(EmptyLayer, n, Finding{Subject: subject, Message: "the layer holds nothing"})
		}
		if l.Bytes > hugeLayer {
			i.at(HugeLayer, n, Finding{Subject: subject, Message: fmt.Sprintf("the layer is %s unpacked", size(l.Bytes))})
		}
	}
	if n := len(i.fs.Layers); n > mostLayers {
		i.add(ManyLayers, Finding{Subject: "layers", Message: fmt.Sprintf("the image has %d layers", n)})
	}
}

// stepOr names a layer by what made it, else by its place: that is the same in every
// run, its digest is not.
func stepOr(i *image, layer int) string {
	if by := i.fs.Layers[layer].CreatedBy; by != "" {
		return oneLine(by)
	}
	return fmt.Sprint(layer + 1)
}

// byHand are what docker commit and podman commit write into the history: the
// command of the container that was changed.
var byHand = []string{"", "bash", "sh", "/bin/bash", "/bin/sh", "/usr/bin/bash"}

// history are the rules on what the image tells about its making.
func (i *image) history() {
	layer := -1
	hand := len(i.fs.Layers) > 0 && len(i.fs.Config.History) == 0
	for _, h := range i.fs.Config.History {
		if !h.EmptyLayer {
			layer++
			hand = hand || slices.Contains(byHand, strings.TrimSpace(h.CreatedBy))
		}
		if kind := secretInCommand(h.CreatedBy); kind != "" {
			f := Finding{Subject: "history: " + kind, Message: fmt.Sprintf("a command that the history keeps holds %s", kind)}
			if h.EmptyLayer {
				f.Step = h.CreatedBy
				i.add(SecretInHistory, f)
			} else {
				i.at(SecretInHistory, layer, f)
			}
		}
	}
	if hand {
		i.add(MadeByHand, Finding{Subject: "history", Message: "a layer does not say what made it: it was imported, or a container was changed and committed"})
	}
	for k, v := range i.fs.Manifest.Annotations {
		if kind := secretIn(v); kind != "" || secretName(k) && !harmless(v) {
			i.add(SecretInLabel, Finding{Subject: "annotation " + k, Message: fmt.Sprintf("the annotation %s holds %s", k, or(kind, "a value, and its name calls it secret"))})
		}
	}
}

// leftover says what a file or directory was left by, "" for nothing.
func leftover(e *rootfs.Entry) string {
	dir, base := path.Split(e.Path)
	dir = strings.TrimSuffix(dir, "/")
	switch {
	case e.Type == rootfs.Dir:
		if base == ".git" || base == ".svn" || base == ".hg" {
			return "version control: its history is of no use in an image"
		}
	case e.Type != rootfs.File || e.Size == 0:
	case e.Path == "/core", strings.HasPrefix(base, "core.") && strings.Trim(base[5:], "0123456789") == "" && len(base) > 5:
		return "a core dump"
	case below(e.Path, "/var/log") && e.Size >= 64<<10:
		return "a log"
	case slices.Contains([]string{"", "/root", "/opt", "/srv", "/usr/src", "/usr/local/src"}, dir):
		for _, end := range []string{".tar", ".tar.gz", ".tgz", ".tar.xz", ".tar.bz2", ".tar.zst", ".zip", ".deb", ".rpm", ".whl", ".iso"} {
			if strings.HasSuffix(base, end) {
				return "an archive that was unpacked or installed"
			}
		}
	}
	return ""
}
