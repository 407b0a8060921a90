//go:build linux && cgo && containers_image_openpgp && exclude_graphdriver_btrfs

package buildah

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"

	"github.com/cfbuild/cfbuild/builders"
	"go.podman.io/storage"
	graphdriver "go.podman.io/storage/drivers"
	"go.podman.io/storage/pkg/unshare"
	"golang.org/x/sys/unix"
)

// Storage drivers, the preferred first.
const (
	driverOverlay = "overlay"
	driverFuse    = "fuse-overlayfs"
	driverVFS     = "vfs"
)

// store is the state directory:
//
//	storage/DRIVER  containers/storage: the layers
//	index/DRIVER    step key → layer, one file each
//	wip/DRIVER      layers being made, each locked by its maker
//	locks           one lock for each key being made
//	blobs           compressed layers, an OCI layout
//	meta            layer → blob, pulled image → manifest
//	cache           cache mounts
//	run             working directories of running children
type store struct {
	dir    string
	driver string
	fuse   string // the mount program, for driverFuse
	single bool   // one user id only
	opts   storage.StoreOptions
	home   string // of the overlay driver's layers
	run    string
	use    *fileLock // shared while we work; prune wants it alone
	held   *fileLock // of run
	notes  []string

	walker *walker

	mu      sync.Mutex
	parents map[string]string
	mounts  int

	once sync.Once
	s    storage.Store
	err  error
}

// layers opens the storage itself. Builds that find everything kept never do: it
// takes longer than all they do besides.
func (st *store) layers() (storage.Store, error) {
	st.once.Do(func() {
		if st.s, st.err = storage.GetStore(st.opts); st.err != nil {
			st.err = fmt.Errorf("storage: %w", st.err)
		}
	})
	return st.s, st.err
}

func newID() string {
	b := make([]byte, 16)
	_, _ = rand.Read(b) // never fails, says crypto/rand
	return hex.EncodeToString(b)
}

// openStore finds the driver that works and opens the store.
func openStore(ctx context.Context, o childOptions) (_ *store, err error) {
	st := &store{dir: o.StateDir, single: singleID(), parents: map[string]string{}}
	defer func() {
		if err != nil {
			err = spaceError(err, st.dir)
			st.close()
		}
	}()
	for _, d := range []string{"storage", "index", "wip", "locks", "meta", "cache", "run"} {
		if err := os.MkdirAll(filepath.Join(st.dir, d), 0o700); err != nil {
			return nil, fmt.Errorf("state directory: %w", err)
		}
	}
	if st.use, err = lock(ctx, filepath.Join(st.dir, "use.lock"), unix.LOCK_SH, nil); err != nil {
		return nil, err
	}
	if st.run, st.held, err = workDir(filepath.Join(st.dir, "run")); err != nil {
		return nil, fmt.Errorf("state directory: %w", err)
	}
	if st.walker, err = newWalker(); err != nil {
		return nil, err
	}
	st.reclaim()
	if err := st.choose(o.Driver); err != nil {
		return nil, err
	}
	for _, d := range []string{filepath.Dir(st.indexPath("x")), st.wipDir()} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			return nil, fmt.Errorf("state directory: %w", err)
		}
	}
	opts := storage.StoreOptions{
		RunRoot:         filepath.Join(st.run, "storage"),
		GraphRoot:       filepath.Join(st.dir, "storage", st.driver),
		GraphDriverName: "vfs",
	}
	if st.driver != driverVFS {
		opts.GraphDriverName = "overlay"
		opts.GraphDriverOptions = []string{"overlay.skip_mount_home=true"}
		st.home = filepath.Join(opts.GraphRoot, "overlay")
	}
	if st.fuse != "" {
		opts.GraphDriverOptions = append(opts.GraphDriverOptions, "overlay.mount_program="+st.fuse)
	}
	if st.single {
		opts.GraphDriverOptions = append(opts.GraphDriverOptions, opts.GraphDriverName+".ignore_chown_errors=true")
		st.notes = append(st.notes, "one user id only: every file belongs to root while building ("+singleIDFix()+")")
	}
	st.opts = opts
	return st, st.sweep()
}

func (st *store) close() {
	if st.held != nil {
		os.RemoveAll(st.run)
		st.held.remove()
	}
	st.use.unlock()
}

// singleID: only one user id is mapped in our user namespace.
func singleID() bool {
	b, err := os.ReadFile("/proc/self/uid_map")
	if err != nil {
		return false
	}
	f := strings.Fields(string(b))
	return len(f) == 3 && f[2] == "1"
}

// choose tries the drivers in order, or only the one asked for.
func (st *store) choose(want string) error {
	var why []string
	var full error
	try := func(name string, probe func() error) bool {
		if st.driver != "" || (want != "" && want != name) {
			return false
		}
		err := probe()
		if isFull(err) {
			full = err
		}
		if err != nil {
			why = append(why, name+": "+err.Error())
			return false
		}
		st.driver = name
		return true
	}
	try(driverOverlay, func() error { return st.probeOverlay("") })
	if fuse, err := exec.LookPath("fuse-overlayfs"); err != nil {
		try(driverFuse, func() error { return errors.New("fuse-overlayfs is not installed") })
	} else if try(driverFuse, func() error { return st.probeOverlay(fuse) }) {
		st.fuse = fuse
	}
	if full != nil {
		// That says nothing about drivers.
		return spaceError(full, st.dir)
	}
	try(driverVFS, func() error { return nil })
	if st.driver == "" {
		return &builders.UnavailableError{Builder: Name, Reason: "storage driver " + strings.Join(why, "; "),
			Fix: "leave the driver to cfbuild, or mend what it says"}
	}
	note := "storage: " + st.driver
	if len(why) > 0 {
		note += " (" + strings.Join(why, "; ") + ")"
	}
	st.notes = append(st.notes, note)
	return nil
}

