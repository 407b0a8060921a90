package squashfs

import (
	"errors"
	"math"
)

// meta is a table in metadata blocks, compressed as it grows.
type meta struct {
	enc     encoder
	out     []byte
	buf     []byte // the block being filled; never full between calls
	scratch []byte
	err     error
}

func newMeta(e encoder) *meta { return &meta{enc: e, buf: make([]byte, 0, metaSize)} }

// at is where the next byte goes: the start of its block in out, and the offset in
// the block's content.
func (m *meta) at() (block uint64, offset uint16) { return uint64(len(m.out)), uint16(len(m.buf)) }

// ref packs at into the form inodes are referred to by.
func (m *meta) ref() uint64 {
	block, offset := m.at()
	return block<<16 | uint64(offset)
}

func (m *meta) write(b []byte) {
	for len(b) > 0 {
		n := min(len(b), metaSize-len(m.buf))
		m.buf = append(m.buf, b[:n]...)
		b = b[n:]
		if len(m.buf) == metaSize {
			m.flush()
		}
	}
}

// flush ends the block.
func (m *meta) flush() {
	if len(m.buf) == 0 || m.err != nil {
		return
	}
	var ok bool
	m.scratch, ok, m.err = m.enc.encode(m.scratch, m.buf)
	if ok {
		m.out = append(le.AppendUint16(m.out, uint16(len(m.scratch))), m.scratch...)
	} else {
		m.out = append(le.AppendUint16(m.out, metaStored|uint16(len(m.buf))), m.buf...)
	}
	m.buf = m.buf[:0]
}

// tables are the inodes and the directories, which refer to each other.
type tables struct {
	inodes, dirs *meta
	refs         []uint64 // by number - 1
	buf          []byte
}

// write puts the whole tree into the tables.
func (t *tables) write(root *inode) error {
	// The root's parent has a number no inode has.
	if err := t.dir(root, uint32(len(t.refs))+1); err != nil {
		return err
	}
	t.inodes.flush()
	t.dirs.flush()
	return errors.Join(t.inodes.err, t.dirs.err)
}

// dir writes what is below a directory, its listing and its inode. The order is that
// in which tree.number counts.
func (t *tables) dir(d *inode, parent uint32) error {
	for _, n := range d.names {
		if n.kind == kindDir {
			if err := t.dir(n.inode, d.number); err != nil {
				return err
			}
		}
	}
	for _, n := range d.names {
		if n.kind != kindDir && !n.written {
			t.leaf(n.inode)
		}
	}
	block, offset := t.dirs.at()
	index, size, err := t.listing(d)
	if err != nil {
		return err
	}
	// Readers count "." and ".." in, as one byte each and one more.
	size += 3
	kind := d.kind
	long := size > math.MaxUint16 || len(index) > 0 || d.xattr != noXattr
	if long {
		kind += extended
	}
	b := t.header(d, kind)
	if long {
		for _, v := range []uint32{d.links, uint32(size), uint32(block), parent} {
			b = le.AppendUint32(b, v)
		}
		b = le.AppendUint16(le.AppendUint16(b, uint16(len(index))), offset)
		b = le.AppendUint32(b, d.xattr)
		for _, i := range index {
			for _, v := range []uint32{i.offset, uint32(i.block), uint32(len(i.name) - 1)} {
				b = le.AppendUint32(b, v)
			}
			b = append(b, i.name...)
		}
	} else {
		b = le.AppendUint32(le.AppendUint32(b, uint32(block)), d.links)
		b = le.AppendUint16(le.AppendUint16(b, uint16(size)), offset)
		b = le.AppendUint32(b, parent)
	}
	t.place(d, b)
	return nil
}

// place writes a finished inode and notes where it is.
func (t *tables) place(n *inode, b []byte) {
	n.ref, n.written = t.inodes.ref(), true
	t.refs[n.number-1] = n.ref
	t.inodes.write(b)
	t.buf = b[:0]
}

// header begins an inode.
func (t *tables) header(n *inode, kind uint16) []byte {
	b := t.buf[:0]
	for _, v := range []uint16{kind, n.mode, n.uid, n.gid} {
		b = le.AppendUint16(b, v)
	}
	return le.AppendUint32(le.AppendUint32(b, n.mtime), n.number)
}

