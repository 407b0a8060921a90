package sif

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"slices"
	"strings"

	"github.com/cfbuild/cfbuild/internal/oci"
	"github.com/cfbuild/cfbuild/internal/rootfs"
	"github.com/cfbuild/cfbuild/internal/squashfs"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// builder writes the file system.
type builder struct {
	layout   *oci.Layout
	manifest v1.Descriptor
	m        v1.Manifest
	config   v1.Image
	o        Options
	out      squashfs.File
	add      *additions
	r        *Result

	w        *squashfs.Writer
	contents map[int]*squashfs.Content // by rootfs's inode
}

// run writes content as the layers stream by and then, when it is known what the
// image has, the entries. Content that a later layer hides must not be in the file. It
// is left out by the names that the later layers have; where those deceive, by hard links or
// by a name that is in one layer twice, all is read again.
func (b *builder) run(ctx context.Context) error {
	wanted := b.foreseen(ctx)
	for {
		img, exact, err := b.write(ctx, wanted)
		if err != nil {
			return err
		}
		if exact {
			return b.finish(img)
		}
		b.w.Abort()
		live := b.inodes(img)
		wanted = func(_ int, e *rootfs.Entry) bool { return live[e.Inode] != nil }
	}
}

// foreseen says of a file whether it will be in the SIF, by names alone.
func (b *builder) foreseen(ctx context.Context) func(int, *rootfs.Entry) bool {
	foresight := rootfs.Foresee(ctx, b.layout, b.m)
	return func(layer int, e *rootfs.Entry) bool { return !b.add.replaces(e) && !foresight.Hides(layer, e.Path) }
}

// inodes are the files with content that are in the SIF.
func (b *builder) inodes(img *rootfs.FS) map[int]*rootfs.Entry {
	live := map[int]*rootfs.Entry{}
	for _, e := range img.List() {
		if e.Type == rootfs.File && !b.add.replaces(e) {
			live[e.Inode] = e
		}
	}
	return live
}

// write reads the layers and takes in the content of those files that are wanted. exact
// says that these are all that the image has, and no others.
func (b *builder) write(ctx context.Context, wanted func(int, *rootfs.Entry) bool) (img *rootfs.FS, exact bool, err error) {
	b.w, err = squashfs.NewWriter(b.out, squashfs.Options{Compression: b.o.Compression, Level: b.o.Level, Workers: b.o.Workers, Epoch: b.o.Epoch})
	if err != nil {
		return nil, false, err
	}
	b.contents = map[int]*squashfs.Content{}
	img, err = rootfs.Open(ctx, b.layout, b.manifest, rootfs.Options{Visit: func(layer int, e *rootfs.Entry, r io.Reader) error {
		if e.Size == 0 || !wanted(layer, e) {
			return nil
		}
		c, err := b.w.Content(strings.TrimPrefix(e.Path, "/"), e.Size, r)
		b.contents[e.Inode] = c
		return err
	}})
	if err != nil {
		b.w.Abort()
		return nil, false, err
	}
	exact = true
	now := b.inodes(img)
	for inode := range b.contents {
		exact = exact && now[inode] != nil
	}
	// What is hidden or replaced may have another name, by a hard link.
	for inode, e := range now {
		exact = exact && (e.Size == 0 || b.contents[inode] != nil)
	}
	return img, exact, nil
}

// finish adds the entries of the image and ours.
func (b *builder) finish(img *rootfs.FS) error {
	defer b.w.Abort()
	if _, err := img.Resolve("/bin/sh"); err != nil { // the same files, another run script
		if b.add, err = added(b.config, b.manifest, b.o, false); err != nil {
			return err
		}
	}
	first := map[int]string{}
	for _, e := range img.List() {
		if b.add.replaces(e) {
			continue
		}
		if b.o.NoDevices && (e.Type == rootfs.Char || e.Type == rootfs.Block) {
			b.drop(e.Path + ": device " + e.Dev)
			continue
		}
		q, err := b.entry(e)
		if err != nil {
			return err
		}
		if e.Type != rootfs.Dir {
			if at, ok := first[e.Inode]; ok {
				q = squashfs.Entry{Path: q.Path, HardLink: at}
			} else {
				first[e.Inode] = q.Path
			}
		}
		if err := b.w.Add(q, nil); err != nil {
			return err
		}
		b.r.Entries++
	}
	for _, e := range b.add.missing(img) {
		if err := b.w.Add(e.Entry, strings.NewReader(e.data)); err != nil {
			return err
		}
		b.r.Entries++
	}
	return b.w.Close()
}

// drop takes note of what is not in the file.
func (b *builder) drop(what string) {
	if len(b.r.Dropped) < 100 {
		b.r.Dropped = append(b.r.Dropped, what)
	}
}

var types = map[rootfs.Type]fs.FileMode{rootfs.File: 0, rootfs.Dir: fs.ModeDir, rootfs.Symlink: fs.ModeSymlink,
	rootfs.Char: fs.ModeDevice | fs.ModeCharDevice, rootfs.Block: fs.ModeDevice, rootfs.Fifo: fs.ModeNamedPipe}

func (b *builder) entry(e *rootfs.Entry) (squashfs.Entry, error) {
	kind, ok := types[e.Type]
	if !ok {
		return squashfs.Entry{}, fmt.Errorf("%s: a %s cannot be in a file system", e.Path, e.Type)
	}
	if uint64(e.UID) > 1<<32-1 || uint64(e.GID) > 1<<32-1 {
		return squashfs.Entry{}, fmt.Errorf("%s: owner %d:%d is no number Linux has", e.Path, e.UID, e.GID)
	}
	q := squashfs.Entry{Path: "." + e.Path, Mode: kind | fs.FileMode(e.Mode&0o777), UID: uint32(e.UID), GID: uint32(e.GID),
		ModTime: e.ModTime, Content: b.contents[e.Inode]}
	for bit, m := range map[uint32]fs.FileMode{0o4000: fs.ModeSetuid, 0o2000: fs.ModeSetgid, 0o1000: fs.ModeSticky} {
		if e.Mode&bit != 0 {
			q.Mode |= m
		}
	}
	if e.Type == rootfs.Symlink {
		q.Target = e.Link
	}
	if e.Dev != "" {
		if _, err := fmt.Sscanf(e.Dev, "%d:%d", &q.Major, &q.Minor); err != nil {
			return q, fmt.Errorf("%s: device %q: %w", e.Path, e.Dev, err)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(e.Xattrs)) {
		if !squashfs.Kept(name) {
			b.drop(e.Path + ": " + name)
			continue
		}
		if q.Xattrs == nil {
			q.Xattrs = map[string][]byte{}
		}
		q.Xattrs[name] = []byte(e.Xattrs[name])
	}
	return q, nil
}
