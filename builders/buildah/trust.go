//go:build linux && cgo && containers_image_openpgp && exclude_graphdriver_btrfs

package buildah

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"

	"github.com/cfbuild/cfbuild/internal/steptrust"
	"github.com/cfbuild/cfbuild/site"
	"golang.org/x/sys/unix"
)

// maxBundle is what a bundle of authorities may be (bytes); a larger file is
// something else.
const maxBundle = 16 << 20

// trusted gives the authorities that a step is to trust while it runs.
func (x *executor) trusted(sc *stageConfig) []site.Certificate {
	if sc.NoNetwork {
		return nil
	}
	return x.r.Site.BuildCAs()
}

// trustMounts shows the step the files that its variables name.
func (p *points) trustMounts(cas []site.Certificate, sc *stageConfig) error {
	var system []byte
	for _, path := range steptrust.Bundles() {
		if b, err := readBundle(p.r, path); err == nil && len(b.data) > 0 {
			system = b.data
			break
		}
	}
	files := steptrust.Files(cas, system)
	for _, path := range slices.Sorted(maps.Keys(files)) {
		at, err := p.file(path)
		if err != nil {
			return err
		}
		sc.Mounts = append(sc.Mounts, stageMount{Target: at, Content: files[path], File: true, Mode: 0o644, ReadOnly: true})
	}
	return nil
}

// bundleFile is a bundle of the system as it was before a step.
type bundleFile struct {
	rel  string
	st   unix.Stat_t
	data []byte
}

var errNoBundle = errors.New("is no bundle of certificates")

func readBundle(r root, path string) (bundleFile, error) {
	rel, err := r.resolve(path, true)
	if err != nil {
		return bundleFile{}, err
	}
	st, err := r.lstat(rel)
	if err != nil {
		return bundleFile{}, inImage(err, rel)
	}
	if !isReg(st) || st.Nlink != 1 || st.Size > maxBundle {
		return bundleFile{}, errNoBundle
	}
	b, err := os.ReadFile(r.join(rel))
	return bundleFile{rel, st, b}, err
}

// lentMark stands before what is lent, so that it is told from the same authorities
// put there by the step itself.
const lentMark = "# lent by the builder while a step runs\n"

// lend adds authorities to the bundles and the hashed directory of the system that are
// there, for programs that heed no variable. What it gives takes them out again: a bundle that the step
// did not touch is then what it was, with its time stamp, so that the layer holds
// nothing of it; from one that the step added to they are cut; one that the step
// made anew, as the distributions' own tools do, never had them.
func lend(r root, cas []site.Certificate) (func() error, error) {
	var lent []bundleFile
	var links []string
	extra := append([]byte(lentMark), site.Bundle(cas)...)
	giveBack := func() error {
		for _, b := range lent {
			if err := b.restore(r, extra); err != nil {
				return err
			}
		}
		for _, rel := range links {
			if err := unlink(r, rel); err != nil {
				return err
			}
		}
		return nil
	}
	for _, dir := range steptrust.Directories() {
		for _, c := range cas {
			rel, err := lendHashed(r, dir, c)
			if err != nil {
				return giveBack, err
			}
			if rel != "" {
				links = append(links, rel)
			}
		}
	}
	for _, path := range steptrust.Bundles() {
		b, err := readBundle(r, path)
		if err != nil || slices.ContainsFunc(lent, func(o bundleFile) bool { return o.rel == b.rel }) {
			continue // most images have but one of them
		}
		lent = append(lent, b)
		if err := overwrite(r, b.rel, steptrust.Join(b.data, extra)); err != nil {
			return giveBack, err
		}
	}
	return giveBack, nil
}

// lendHashed puts an authority into a hashed directory, below the first number of its
// name that is free: OpenSSL tries them until one is not there. It is a link to the
// mounted file, as tools that make such a directory anew take away links, not files.
// Empty: the directory is not there.
func lendHashed(r root, dir string, c site.Certificate) (string, error) {
	at, err := r.resolve(dir, true)
	if err != nil {
		return "", nil
	}
	st, err := r.lstat(at)
	hash, ok := c.SubjectHash()
	if err != nil || !isDir(st) || !ok {
		return "", nil
	}
	for n := 0; ; n++ {
		rel := fmt.Sprintf("%s/%s.%d", at, hash, n)
		err := os.Symlink(steptrust.Lone, r.join(rel))
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err != nil {
			return "", fmt.Errorf("/%s: %w", rel, errors.Unwrap(err))
		}
		return rel, nil
	}
}

// unlink removes a lent link, and leaves alone what the step put in its place.
func unlink(r root, rel string) error {
	if to, err := os.Readlink(r.join(rel)); err != nil || to != steptrust.Lone {
		return nil
	}
	if err := os.Remove(r.join(rel)); err != nil {
		return inImage(err, rel)
	}
	return nil
}

func (b bundleFile) restore(r root, extra []byte) error {
	st, err := r.lstat(b.rel)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) || (err == nil && !isReg(st)) {
		return nil
	}
	if err != nil {
		return inImage(err, b.rel)
	}
	now, err := os.ReadFile(r.join(b.rel))
	if err != nil {
		return inImage(err, b.rel)
	}
	if bytes.Equal(now, steptrust.Join(b.data, extra)) {
		if err := overwrite(r, b.rel, b.data); err != nil {
			return err
		}
		times := []unix.Timespec{b.st.Atim, b.st.Mtim}
		if err := unix.UtimesNanoAt(unix.AT_FDCWD, r.join(b.rel), times, unix.AT_SYMLINK_NOFOLLOW); err != nil {
			return inImage(err, b.rel)
		}
		return nil
	}
	if clean := bytes.ReplaceAll(now, extra, nil); len(clean) < len(now) {
		return overwrite(r, b.rel, clean)
	}
	return nil
}

// overwrite keeps the file, its owner and mode, and changes what is in it. That it
// is no link was seen before; the step that could make it one has ended.
func overwrite(r root, rel string, data []byte) error {
	f, err := os.OpenFile(r.join(rel), os.O_WRONLY|os.O_TRUNC|unix.O_NOFOLLOW, 0)
	if err != nil {
		return inImage(err, rel)
	}
	_, err = f.Write(data)
	if err = errors.Join(err, f.Close()); err != nil {
		return inImage(err, rel)
	}
	return nil
}
