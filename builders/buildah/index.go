//go:build linux && cgo && containers_image_openpgp && exclude_graphdriver_btrfs

package buildah

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/cfbuild/cfbuild/internal/atomicfile"
	"golang.org/x/sys/unix"
)

// record says which layer a key made. It is written once the layer is whole, so
// a layer without a record is rubbish.
type record struct {
	Layer string `json:"layer"` // "" when nothing is there: a bare group on scratch
	// Parent is the layer below.
	Parent string `json:"parent,omitempty"`
	// Started is when the making began, in Unix seconds on this machine's
	// clock: later time stamps in the layer are ours and not the author's.
	Started int64 `json:"started"`
	// Epoch, Unix seconds, when the layer's time stamps are those of one epoch only:
	// it came from a cache.
	Epoch *int64 `json:"epoch,omitempty"`
}

func (st *store) indexPath(key string) string { return filepath.Join(st.dir, "index", st.driver, key) }

func (st *store) wipDir() string { return filepath.Join(st.dir, "wip", st.driver) }

// lookup finds the layer of a key. A record whose layer is gone is none.
func (st *store) lookup(key string) (record, bool) {
	var r record
	path := st.indexPath(key)
	if !atomicfile.ReadJSON(path, &r) || (r.Layer != "" && !st.has(r.Layer)) {
		return record{}, false
	}
	// Prune removes what has long not been used. A file system that refuses
	// costs a layer, not a build.
	now := time.Now() // archtest: allow it only orders what prune removes
	_ = os.Chtimes(path, now, now)
	return r, true
}

func (st *store) keep(key string, r record) error {
	return atomicfile.WriteJSON(st.indexPath(key), r)
}

// wip is a layer being made. Its file is locked by the maker and names the key,
// so that whoever finds it unlocked can tell whether the layer was recorded.
type wip struct {
	st    *store
	layer string
	held  *fileLock
}

func (st *store) begin(key string) (*wip, error) {
	held, err := ownFile(st.wipDir(), "")
	if err != nil {
		return nil, err
	}
	w := &wip{st: st, layer: filepath.Base(held.f.Name()), held: held}
	if _, err := w.held.f.WriteString(key); err != nil {
		w.held.remove()
		return nil, err
	}
	return w, nil
}

// drop removes the layer.
func (w *wip) drop() error {
	err := w.st.deleteLayer(w.layer)
	if err == nil {
		w.held.remove()
	}
	return err
}

// done records the layer under its key.
func (w *wip) done(key string, r record) error {
	if err := w.st.keep(key, r); err != nil {
		return err
	}
	w.held.remove()
	return nil
}

// sits: the layer of a record is the other, or stands on it.
func (r record) sits(on string) bool { return r.Layer == on || r.Parent == on }

func (st *store) deleteLayer(id string) error {
	// The storage writes before it deletes, which a full disk does not allow:
	// make room first.
	empty(layerPath(st.dir, st.driver, id))
	ls, err := st.layers()
	if err != nil || !ls.Exists(id) {
		return err
	}
	return ls.DeleteLayer(id)
}

// empty removes what is in a directory, as far as it goes.
func empty(dir string) {
	names, err := root(dir).names("")
	if err != nil {
		return
	}
	for _, n := range names {
		_ = os.RemoveAll(filepath.Join(dir, n)) // what stays is deleted with the layer
	}
}

// rubbish calls f for each layer that a killed process left without a record,
// while holding its lock, and says whether it is dealt with.
func (st *store) rubbish(f func(driver, layer string) (done bool)) error {
	left, err := filepath.Glob(filepath.Join(st.dir, "wip", "*", "*"))
	if err != nil {
		return err
	}
	for _, path := range left {
		l, err := tryLock(path, unix.LOCK_EX)
		if err != nil {
			continue // its maker is at work
		}
		driver, layer := filepath.Base(filepath.Dir(path)), filepath.Base(path)
		b, err := os.ReadFile(path)
		key := strings.TrimSpace(string(b))
		var r record
		recorded := err == nil && key != "" && atomicfile.ReadJSON(filepath.Join(st.dir, "index", driver, key), &r) && r.Layer == layer
		if strings.HasPrefix(key, keptMark) || !(recorded || f(driver, layer)) {
			l.unlock()
			continue
		}
		l.remove()
	}
	return nil
}

// reclaim frees the space of what killed processes left, before anything needs it.
func (st *store) reclaim() {
	_ = st.rubbish(func(driver, layer string) bool {
		empty(layerPath(st.dir, driver, layer))
		return false
	})
}

// sweep removes what killed processes left with the driver in use.
func (st *store) sweep() error {
	return st.rubbish(func(driver, layer string) bool {
		return driver == st.driver && st.deleteLayer(layer) == nil
	})
}

// keptMark begins the wip file of a failed layer that is kept for inspection.
const keptMark = "kept "

// removeIfThere removes a file.
func removeIfThere(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
