package pkgdb

import (
	"encoding/binary"
	"fmt"
)

// sqlite reads tables of a SQLite 3 database (sqlite.org/fileformat2.html).
type sqlite struct {
	b      []byte
	page   int            // bytes of a page
	usable int            // without what is reserved at its end
	newer  map[int][]byte // pages of the write-ahead log
	left   int            // pages that may still be read: a bound on circles
}

const (
	sqliteMagic = "SQLite format 3\x00"
	walHead     = 32
	walFrame    = 24

	interiorTable, leafTable = 0x05, 0x0d
)

// rpmTable reads the table Packages: a number and a header.
func rpmTable(b, wal []byte) ([]Package, error) {
	s, err := openSQLite(b, wal)
	if err != nil {
		return nil, err
	}
	root := 0
	err = s.table(1, func(_ int64, row []any) error {
		if len(row) >= 4 && row[0] == "table" && row[1] == "Packages" {
			n, _ := row[3].(int64)
			root = int(n)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if root == 0 {
		return nil, fmt.Errorf("%w: no table Packages", ErrFormat)
	}
	var out []Package
	err = s.table(root, func(_ int64, row []any) error {
		blob, ok := []byte(nil), false
		if len(row) >= 2 {
			blob, ok = row[1].([]byte)
		}
		if !ok {
			return fmt.Errorf("%w: a package without a header", ErrFormat)
		}
		var err error
		out, err = add(out, blob)
		return err
	})
	return out, err
}

func openSQLite(b, wal []byte) (*sqlite, error) {
	if len(b) < 100 || string(b[:16]) != sqliteMagic {
		return nil, fmt.Errorf("%w: not SQLite 3", ErrFormat)
	}
	s := &sqlite{b: b, page: int(binary.BigEndian.Uint16(b[16:]))}
	if s.page == 1 {
		s.page = 1 << 16
	}
	s.usable = s.page - int(b[20])
	if s.page < 512 || s.page&(s.page-1) != 0 || s.usable < 480 {
		return nil, fmt.Errorf("%w: pages of %d bytes", ErrFormat, s.page)
	}
	s.log(wal)
	s.left = 2*(len(b)+len(wal))/s.page + 16
	return s, nil
}

// log takes the pages of a write-ahead log up to its last commit. Frames of another
// salt are left over from before it was last begun anew.
func (s *sqlite) log(wal []byte) {
	if len(wal) < walHead {
		return
	}
	be := binary.BigEndian
	salt := string(wal[16:24])
	pending := map[int][]byte{}
	s.newer = map[int][]byte{}
	for at := walHead; at+walFrame+s.page <= len(wal); at += walFrame + s.page {
		head := wal[at : at+walFrame]
		if string(head[8:16]) != salt {
			return
		}
		pending[int(be.Uint32(head))] = wal[at+walFrame : at+walFrame+s.page]
		if be.Uint32(head[4:]) != 0 { // a commit
			for n, p := range pending {
				s.newer[n] = p
			}
			clear(pending)
		}
	}
}

func (s *sqlite) at(n int) ([]byte, error) {
	if s.left--; s.left < 0 {
		return nil, fmt.Errorf("%w: pages go round in circles", ErrFormat)
	}
	if p, ok := s.newer[n]; ok {
		return p, nil
	}
	if n < 1 || n > len(s.b)/s.page {
		return nil, fmt.Errorf("%w: page %d is beyond the file's end", ErrFormat, n)
	}
	return s.b[(n-1)*s.page : n*s.page], nil
}

// table calls each for the rows below a page of a table's tree.
func (s *sqlite) table(n int, each func(id int64, row []any) error) error {
	p, err := s.at(n)
	if err != nil {
		return err
	}
	head := 0
	if n == 1 {
		head = 100
	}
	be := binary.BigEndian
	cells, first := int(be.Uint16(p[head+3:])), head+8
	kind := p[head]
	switch kind {
	case interiorTable:
		first += 4
	case leafTable:
	default:
		return fmt.Errorf("%w: page %d has type %d", ErrFormat, n, kind)
	}
	if first+2*cells > len(p) {
		return fmt.Errorf("%w: page %d has %d cells", ErrFormat, n, cells)
	}
	for i := range cells {
		at := int(be.Uint16(p[first+2*i:]))
		if at+4 > s.usable {
			return fmt.Errorf("%w: page %d: a cell at %d", ErrFormat, n, at)
		}
		if kind == interiorTable {
			err = s.table(int(be.Uint32(p[at:])), each)
		} else {
			err = s.cell(p[at:s.usable], each)
		}
		if err != nil {
			return err
		}
	}
	if kind == interiorTable {
		return s.table(int(be.Uint32(p[head+8:])), each)
	}
	return nil
}

func (s *sqlite) cell(c []byte, each func(id int64, row []any) error) error {
	size, n := varint(c)
	id, m := varint(c[n:])
	if n == 0 || m == 0 || size < 0 || size > maxData {
		return fmt.Errorf("%w: a cell of %d bytes", ErrFormat, size)
	}
	c = c[n+m:]
	local := int(size)
	if most := s.usable - 35; local > most {
		least := (s.usable-12)*32/255 - 23
		local = least + (int(size)-least)%(s.usable-4)
		if local > most {
			local = least
		}
	}
	if local > len(c) {
		return fmt.Errorf("%w: a cell reaches beyond its page", ErrFormat)
	}
	b := append([]byte(nil), c[:local]...)
	if local < int(size) {
		if len(c) < local+4 {
			return fmt.Errorf("%w: a cell reaches beyond its page", ErrFormat)
		}
		for next := int(binary.BigEndian.Uint32(c[local:])); len(b) < int(size); {
			p, err := s.at(next)
			if err != nil {
				return err
			}
			b = append(b, p[4:min(s.usable, 4+int(size)-len(b))]...)
			next = int(binary.BigEndian.Uint32(p))
		}
	}
	row, err := record(b)
	if err != nil {
		return err
	}
	return each(id, row)
}

// record takes a row apart: nil, int64, string, []byte; real numbers are nil too.
func record(b []byte) ([]any, error) {
	bad := fmt.Errorf("%w: a record", ErrFormat)
	size, n := varint(b)
	if n == 0 || size < int64(n) || size > int64(len(b)) {
		return nil, bad
	}
	kinds, body := b[n:size], b[size:]
	var row []any
	for len(kinds) > 0 {
		kind, n := varint(kinds)
		if n == 0 {
			return nil, bad
		}
		kinds = kinds[n:]
		width, value := int64(0), any(nil)
		switch {
		case kind >= 12:
			width = (kind - 12) / 2
		case kind >= 1 && kind <= 7:
			width = []int64{1, 2, 3, 4, 6, 8, 8}[kind-1]
		case kind == 8 || kind == 9:
			value = kind - 8
		case kind != 0:
			return nil, bad
		}
		if width > int64(len(body)) {
			return nil, bad
		}
		field := body[:width]
		body = body[width:]
		switch {
		case kind >= 12 && kind%2 == 0:
			value = field
		case kind >= 12:
			value = string(field)
		case kind >= 1 && kind <= 6:
			v := int64(int8(field[0]))
			for _, c := range field[1:] {
				v = v<<8 | int64(c)
			}
			value = v
		}
		row = append(row, value)
	}
	return row, nil
}

// varint reads a number of up to nine bytes and gives how many it took, 0 for none.
func varint(b []byte) (int64, int) {
	var v uint64
	for i := range min(len(b), 9) {
		if i == 8 {
			return int64(v<<8 | uint64(b[i])), 9
		}
		v = v<<7 | uint64(b[i]&0x7f)
		if b[i] < 0x80 {
			return int64(v), i + 1
		}
	}
	return 0, 0
}
