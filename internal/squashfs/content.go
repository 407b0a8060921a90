package squashfs

import (
	"context"
	"fmt"
	"io"
)

// Content reads a regular file; other nodes have none. Readers of several files
// may be used in turn.
func (f *FS) Content(n *Node) io.Reader {
	if n.kind != kindFile {
		return eof{}
	}
	return &reader{f: f, n: n, list: n.list, pos: n.start, left: n.Size}
}

type eof struct{}

func (eof) Read([]byte) (int, error) { return 0, io.EOF }

type reader struct {
	f    *FS
	n    *Node
	list cursor
	pos  uint64 // of the next block
	left int64  // bytes of the file that no block was read for
	buf  []byte // block, reused
	data []byte // what is left of it
	err  error
}

func (r *reader) Read(p []byte) (int, error) {
	for len(r.data) == 0 {
		if r.err == nil && r.left == 0 {
			r.err = io.EOF
		}
		if r.err == nil {
			r.err = r.next()
		}
		if r.err != nil {
			return 0, r.err
		}
	}
	n := copy(p, r.data)
	r.data = r.data[n:]
	return n, nil
}

// next reads the next block, or the end of the file out of its fragment block.
func (r *reader) next() error {
	want := int(min(r.left, int64(r.f.s.blockSize)))
	r.left -= int64(want)
	if r.n.fragment != noFragment && want < int(r.f.s.blockSize) {
		b, err := r.f.fragmentBlock(r.n.fragment)
		if err != nil {
			return err
		}
		if uint64(r.n.offset)+uint64(want) > uint64(len(b)) {
			return corrupt("a file's end is beyond its fragment block")
		}
		r.data = append(r.buf[:0], b[r.n.offset:][:want]...)
		r.buf = r.data
		return nil
	}
	size, err := r.list.u32()
	if err != nil {
		return err
	}
	if size == 0 {
		if cap(r.buf) < want {
			r.buf = make([]byte, want)
		}
		r.data = r.buf[:want]
		clear(r.data)
		return nil
	}
	if r.buf, err = r.f.block(r.buf, r.pos, size); err != nil {
		return err
	}
	if len(r.buf) != want {
		return corrupt("block at %d has %d bytes, want %d", r.pos, len(r.buf), want)
	}
	r.data = r.buf
	r.pos += uint64(size &^ blockStored)
	return nil
}

// block reads a data block into dst[:0].
func (f *FS) block(dst []byte, pos uint64, size uint32) ([]byte, error) {
	n := size &^ blockStored
	if n == 0 || n > f.s.blockSize {
		return nil, corrupt("block of %d bytes", n)
	}
	b, err := f.at(pos, int(n))
	if err != nil {
		return nil, err
	}
	if size&blockStored != 0 {
		return append(dst[:0], b...), nil
	}
	out, err := f.dec.decode(dst, b, int(f.s.blockSize))
	if err != nil {
		return nil, corrupt("block at %d: %v", pos, err)
	}
	return out, nil
}

func (f *FS) fragmentAt(i uint32) (fragment, error) {
	if i >= f.s.fragments {
		return fragment{}, corrupt("fragment %d of %d", i, f.s.fragments)
	}
	var e [fragmentEntry]byte
	err := f.lookup(f.s.fragTable, i, e[:])
	return fragment{le.Uint64(e[:]), le.Uint32(e[8:])}, err
}

func (f *FS) fragmentBlock(i uint32) ([]byte, error) {
	at, err := f.fragmentAt(i)
	if err != nil {
		return nil, err
	}
	c := &f.frags[i%uint32(len(f.frags))]
	if c.data == nil || c.pos != at.start {
		out := c.data
		c.data = nil
		if out, err = f.block(out, at.start, at.size); err != nil {
			return nil, err
		}
		*c = cached{pos: at.start, data: out}
	}
	return c.data, nil
}

// Stats counts what [FS.Verify] saw.
type Stats struct {
	Entries, Inodes, Hardlinks, Blocks, Fragments int
	Bytes                                         int64 // of files, duplicates and holes counted
}