// probeOverlay mounts an overlay for real and does what builds need: change the
// owner of, replace and delete what comes from below.
func (st *store) probeOverlay(fuse string) error {
	dir, err := os.MkdirTemp(st.run, "probe-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	for _, d := range []string{"lower/d", "upper", "work", "merged"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			return err
		}
	}
	for _, f := range []string{"lower/d/gone", "lower/kept"} {
		if err := os.WriteFile(filepath.Join(dir, f), []byte("x"), 0o644); err != nil {
			return err
		}
	}
	merged := filepath.Join(dir, "merged")
	if err := mountOverlay(overlayMount{home: dir, lowers: []string{"lower"}, upper: "upper", work: "work", target: merged, fuse: fuse, in: st.walker}); err != nil {
		return err
	}
	defer unmount(merged)
	owner := 1
	if st.single {
		owner = 0
	}
	for _, err := range []error{
		os.Chown(filepath.Join(merged, "kept"), owner, owner),
		os.Remove(filepath.Join(merged, "d/gone")),
		os.Rename(filepath.Join(merged, "kept"), filepath.Join(merged, "d/kept")),
		os.RemoveAll(filepath.Join(merged, "d")),
		os.Mkdir(filepath.Join(merged, "d"), 0o700),
	} {
		if err != nil {
			return err
		}
	}
	left, err := os.ReadDir(filepath.Join(merged, "d"))
	if err == nil && len(left) > 0 {
		err = errors.New("a directory made anew shows old files")
	}
	return err
}

// layerPath is where a driver keeps a layer's files: what it adds, with the overlay
// drivers, or all.
func layerPath(dir, driver, id string) string {
	if driver == driverVFS {
		return filepath.Join(dir, "storage", driver, "vfs", "dir", id)
	}
	return filepath.Join(dir, "storage", driver, "overlay", id, "diff")
}

// chain lists a layer and those below it, the top first.
func (st *store) chain(id string) ([]string, error) {
	st.mu.Lock()
	defer st.mu.Unlock()
	var out []string
	for id != "" {
		out = append(out, id)
		parent, ok := st.parents[id]
		if !ok {
			ls, err := st.layers()
			if err != nil {
				return nil, err
			}
			l, err := ls.Layer(id)
			if err != nil {
				return nil, fmt.Errorf("storage: layer %s: %w", id, err)
			}
			parent = l.Parent
			st.parents[id] = parent
		}
		id = parent
	}
	return out, nil
}

// has: a layer is there.
func (st *store) has(id string) bool {
	_, err := os.Stat(layerPath(st.dir, st.driver, id))
	return err == nil
}

// view shows a layer and what is below it at a path: to read, or with write the
// layer itself, which nobody else may be using. done ends it.
func (st *store) view(id string, write bool) (path string, done func() error, err error) {
	st.mu.Lock()
	st.mounts++
	target := filepath.Join(st.run, fmt.Sprintf("m%d", st.mounts))
	st.mu.Unlock()
	if st.driver == driverVFS && id != "" {
		ls, err := st.layers()
		if err != nil {
			return "", nil, err
		}
		d, err := ls.GraphDriver()
		if err != nil {
			return "", nil, err
		}
		path, err := d.Get(id, graphdriver.MountOpts{})
		return path, func() error { return nil }, err
	}
	if err := os.Mkdir(target, 0o755); err != nil {
		return "", nil, err
	}
	if id == "" {
		return target, func() error { return os.Remove(target) }, nil
	}
	ids, err := st.chain(id)
	if err != nil {
		return "", nil, err
	}
	m := overlayMount{home: st.home, target: target, fuse: st.fuse, in: st.walker}
	if write {
		m.upper, m.work = ids[0]+"/diff", ids[0]+"/work"
		ids = ids[1:]
	}
	for _, id := range ids {
		m.lowers = append(m.lowers, id+"/diff")
	}
	// An overlay to read wants two layers below, one to write wants one.
	for want := 1 + b2i(!write); len(m.lowers) < want; {
		empty := filepath.Join(st.run, fmt.Sprintf("empty%d", len(m.lowers)))
		if err := os.MkdirAll(empty, 0o755); err != nil {
			return "", nil, err
		}
		m.lowers = append(m.lowers, empty)
	}
	if err := mountOverlay(m); err != nil {
		return "", nil, fmt.Errorf("storage: mount: %w", err)
	}
	return target, func() error {
		if err := unmount(target); err != nil {
			return fmt.Errorf("storage: unmount: %w", err)
		}
		return os.Remove(target)
	}, nil
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

// rootless: we are root in a user namespace only.
func rootless() bool { return unshare.IsRootless() }
