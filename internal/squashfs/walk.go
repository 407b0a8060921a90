package squashfs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"time"
)

// Node is an entry that is read. Its HardLink is set when the inode came before under
// that path; its other fields are filled in all the same.
type Node struct {
	Entry
	Inode uint32
	Links uint32

	kind           uint16
	parent         uint32 // of a directory
	start          uint64 // of a file's blocks, or the block of a directory's listing
	sparse         uint64
	list           cursor // at the sizes of the blocks
	fragment       uint32
	offset         uint32 // in the fragment block, or of the listing
	listing        uint32 // bytes
	indexes        uint16
	ref            uint64
	xattr          uint32
	uidIdx, gidIdx uint16
}

// inode reads the inode that ref says.
func (f *FS) inode(ref uint64) (*Node, error) {
	c := cursor{f, f.s.inodeTable + ref>>16, f.s.dirTable, int(ref & 0xffff)}
	if ref>>16 >= f.s.dirTable-f.s.inodeTable || ref&0xffff >= metaSize {
		return nil, corrupt("inode at %#x", ref)
	}
	var h [16]byte
	if err := c.read(h[:]); err != nil {
		return nil, err
	}
	kind := le.Uint16(h[:])
	long := kind > extended
	if long {
		kind -= extended
	}
	if kind == 0 || kind > kindSocket {
		return nil, corrupt("inode of kind %d", le.Uint16(h[:]))
	}
	n := &Node{kind: kind, ref: ref, fragment: noFragment, xattr: noXattr, Inode: le.Uint32(h[12:]), uidIdx: le.Uint16(h[4:]), gidIdx: le.Uint16(h[6:])}
	n.Mode, n.ModTime = fileMode(kind, le.Uint16(h[2:])), time.Unix(int64(le.Uint32(h[8:])), 0).UTC()
	if err := n.body(&c, long); err != nil {
		return nil, err
	}
	if n.Inode == 0 || n.Inode > f.s.inodes {
		return nil, corrupt("inode number %d of %d", n.Inode, f.s.inodes)
	}
	var err error
	if n.UID, err = f.id(n.uidIdx); err != nil {
		return nil, err
	}
	if n.GID, err = f.id(n.gidIdx); err != nil {
		return nil, err
	}
	if n.xattr != noXattr {
		n.Xattrs, err = f.xattrs(n.xattr)
	}
	return n, err
}

// body reads what follows the header, by kind.
func (n *Node) body(c *cursor, long bool) error {
	sizes := map[uint16][2]int{kindDir: {16, 24}, kindFile: {16, 40}, kindSymlink: {8, 8}, kindBlock: {8, 12}, kindChar: {8, 12},
		kindFIFO: {4, 8}, kindSocket: {4, 8}}
	var buf [40]byte
	b := buf[:sizes[n.kind][0]]
	if long {
		b = buf[:sizes[n.kind][1]]
	}
	if err := c.read(b); err != nil {
		return err
	}
	n.Links = le.Uint32(b)
	switch {
	case n.kind == kindDir && long:
		n.listing, n.start, n.parent = le.Uint32(b[4:]), uint64(le.Uint32(b[8:])), le.Uint32(b[12:])
		n.indexes, n.offset, n.xattr = le.Uint16(b[16:]), uint32(le.Uint16(b[18:])), le.Uint32(b[20:])
	case n.kind == kindDir:
		n.start, n.Links = uint64(le.Uint32(b)), le.Uint32(b[4:])
		n.listing, n.offset, n.parent = uint32(le.Uint16(b[8:])), uint32(le.Uint16(b[10:])), le.Uint32(b[12:])
	case n.kind == kindFile && long:
		n.start, n.Size, n.sparse = le.Uint64(b), int64(le.Uint64(b[8:])), le.Uint64(b[16:])
		n.Links, n.fragment, n.offset, n.xattr = le.Uint32(b[24:]), le.Uint32(b[28:]), le.Uint32(b[32:]), le.Uint32(b[36:])
	case n.kind == kindFile:
		n.start, n.fragment, n.offset, n.Size = uint64(le.Uint32(b)), le.Uint32(b[4:]), le.Uint32(b[8:]), int64(le.Uint32(b[12:]))
		n.Links = 1
	case n.kind == kindSymlink:
		size := le.Uint32(b[4:])
		if size == 0 || size > maxLink+1 {
			return corrupt("symbolic link of %d bytes", size)
		}
		t := make([]byte, size)
		if err := c.read(t); err != nil {
			return err
		}
		n.Target = string(t)
		if long {
			var err error
			n.xattr, err = c.u32()
			return err
		}
	case n.kind == kindBlock || n.kind == kindChar:
		n.Major, n.Minor = majorMinor(le.Uint32(b[4:]))
		if long {
			n.xattr = le.Uint32(b[8:])
		}
	case long:
		n.xattr = le.Uint32(b[4:])
	}
	if n.Size < 0 {
		return corrupt("file of %d bytes", uint64(n.Size))
	}
	n.list = *c
	return nil
}