// leaf writes the inode of anything but a directory.
func (t *tables) leaf(n *inode) {
	kind, long := n.kind, n.xattr != noXattr
	var c content
	if n.content != nil {
		c = *n.content
	}
	if kind == kindFile {
		long = long || n.links > 1 || c.sparse > 0 || c.start > math.MaxUint32 || n.size > math.MaxUint32
	}
	if long {
		kind += extended
	}
	b := t.header(n, kind)
	switch {
	case n.kind == kindFile && long:
		for _, v := range []uint64{c.start, n.size, c.sparse} {
			b = le.AppendUint64(b, v)
		}
		for _, v := range []uint32{n.links, n.fragment, n.offset, n.xattr} {
			b = le.AppendUint32(b, v)
		}
	case n.kind == kindFile:
		for _, v := range []uint32{uint32(c.start), n.fragment, n.offset, uint32(n.size)} {
			b = le.AppendUint32(b, v)
		}
	default:
		b = le.AppendUint32(b, n.links)
		switch n.kind {
		case kindSymlink:
			b = append(le.AppendUint32(b, uint32(len(n.target))), n.target...)
		case kindBlock, kindChar:
			b = le.AppendUint32(b, n.device)
		}
		if long {
			b = le.AppendUint32(b, n.xattr)
		}
	}
	for _, s := range c.sizes {
		b = le.AppendUint32(b, s)
	}
	t.place(n, b)
}

// indexEntry says which name comes first in a later metadata block of a listing.
type indexEntry struct {
	offset uint32 // in the listing, of the header before the name
	block  uint64
	name   string
}

// listing writes a directory's entries, in groups that share a header: the inodes
// of a group are in one metadata block and have near numbers. A group ends where a
// metadata block does, so that large directories get an index.
func (t *tables) listing(d *inode) (index []indexEntry, size uint64, err error) {
	var in uint64 // the metadata block of the header before, as a count
	_, first := t.dirs.at()
	for i := 0; i < len(d.names); {
		block, offset := t.dirs.at()
		if here := (uint64(first) + size) / metaSize; here != in {
			in = here
			if len(index) < math.MaxUint16 {
				index = append(index, indexEntry{uint32(size), block, d.names[i].name})
			}
		}
		head := d.names[i]
		end, bytes := i, uint64(dirHeaderSize)
		for end < len(d.names) && end-i < maxDirGroup {
			n := d.names[end]
			delta := int64(n.number) - int64(head.number)
			if n.ref>>16 != head.ref>>16 || delta < math.MinInt16 || delta > math.MaxInt16 ||
				end > i && uint64(offset)+bytes >= metaSize {
				break
			}
			bytes += dirEntrySize + uint64(len(n.name))
			end++
		}
		b := t.buf[:0]
		for _, v := range []uint32{uint32(end - i - 1), uint32(head.ref >> 16), head.number} {
			b = le.AppendUint32(b, v)
		}
		for _, n := range d.names[i:end] {
			b = le.AppendUint16(b, uint16(n.ref))
			b = le.AppendUint16(b, uint16(int16(int64(n.number)-int64(head.number))))
			b = le.AppendUint16(le.AppendUint16(b, n.kind), uint16(len(n.name)-1))
			b = append(b, n.name...)
		}
		t.dirs.write(b)
		t.buf = b[:0]
		size += bytes
		i = end
	}
	if size+3 > math.MaxUint32 {
		return nil, 0, errors.New("squashfs: a directory's listing is larger than 4 GiB")
	}
	return index, size, nil
}

// appender writes the tables one after the other.
type appender struct {
	out File
	pos uint64
	err error
}

func (a *appender) write(b []byte) {
	if a.err == nil {
		_, a.err = a.out.WriteAt(b, int64(a.pos))
		a.pos += uint64(len(b))
	}
}

// table writes n entries in metadata blocks and then the blocks' places, and gives
// where these are.
func (a *appender) table(e encoder, n int, entry func(b []byte, i int) []byte) uint64 {
	m := newMeta(e)
	var index, b []byte
	for i := range n {
		if len(m.buf) == 0 {
			index = le.AppendUint64(index, a.pos+uint64(len(m.out)))
		}
		b = entry(b[:0], i)
		m.write(b)
	}
	m.flush()
	if m.err != nil {
		a.err = errors.Join(a.err, m.err)
	}
	a.write(m.out)
	start := a.pos
	a.write(index)
	return start
}

// xattrs writes the attribute sets, the table of them and its header.
func (a *appender) xattrs(e encoder, sets []xattrSet) (uint64, error) {
	m := newMeta(e)
	refs := make([]uint64, len(sets))
	for i, s := range sets {
		refs[i] = m.ref()
		m.write([]byte(s.data))
	}
	m.flush()
	if m.err != nil {
		return 0, m.err
	}
	values := a.pos
	a.write(m.out)
	// The header goes between the blocks of the table and their places.
	blocks := newMeta(e)
	var index []byte
	for i, s := range sets {
		if len(blocks.buf) == 0 {
			index = le.AppendUint64(index, a.pos+uint64(len(blocks.out)))
		}
		blocks.write(le.AppendUint32(le.AppendUint32(le.AppendUint64(nil, refs[i]), s.count), uint32(len(s.data))))
	}
	blocks.flush()
	if blocks.err != nil {
		return 0, blocks.err
	}
	a.write(blocks.out)
	start := a.pos
	a.write(le.AppendUint32(le.AppendUint32(le.AppendUint64(nil, values), uint32(len(sets))), 0))
	a.write(index)
	return start, nil
}
