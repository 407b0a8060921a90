package pkgdb

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

// Tags and types of a package's header (rpm's "RPM V4 Package format", header
// structure), as the database keeps it: without the lead's magic.
const (
	tagName, tagVersion, tagRelease, tagEpoch = 1000, 1001, 1002, 1003
	tagArch, tagSource                        = 1022, 1044

	typeInt32, typeString = 4, 6

	maxTags = 1 << 16
	maxData = 256 << 20
)

// header reads one package out of a header blob.
func header(b []byte) (Package, error) {
	if len(b) < 8 {
		return Package{}, fmt.Errorf("%w: a header of %d bytes", ErrFormat, len(b))
	}
	be := binary.BigEndian
	tags, data := be.Uint32(b), be.Uint32(b[4:])
	if tags > maxTags || data > maxData || uint64(len(b)) < 8+16*uint64(tags)+uint64(data) {
		return Package{}, fmt.Errorf("%w: a header of %d bytes says that it has %d tags and %d bytes of data", ErrFormat, len(b), tags, data)
	}
	index, store := b[8:8+16*tags], b[8+16*tags:8+16*tags+data]
	var p Package
	var version, release, epoch string
	for i := range tags {
		e := index[16*i:]
		tag, kind, at := be.Uint32(e), be.Uint32(e[4:]), be.Uint32(e[8:])
		if at > data {
			return Package{}, fmt.Errorf("%w: tag %d lies behind the data", ErrFormat, tag)
		}
		switch {
		case tag == tagEpoch && kind == typeInt32 && data-at >= 4:
			epoch = fmt.Sprintf("%d:", be.Uint32(store[at:]))
		case kind == typeString:
			text, _, _ := bytes.Cut(store[at:], []byte{0})
			switch tag {
			case tagName:
				p.Name = string(text)
			case tagVersion:
				version = string(text)
			case tagRelease:
				release = string(text)
			case tagArch:
				p.Arch = string(text)
			case tagSource:
				p.Source = string(text)
			}
		}
	}
	if p.Name == "" {
		return Package{}, fmt.Errorf("%w: a header without a name", ErrFormat)
	}
	p.Version = epoch + version
	if release != "" {
		p.Version += "-" + release
	}
	return p, nil
}

// add puts the package of a header into a list. Imported keys are listed by rpm as
// packages too; they are none.
func add(out []Package, blob []byte) ([]Package, error) {
	p, err := header(blob)
	if err != nil || p.Name == "gpg-pubkey" {
		return out, err
	}
	return append(out, p), nil
}

// ndb's marks, sizes and places (rpm, lib/backend/ndb/rpmpkg.c).
const (
	ndbFile, ndbSlot, ndbBlob = "RpmP", "Slot", "BlbS"

	ndbPage, ndbBlock = 4096, 16
)

// rpmNDB reads Packages.db: pages of slots, each of which says where a blob is.
func rpmNDB(b []byte) ([]Package, error) {
	le := binary.LittleEndian
	if len(b) < 32 || string(b[:4]) != ndbFile {
		return nil, fmt.Errorf("%w: not rpm's ndb", ErrFormat)
	}
	end := uint64(le.Uint32(b[12:])) * ndbPage
	if end > uint64(len(b)) {
		return nil, fmt.Errorf("%w: slots reach beyond the file's end", ErrFormat)
	}
	var out []Package
	for at := uint64(32); at+16 <= end; at += 16 {
		s := b[at : at+16]
		if string(s[:4]) != ndbSlot {
			return nil, fmt.Errorf("%w: no slot at %d", ErrFormat, at)
		}
		index, block := le.Uint32(s[4:]), uint64(le.Uint32(s[8:]))*ndbBlock
		if index == 0 {
			continue // free
		}
		if block+16 > uint64(len(b)) || string(b[block:block+4]) != ndbBlob || le.Uint32(b[block+4:]) != index {
			return nil, fmt.Errorf("%w: no blob at %d", ErrFormat, block)
		}
		size := uint64(le.Uint32(b[block+12:]))
		if block+16+size > uint64(len(b)) {
			return nil, fmt.Errorf("%w: a blob reaches beyond the file's end", ErrFormat)
		}
		var err error
		if out, err = add(out, b[block+16:block+16+size]); err != nil {
			return nil, err
		}
	}
	return out, nil
}
