package squashfs

import (
	"errors"
	"fmt"
	"io"
	"math"
	"time"
)

// FS is an image that is read. It is for one goroutine.
type FS struct {
	r     io.ReaderAt
	s     super
	dec   decoder
	cache [64]cached // metadata blocks
	raw   []byte
	frags [16]cached // fragment blocks
}

// cached is a metadata block by its place.
type cached struct {
	pos  uint64
	next uint64 // where the block after it begins
	data []byte
}

// Info is what the superblock says.
type Info struct {
	Compression Compression
	BlockSize   int
	Inodes      uint32
	Fragments   uint32
	IDs         int
	Time        time.Time
	Used        int64 // bytes, without the padding
	Export      bool  // it has the table that NFS needs
}

// Open reads the superblock of an image of size bytes. The error matches
// [ErrNotSquashfs], [ErrTruncated] or [ErrCorrupt], or is r's.
func Open(r io.ReaderAt, size int64) (*FS, error) {
	var b [superSize]byte
	if size < superSize {
		return nil, fmt.Errorf("%w: %d bytes are less than a superblock", ErrNotSquashfs, size)
	}
	if _, err := r.ReadAt(b[:], 0); err != nil {
		return nil, cut(err)
	}
	s, err := decodeSuper(b[:], size)
	if err != nil {
		return nil, err
	}
	dec, err := newDecoder(s.compression)
	if err != nil {
		return nil, fmt.Errorf("squashfs: %w", err)
	}
	return &FS{r: r, s: s, dec: dec}, nil
}

// Info gives what the superblock says.
func (f *FS) Info() Info {
	return Info{f.s.compression, int(f.s.blockSize), f.s.inodes, f.s.fragments, int(f.s.ids), time.Unix(int64(f.s.time), 0).UTC(),
		int64(f.s.used), f.s.exportTable != none}
}

func cut(err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return ErrTruncated
	}
	return err
}

// at reads n bytes of the image.
func (f *FS) at(pos uint64, n int) ([]byte, error) {
	if pos > f.s.used || uint64(n) > f.s.used-pos {
		return nil, corrupt("%d bytes at %d are beyond its end", n, pos)
	}
	if cap(f.raw) < n {
		f.raw = make([]byte, max(n, metaSize))
	}
	b := f.raw[:n]
	if m, err := f.r.ReadAt(b, int64(pos)); m < n {
		if err == nil {
			err = io.ErrUnexpectedEOF
		}
		return nil, cut(err)
	}
	return b, nil
}

// meta reads the metadata block at pos. The result is valid until the next call.
func (f *FS) meta(pos uint64) (data []byte, next uint64, err error) {
	c := &f.cache[pos%uint64(len(f.cache))]
	if c.pos == pos && c.data != nil {
		return c.data, c.next, nil
	}
	h, err := f.at(pos, 2)
	if err != nil {
		return nil, 0, err
	}
	n := le.Uint16(h)
	size := int(n &^ metaStored)
	if size == 0 || size > metaSize {
		return nil, 0, corrupt("metadata block of %d bytes at %d", size, pos)
	}
	b, err := f.at(pos+2, size)
	if err != nil {
		return nil, 0, err
	}
	out := c.data
	c.data = nil
	if n&metaStored != 0 {
		out = append(out[:0], b...)
	} else if out, err = f.dec.decode(out, b, metaSize); err != nil {
		return nil, 0, corrupt("metadata block at %d: %v", pos, err)
	}
	if len(out) == 0 {
		return nil, 0, corrupt("empty metadata block at %d", pos)
	}
	*c = cached{pos, pos + 2 + uint64(size), out}
	return out, c.next, nil
}

// cursor reads a table across its metadata blocks.
type cursor struct {
	f        *FS
	pos, end uint64 // of the block; blocks begin before end
	off      int
}

func (c *cursor) read(p []byte) error {
	for len(p) > 0 {
		if c.pos >= c.end {
			return corrupt("a table ends too early")
		}
		b, next, err := c.f.meta(c.pos)
		if err != nil {
			return err
		}
		if c.off > len(b) || c.off == len(b) && len(b) < metaSize {
			return corrupt("offset %d in a metadata block of %d bytes", c.off, len(b))
		}
		n := copy(p, b[c.off:])
		p, c.off = p[n:], c.off+n
		if c.off == metaSize {
			c.pos, c.off = next, 0
		}
	}
	return nil
}

