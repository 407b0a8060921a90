package apptainer

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// workplace is the directory of one build. A lock that is held as long as its process
// lives tells it from what a killed build left.
type workplace struct {
	b    *builder
	dir  string
	lock *os.File
}

func (b *builder) places() string { return filepath.Join(b.o.StateDir, "builds") }

// workplace makes one, and first removes what killed builds left.
func (b *builder) workplace(ctx context.Context) (*workplace, error) {
	if err := os.MkdirAll(b.places(), 0o700); err != nil {
		return nil, err
	}
	if err := b.sweep(ctx); err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(b.places(), "build-")
	if err != nil {
		return nil, err
	}
	lock, err := held(dir)
	if err == nil && lock == nil {
		err = errors.New("builder apptainer: another run took " + dir)
	}
	if err != nil {
		return nil, err
	}
	for _, sub := range []string{"work", "work/tmp", "work/home", "work/cache"} {
		if err := os.Mkdir(filepath.Join(dir, sub), 0o755); err != nil {
			lock.Close()
			return nil, err
		}
	}
	return &workplace{b, dir, lock}, nil
}

// held takes the lock of a build's directory; nil when somebody has it.
func held(dir string) (*os.File, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	switch err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); {
	case errors.Is(err, syscall.EWOULDBLOCK):
		f.Close()
		return nil, nil
	case err != nil:
		f.Close()
		return nil, err
	}
	return f, nil
}

// path of a file that is built with.
func (w *workplace) path(name string) string { return filepath.Join(w.dir, "work", name) }

func (w *workplace) remove() {
	_ = w.b.removeAll(context.Background(), w.dir) // what stays is swept by the next build
	w.lock.Close()
}

// sweep removes the directories of builds that were killed.
func (b *builder) sweep(ctx context.Context) error {
	all, err := os.ReadDir(b.places())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range all {
		dir := filepath.Join(b.places(), e.Name())
		lock, err := held(dir)
		if errors.Is(err, fs.ErrNotExist) || err == nil && lock == nil {
			continue
		}
		if err != nil {
			return err
		}
		err = b.removeAll(ctx, dir)
		lock.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

// removeAll also removes what belongs to subordinate ids, as their root.
func (b *builder) removeAll(ctx context.Context, dir string) error {
	err := os.RemoveAll(dir)
	if err == nil || os.Geteuid() == 0 {
		return err
	}
	if err := start(ctx, errand{Remove: dir}, b.o.Log, func(string) {}); err != nil {
		return err
	}
	return os.RemoveAll(dir)
}

// run runs Apptainer in the workplace.
func (w *workplace) run(ctx context.Context, e errand, line func(string)) error {
	e.Work = filepath.Join(w.dir, "work")
	return start(ctx, e, w.b.o.Log, line)
}
