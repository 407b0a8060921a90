package squashfs

import (
	"fmt"
	"math"
)

const (
	magic          = 0x73717368 // "hsqs"
	superSize      = 96
	metaSize       = 8192   // bytes of a metadata block, uncompressed
	metaStored     = 0x8000 // in a metadata block's header: not compressed
	blockStored    = 1 << 24
	none           = math.MaxUint64 // a table that is not there
	noFragment     = math.MaxUint32
	noXattr        = math.MaxUint32
	maxIDs         = math.MaxUint16 // the superblock counts them in 16 bits
	maxName        = 255            // the format has 256, Linux 255
	maxLink        = 4095           // the kernel refuses more than a page
	maxPath        = 64 << 10       // bounds the depth of what is read; Linux has 4 KiB
	maxXattrs      = 1 << 20        // bytes of one file's attributes, keys and values
	dirHeaderSize  = 12
	dirEntrySize   = 8
	maxDirGroup    = 256
	devicePadding  = 4096
	minBlock       = 4 << 10
	maxBlock       = 1 << 20
	defaultBlock   = 128 << 10
	idEntry        = 4
	exportEntry    = 8
	fragmentEntry  = 16
	xattrIDEntry   = 16
	xattrOutOfLine = 0x100
)

// Bits of the superblock's flags.
const (
	flagNoFragments = 1 << 4
	flagDuplicates  = 1 << 6
	flagExport      = 1 << 7
	flagNoXattrs    = 1 << 9
	flagOptions     = 1 << 10
)

// Kinds of inodes; the extended form of each is 7 more.
const (
	kindDir = iota + 1
	kindFile
	kindSymlink
	kindBlock
	kindChar
	kindFIFO
	kindSocket
	extended = 7
)

// super is the superblock.
type super struct {
	inodes, time, blockSize, fragments uint32
	compression                        Compression
	flags, ids                         uint16
	root, used                         uint64
	idTable, xattrTable, inodeTable    uint64
	dirTable, fragTable, exportTable   uint64
}

func (s *super) encode() []byte {
	b := make([]byte, 0, superSize)
	for _, v := range []uint32{magic, s.inodes, s.time, s.blockSize, s.fragments} {
		b = le.AppendUint32(b, v)
	}
	for _, v := range []uint16{uint16(s.compression), uint16(log2(s.blockSize)), s.flags, s.ids, 4, 0} {
		b = le.AppendUint16(b, v)
	}
	for _, v := range []uint64{s.root, s.used, s.idTable, s.xattrTable, s.inodeTable, s.dirTable, s.fragTable, s.exportTable} {
		b = le.AppendUint64(b, v)
	}
	return b
}

// decodeSuper reads and checks a superblock of an image of size bytes.
func decodeSuper(b []byte, size int64) (super, error) {
	var s super
	if le.Uint32(b) != magic {
		return s, fmt.Errorf("%w: no magic number", ErrNotSquashfs)
	}
	if major, minor := le.Uint16(b[28:]), le.Uint16(b[30:]); major != 4 || minor != 0 {
		return s, fmt.Errorf("%w: version %d.%d, want 4.0", ErrNotSquashfs, major, minor)
	}
	s = super{
		inodes: le.Uint32(b[4:]), time: le.Uint32(b[8:]), blockSize: le.Uint32(b[12:]), fragments: le.Uint32(b[16:]),
		compression: Compression(le.Uint16(b[20:])), flags: le.Uint16(b[24:]), ids: le.Uint16(b[26:]),
		root: le.Uint64(b[32:]), used: le.Uint64(b[40:]), idTable: le.Uint64(b[48:]), xattrTable: le.Uint64(b[56:]),
		inodeTable: le.Uint64(b[64:]), dirTable: le.Uint64(b[72:]), fragTable: le.Uint64(b[80:]), exportTable: le.Uint64(b[88:]),
	}
	switch {
	case !validBlock(int(s.blockSize)) || int(le.Uint16(b[22:])) != log2(s.blockSize):
		return s, corrupt("block size %d", s.blockSize)
	case s.used < superSize || s.used > math.MaxInt64:
		return s, corrupt("%d bytes used", s.used)
	case int64(s.used) > size:
		return s, fmt.Errorf("%w: it has %d bytes, its superblock says %d", ErrTruncated, size, s.used)
	case s.inodeTable < superSize || s.dirTable <= s.inodeTable || s.dirTable > s.used:
		return s, corrupt("inode table at %d, directory table at %d", s.inodeTable, s.dirTable)
	case s.idTable < s.dirTable || s.idTable > s.used || s.ids == 0:
		return s, corrupt("%d ids at %d", s.ids, s.idTable)
	case s.fragments > 0 && (s.fragTable < s.dirTable || s.fragTable > s.used):
		return s, corrupt("fragment table at %d", s.fragTable)
	case s.exportTable != none && (s.exportTable < s.dirTable || s.exportTable > s.used):
		return s, corrupt("export table at %d", s.exportTable)
	case s.xattrTable != none && (s.xattrTable < s.dirTable || s.xattrTable > s.used):
		return s, corrupt("xattr table at %d", s.xattrTable)
	}
	return s, nil
}

func validBlock(n int) bool { return n >= minBlock && n <= maxBlock && n&(n-1) == 0 }

func log2(n uint32) int {
	l := 0
	for n > 1 {
		n >>= 1
		l++
	}
	return l
}

// device encodes a device number as the kernel's new_encode_dev.
func device(major, minor uint32) uint32 { return minor&0xff | major<<8 | minor&^0xff<<12 }

func majorMinor(d uint32) (major, minor uint32) { return d >> 8 & 0xfff, d&0xff | d>>12&^0xff }
