//go:build !no_buildkit && linux && containers_image_openpgp

package buildkit

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/cfbuild/cfbuild/builders"
	"github.com/cfbuild/cfbuild/internal/assemble"
	"github.com/cfbuild/cfbuild/internal/filelock"
)

// lockFile is shared while a build is on; pruning wants it alone.
const lockFile = "use.lock"

func inUse(ctx context.Context, dir string) (func(), error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	return filelock.Share(ctx, filepath.Join(dir, lockFile), nil)
}

// Size gives the bytes of the state directory; what the daemon keeps is not counted.
func Size(_ context.Context, o builders.Options) (int64, error) {
	var n int64
	err := filepath.WalkDir(o.StateDir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil {
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			return err
		}
		if fi, err := d.Info(); err == nil && fi.Mode().IsRegular() {
			n += fi.Size()
		}
		return nil
	})
	return n, err
}

// Prune removes blobs that no build has used for longer than unused and gives the
// bytes that are free now. It waits until no build is on. The daemon's own cache is
// the daemon's.
func Prune(ctx context.Context, o builders.Options, unused time.Duration) (int64, error) {
	if _, err := os.Stat(filepath.Join(o.StateDir, lockFile)); errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	unlock, err := filelock.Lock(ctx, filepath.Join(o.StateDir, lockFile), nil)
	if err != nil {
		return 0, err
	}
	defer unlock()
	freed, err := assemble.Prune(ctx, filepath.Join(o.StateDir, "layers"), unused)
	now := time.Now() // archtest: allow how long something was not used is a matter of the clock
	for _, dir := range []string{"blobs/sha256"} {
		dir = filepath.Join(contentDir(o.StateDir), dir)
		es, rerr := os.ReadDir(dir)
		if rerr != nil && !errors.Is(rerr, fs.ErrNotExist) {
			err = errors.Join(err, rerr)
		}
		for _, e := range es {
			fi, ierr := e.Info()
			if ierr != nil || now.Sub(fi.ModTime()) <= unused {
				continue
			}
			if rerr := os.RemoveAll(filepath.Join(dir, e.Name())); rerr != nil {
				err = errors.Join(err, rerr)
			} else if fi.Mode().IsRegular() {
				freed += fi.Size()
			}
		}
	}
	return freed, err
}
