package pkgdb

import (
	"encoding/binary"
	"fmt"
)

// Berkeley DB's hash format, version 8 and later (db_page.h): magic, types of pages
// and of the items on them.
const (
	bdbMagic = 0x00061561

	bdbUnsorted, bdbOverflow, bdbHash = 2, 7, 13

	bdbKeyData, bdbOffPage = 1, 3

	bdbHead = 26 // bytes of a page's header
)

type bdb struct {
	b    []byte
	o    binary.ByteOrder
	page int
}

// rpmBDB reads Packages: pairs of a number and a header on the pages of a hash.
func rpmBDB(b []byte) ([]Package, error) {
	if len(b) < 512 {
		return nil, fmt.Errorf("%w: not a Berkeley DB", ErrFormat)
	}
	d := bdb{b: b, o: binary.LittleEndian}
	if d.o.Uint32(b[12:]) != bdbMagic {
		d.o = binary.BigEndian
	}
	d.page = int(d.o.Uint32(b[20:]))
	if d.o.Uint32(b[12:]) != bdbMagic || d.page < 512 || d.page > 1<<16 {
		return nil, fmt.Errorf("%w: not a hash of Berkeley DB", ErrFormat)
	}
	if d.o.Uint32(b[16:]) < 8 || b[24] != 0 {
		return nil, fmt.Errorf("%w: Berkeley DB version %d, encryption %d", ErrFormat, d.o.Uint32(b[16:]), b[24])
	}
	var out []Package
	for n := 1; (n+1)*d.page <= len(b); n++ {
		p := b[n*d.page : (n+1)*d.page]
		if p[25] != bdbHash && p[25] != bdbUnsorted {
			continue
		}
		blobs, err := d.values(p)
		if err != nil {
			return nil, fmt.Errorf("page %d: %w", n, err)
		}
		for _, v := range blobs {
			if out, err = add(out, v); err != nil {
				return nil, err
			}
		}
	}
	return out, nil
}

// values gives the second of each pair of items on a page. The key 0 has the
// highest number that was given out; it is left out.
func (d bdb) values(p []byte) ([][]byte, error) {
	count := int(d.o.Uint16(p[20:]))
	if bdbHead+2*count > len(p) {
		return nil, fmt.Errorf("%w: %d items on a page", ErrFormat, count)
	}
	var out [][]byte
	end := len(p)
	var key []byte
	for i := range count {
		at := int(d.o.Uint16(p[bdbHead+2*i:]))
		if at < bdbHead || at >= end {
			return nil, fmt.Errorf("%w: an item at %d, before %d", ErrFormat, at, end)
		}
		item := p[at:end]
		end = at
		v, err := d.item(item)
		switch {
		case err != nil:
			return nil, err
		case i%2 == 0:
			key = v
		case len(key) == 4 && d.o.Uint32(key) == 0:
		default:
			out = append(out, v)
		}
	}
	return out, nil
}

func (d bdb) item(item []byte) ([]byte, error) {
	switch {
	case item[0] == bdbKeyData:
		return item[1:], nil
	case item[0] == bdbOffPage && len(item) >= 12:
		return d.chain(d.o.Uint32(item[4:]), d.o.Uint32(item[8:]))
	}
	return nil, fmt.Errorf("%w: an item of type %d", ErrFormat, item[0])
}

// chain gathers a value of size bytes from overflow pages.
func (d bdb) chain(n, size uint32) ([]byte, error) {
	if size > maxData {
		return nil, fmt.Errorf("%w: a value of %d bytes", ErrFormat, size)
	}
	var out []byte
	for n != 0 && uint32(len(out)) < size {
		at := uint64(n) * uint64(d.page)
		if at+uint64(d.page) > uint64(len(d.b)) {
			return nil, fmt.Errorf("%w: page %d is beyond the file's end", ErrFormat, n)
		}
		p := d.b[at : at+uint64(d.page)]
		used := int(d.o.Uint16(p[22:]))
		if p[25] != bdbOverflow || used == 0 || bdbHead+used > len(p) {
			return nil, fmt.Errorf("%w: page %d is no overflow page", ErrFormat, n)
		}
		out = append(out, p[bdbHead:bdbHead+used]...)
		n = d.o.Uint32(p[16:])
	}
	if uint32(len(out)) != size {
		return nil, fmt.Errorf("%w: a value has %d of %d bytes", ErrFormat, len(out), size)
	}
	return out, nil
}