func (c *cursor) u16() (uint16, error) {
	var b [2]byte
	err := c.read(b[:])
	return le.Uint16(b[:]), err
}

func (c *cursor) u32() (uint32, error) {
	var b [4]byte
	err := c.read(b[:])
	return le.Uint32(b[:]), err
}

// lookup reads entry i of a table whose metadata blocks are listed at index.
func (f *FS) lookup(index uint64, i uint32, entry []byte) error {
	per := uint32(metaSize / len(entry))
	b, err := f.at(index+8*uint64(i/per), 8)
	if err != nil {
		return err
	}
	c := cursor{f, le.Uint64(b), f.s.used, int(i%per) * len(entry)}
	return c.read(entry)
}

// id gives a user or group.
func (f *FS) id(i uint16) (uint32, error) {
	if i >= f.s.ids {
		return 0, corrupt("owner %d of %d", i, f.s.ids)
	}
	var b [idEntry]byte
	err := f.lookup(f.s.idTable, uint32(i), b[:])
	return le.Uint32(b[:]), err
}

// xattrs reads set i.
func (f *FS) xattrs(i uint32) (map[string][]byte, error) {
	if f.s.xattrTable == none {
		return nil, corrupt("attributes without a table of them")
	}
	h, err := f.at(f.s.xattrTable, 16)
	if err != nil {
		return nil, err
	}
	values, sets := le.Uint64(h), le.Uint32(h[8:])
	if i >= sets || values >= f.s.xattrTable {
		return nil, corrupt("attributes %d of %d", i, sets)
	}
	var e [xattrIDEntry]byte
	if err := f.lookup(f.s.xattrTable+16, i, e[:]); err != nil {
		return nil, err
	}
	ref, count := le.Uint64(e[:]), le.Uint32(e[8:])
	c := cursor{f, values + ref>>16, f.s.xattrTable, int(ref & 0xffff)}
	if count == 0 || count > maxXattrs/8 {
		return nil, corrupt("a set of %d attributes", count)
	}
	out := map[string][]byte{}
	total := 0
	for range count {
		key, value, err := f.xattr(&c, values, &total)
		if err != nil {
			return nil, err
		}
		if _, twice := out[key]; twice {
			return nil, corrupt("attribute %q twice", key)
		}
		out[key] = value
	}
	return out, nil
}

// xattr reads one attribute; total counts the bytes of the set.
func (f *FS) xattr(c *cursor, values uint64, total *int) (string, []byte, error) {
	var h [4]byte
	if err := c.read(h[:]); err != nil {
		return "", nil, err
	}
	kind, n := le.Uint16(h[:]), int(le.Uint16(h[2:]))
	if int(kind&^xattrOutOfLine) >= len(xattrPrefixes) || n == 0 || n > maxName {
		return "", nil, corrupt("attribute of kind %d with a name of %d bytes", kind, n)
	}
	rest := make([]byte, n)
	if err := c.read(rest); err != nil {
		return "", nil, err
	}
	size, err := c.u32()
	if err != nil {
		return "", nil, err
	}
	v := c
	if kind&xattrOutOfLine != 0 {
		var b [8]byte
		if size != 8 {
			return "", nil, corrupt("attribute elsewhere: a reference of %d bytes", size)
		}
		if err := c.read(b[:]); err != nil {
			return "", nil, err
		}
		ref := le.Uint64(b[:])
		v = &cursor{f, values + ref>>16, f.s.xattrTable, int(ref & 0xffff)}
		if size, err = v.u32(); err != nil {
			return "", nil, err
		}
	}
	if *total += n + int(size) + 8; size > math.MaxInt32 || *total > maxXattrs {
		return "", nil, corrupt("attributes longer than %d bytes", maxXattrs)
	}
	value := make([]byte, size)
	if err := v.read(value); err != nil {
		return "", nil, err
	}
	return xattrPrefixes[kind&^xattrOutOfLine] + string(rest), value, nil
}

// errStop ends a walk early, inside this package.
var errStop = errors.New("stop")
