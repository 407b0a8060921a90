package sif

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
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
	config   v1.Image
	layers   int
	o        Options
	out      *os.File
	add      *additions
	r        *Result

	w        *squashfs.Writer
	contents map[int]*squashfs.Content // by rootfs's inode
}

// run writes content as the layers stream by and then, when it is known what the
// image has, the entries. Content that a later layer hides must not be in the file,
// so that images of several layers are read once before, for their names alone. Of one
// layer only names that are in it twice are hidden: then it is read again.
func (b *builder) run(ctx context.Context) error {
	var live map[int]*rootfs.Entry
	if b.layers > 1 {
		img, err := rootfs.Open(ctx, b.layout, b.manifest, rootfs.Options{})
		if err != nil {
			return err
		}
		live = b.inodes(img)
	}
	for {
		img, hidden, err := b.write(ctx, live)
		if err != nil {
			return err
		}
		if !hidden {
			return b.finish(img)
		}
		b.w.Abort()
		live = b.inodes(img)
	}
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

// write reads the layers and takes in the content of those files that live names,
// or of all when it is nil; hidden says that some of it is not in the image.
func (b *builder) write(ctx context.Context, live map[int]*rootfs.Entry) (img *rootfs.FS, hidden bool, err error) {
	b.w, err = squashfs.NewWriter(b.out, squashfs.Options{Compression: b.o.Compression, Level: b.o.Level, Workers: b.o.Workers, Epoch: b.o.Epoch})
	if err != nil {
		return nil, false, err
	}
	b.contents = map[int]*squashfs.Content{}
	img, err = rootfs.Open(ctx, b.layout, b.manifest, rootfs.Options{Visit: func(_ int, e *rootfs.Entry, r io.Reader) error {
		if e.Size == 0 || live != nil && live[e.Inode] == nil || live == nil && b.add.replaces(e) {
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
	now := b.inodes(img)
	for inode := range b.contents {
		hidden = hidden || now[inode] == nil
	}
	// What we replace may have another name, by a hard link.
	for inode, e := range now {
		hidden = hidden || e.Size > 0 && b.contents[inode] == nil
	}
	return img, hidden, nil
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
