package xz

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash"
	"hash/crc32"
	"hash/crc64"
)

// checkSizes in bytes by kind; kinds without a meaning have a size all the same.
var checkSizes = [16]int{0, 4, 4, 4, 8, 8, 8, 16, 16, 16, 32, 32, 32, 64, 64, 64}

// newCheck gives the hash of a kind; nil for none.
func newCheck(kind byte) (hash.Hash, error) {
	switch kind {
	case 0:
		return nil, nil
	case 1:
		return little{crc32.NewIEEE(), 4}, nil
	case 4:
		return little{crc64.New(crc64.MakeTable(crc64.ECMA)), 8}, nil
	case 10:
		return sha256.New(), nil
	}
	return nil, fmt.Errorf("%w: integrity check %d is not known", ErrData, kind)
}

// little turns the big-endian sums of package hash round.
type little struct {
	hash.Hash
	size int
}

func (l little) Sum(b []byte) []byte {
	sum := l.Hash.Sum(nil)
	if l.size == 4 {
		return binary.LittleEndian.AppendUint32(b, binary.BigEndian.Uint32(sum))
	}
	return binary.LittleEndian.AppendUint64(b, binary.BigEndian.Uint64(sum))
}