// entries calls fn for each name of a directory, in order.
func (f *FS) entries(d *Node, fn func(name string, kind uint16, number uint32, ref uint64) error) error {
	if d.listing < 3 {
		return corrupt("directory listing of %d bytes", d.listing)
	}
	c := cursor{f, f.s.dirTable + d.start, f.s.used, int(d.offset)}
	last := ""
	for left := int64(d.listing) - 3; left > 0; {
		var h [dirHeaderSize]byte
		if err := c.read(h[:]); err != nil {
			return err
		}
		count, block, number := le.Uint32(h[:]), le.Uint32(h[4:]), le.Uint32(h[8:])
		left -= dirHeaderSize
		if count >= maxDirGroup {
			return corrupt("group of %d directory entries", count)
		}
		for range count + 1 {
			var e [dirEntrySize]byte
			if err := c.read(e[:]); err != nil {
				return err
			}
			size := int(le.Uint16(e[6:])) + 1
			if size > maxName+1 {
				return corrupt("name of %d bytes", size)
			}
			b := make([]byte, size)
			if err := c.read(b); err != nil {
				return err
			}
			if left -= int64(dirEntrySize + size); left < 0 {
				return corrupt("directory listing is longer than its inode says")
			}
			name := string(b)
			if name <= last || name == "." || name == ".." || strings.ContainsAny(name, "/\x00") {
				return corrupt("name %q after %q", name, last)
			}
			last = name
			err := fn(name, le.Uint16(e[4:]), number+uint32(int32(int16(le.Uint16(e[2:])))), uint64(block)<<16|uint64(le.Uint16(e[:])))
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// walker is the state of one walk.
type walker struct {
	f      *FS
	fn     func(*Node) error
	dirs   map[uint64]bool   // inodes of directories, each once
	links  map[uint64]string // paths of inodes with several names
	budget uint64            // bytes of listings that can be left
}

// Walk calls fn for the root and everything below it, names sorted byte by byte,
// a directory before what is in it. A node is not used again after fn returns, and is
// fn's to keep. fn's error ends the walk and is returned.
func (f *FS) Walk(fn func(*Node) error) error {
	root, err := f.root()
	if err != nil {
		return err
	}
	root.Path = "."
	w := walker{f: f, fn: fn, dirs: map[uint64]bool{}, links: map[uint64]string{},
		budget: (f.s.used - f.s.dirTable) / 3 * metaSize}
	return w.dir(root)
}

func (f *FS) root() (*Node, error) {
	root, err := f.inode(f.s.root)
	if err != nil {
		return nil, fmt.Errorf("root: %w", err)
	}
	if root.kind != kindDir {
		return nil, corrupt("its root is no directory")
	}
	return root, nil
}

func (w *walker) dir(d *Node) error {
	if w.dirs[d.ref] {
		return corrupt("directory %q is in the tree twice", d.Path)
	}
	w.dirs[d.ref] = true
	// Listings that overlap would let a small image have names without end.
	if uint64(d.listing) > w.budget {
		return corrupt("listings of directories overlap")
	}
	w.budget -= uint64(d.listing)
	// fn may keep d, and change it.
	at, self := d.Path, *d
	if err := w.fn(d); err != nil {
		return err
	}
	return w.f.entries(&self, func(name string, kind uint16, number uint32, ref uint64) error {
		path := name
		if at != "." {
			path = at + "/" + name
		}
		if len(path) > maxPath {
			return corrupt("path longer than %d bytes", maxPath)
		}
		n, err := w.f.inode(ref)
		if err != nil {
			return fmt.Errorf("%q: %w", path, err)
		}
		if n.kind != kind || n.Inode != number {
			return corrupt("%q is kind %d, number %d; its directory says %d, %d", path, n.kind, n.Inode, kind, number)
		}
		n.Path = path
		if kind == kindDir {
			return w.dir(n)
		}
		if first, ok := w.links[ref]; ok {
			n.HardLink = first
		} else if n.Links > 1 {
			w.links[ref] = path
		}
		return w.fn(n)
	})
}

// Lookup finds the entry of a path, without following symbolic links. The error
// matches fs.ErrNotExist when there is none.
func (f *FS) Lookup(path string) (*Node, error) {
	names, err := cleanPath(path)
	if err != nil {
		return nil, err
	}
	at, err := f.root()
	if err != nil {
		return nil, err
	}
	for _, want := range names {
		var found *Node
		if at.kind == kindDir {
			err := f.entries(at, func(name string, _ uint16, _ uint32, ref uint64) (err error) {
				if name == want {
					if found, err = f.inode(ref); err == nil {
						err = errStop
					}
				}
				return err
			})
			if err != nil && !errors.Is(err, errStop) {
				return nil, err
			}
		}
		if found == nil {
			return nil, &fs.PathError{Op: "open", Path: path, Err: fs.ErrNotExist}
		}
		at = found
	}
	at.Path = strings.Join(names, "/")
	if len(names) == 0 {
		at.Path = "."
	}
	return at, nil
}

// ReadFile reads a regular file that has at most max bytes.
func (f *FS) ReadFile(path string, max int64) ([]byte, error) {
	n, err := f.Lookup(path)
	if err != nil {
		return nil, err
	}
	if !n.Mode.IsRegular() {
		return nil, &EntryError{Path: n.Path, Reason: "is no regular file"}
	}
	if n.Size > max {
		return nil, &EntryError{Path: n.Path, Reason: fmt.Sprintf("has %d bytes, more than %d", n.Size, max)}
	}
	return io.ReadAll(f.Content(n))
}