// Verify reads the whole image: every entry, each data and fragment block once,
// and the tables that point back at them. The error names the entry.
func (f *FS) Verify(ctx context.Context) (Stats, error) {
	v := verifier{f: f, ctx: ctx, blocks: map[uint64]uint32{}, lists: (f.s.dirTable - f.s.inodeTable) / 3 * metaSize / 4,
		data: f.s.used, seen: map[uint32]uint64{}}
	err := v.fragments()
	if err == nil {
		err = f.Walk(v.node)
	}
	if err == nil && len(v.seen) != int(f.s.inodes) {
		err = corrupt("%d inodes in its tree, its superblock says %d", len(v.seen), f.s.inodes)
	}
	v.Inodes = len(v.seen)
	return v.Stats, err
}

type verifier struct {
	Stats
	f       *FS
	ctx     context.Context
	blocks  map[uint64]uint32 // those read, and their sizes
	seen    map[uint32]uint64 // inodes by number
	lists   uint64            // block sizes that can be left to read
	data    uint64            // stored bytes that can be left to read
	lengths []uint32          // of the fragment blocks
	buf     []byte
}

func (v *verifier) node(n *Node) error {
	if err := v.ctx.Err(); err != nil {
		return err
	}
	v.Entries++
	v.Bytes += n.Size
	if n.HardLink != "" {
		v.Hardlinks++
	}
	if ref, ok := v.seen[n.Inode]; ok {
		if ref != n.ref {
			return corrupt("%q: inode number %d is another's too", n.Path, n.Inode)
		}
		return nil
	}
	v.seen[n.Inode] = n.ref
	if v.f.s.exportTable != none {
		var b [exportEntry]byte
		if err := v.f.lookup(v.f.s.exportTable, n.Inode-1, b[:]); err != nil {
			return err
		}
		if le.Uint64(b[:]) != n.ref {
			return corrupt("%q: the export table has inode %d elsewhere", n.Path, n.Inode)
		}
	}
	if n.kind != kindFile {
		return nil
	}
	if err := v.file(n); err != nil {
		return fmt.Errorf("%q: %w", n.Path, err)
	}
	return nil
}

// file reads the blocks of a file that were not read before.
func (v *verifier) file(n *Node) error {
	size := int64(v.f.s.blockSize)
	count, last := n.Size/size, n.Size%size
	if last > 0 && n.fragment == noFragment {
		count++
	}
	if uint64(count) > v.lists {
		return corrupt("more blocks than the inode table has room for")
	}
	v.lists -= uint64(count)
	list, pos := n.list, n.start
	for i := range count {
		stored, err := list.u32()
		if err != nil {
			return err
		}
		if stored == 0 {
			continue
		}
		want := int(min(size, n.Size-i*size))
		if err := v.block(pos, stored, want); err != nil {
			return err
		}
		pos += uint64(stored &^ blockStored)
	}
	if last == 0 || n.fragment == noFragment {
		return nil
	}
	if n.fragment >= uint32(len(v.lengths)) {
		return corrupt("fragment %d of %d", n.fragment, len(v.lengths))
	}
	if uint64(n.offset)+uint64(last) > uint64(v.lengths[n.fragment]) {
		return corrupt("its end is beyond its fragment block")
	}
	return nil
}

// block checks a block of want bytes; -1 is any length.
func (v *verifier) block(pos uint64, stored uint32, want int) (err error) {
	if err := v.ctx.Err(); err != nil {
		return err
	}
	if was, ok := v.blocks[pos]; ok {
		if was != stored {
			return corrupt("block at %d has two sizes", pos)
		}
		return nil
	}
	v.blocks[pos] = stored
	n := uint64(stored &^ blockStored)
	if n > v.data {
		return corrupt("blocks overlap")
	}
	v.data -= n
	if v.buf, err = v.f.block(v.buf, pos, stored); err != nil {
		return err
	}
	if want >= 0 && len(v.buf) != want {
		return corrupt("block at %d has %d bytes, want %d", pos, len(v.buf), want)
	}
	v.Blocks++
	return nil
}

func (v *verifier) fragments() error {
	for i := range v.f.s.fragments {
		at, err := v.f.fragmentAt(i)
		if err != nil {
			return err
		}
		if err := v.block(at.start, at.size, -1); err != nil {
			return fmt.Errorf("fragment %d: %w", i, err)
		}
		// One that was read is in two fragments: buf may have another's length.
		if v.Fragments++; v.Fragments != v.Blocks {
			return corrupt("fragments share a block")
		}
		v.lengths = append(v.lengths, uint32(len(v.buf)))
	}
	v.Blocks = 0
	return nil
}
