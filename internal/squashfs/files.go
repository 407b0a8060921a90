package squashfs

import (
	"crypto/sha256"
	"fmt"
	"hash"
	"io"
	"math"
)

// holdMax bounds, in bytes, the files that are read whole before they are
// compressed, when one of their length came before: a duplicate then costs nothing.
// Longer duplicates are compressed, and written over.
const holdMax = 4 << 20

type sum = [sha256.Size]byte

// files is what is known of the content so far.
type files struct {
	blockSize int
	open      *block // the fragment block being filled
	fragments uint32 // those sent
	tails     map[sum]tail
	whole     map[sum]*content
	lengths   map[int64]bool // in full blocks, of the files in whole
	hash      hash.Hash
	hold      []byte
	last      []byte // the end of a file
}

// tail is a place in a fragment block.
type tail struct{ fragment, offset uint32 }

func newFiles(blockSize int) files {
	return files{blockSize: blockSize, tails: map[sum]tail{}, whole: map[sum]*content{}, lengths: map[int64]bool{},
		hash: sha256.New(), last: make([]byte, blockSize)}
}

// Content is a regular file's, taken in by [Writer.Content].
type Content struct {
	size   int64
	blocks *content // the full ones
	end    tail
}

// read takes in a file's content: its full blocks, which files with the same ones
// share, then its end, which goes into a fragment block with others.
func (w *Writer) read(e *Entry, r io.Reader) (*Content, error) {
	n := &Content{size: e.Size, end: tail{fragment: noFragment}}
	if e.Size < 0 {
		return nil, &EntryError{Path: e.Path, Reason: "size is negative"}
	}
	size := int64(w.o.BlockSize)
	if full := e.Size / size * size; full > 0 {
		if full/size > math.MaxInt32 {
			return nil, &EntryError{Path: e.Path, Reason: "larger than this block size allows"}
		}
		var err error
		if w.files.lengths[full] && full <= holdMax {
			n.blocks, err = w.readHeld(e, r, int(full))
		} else {
			n.blocks, err = w.readStream(e, r, full)
		}
		if err != nil {
			return nil, err
		}
	}
	last := w.files.last[:e.Size%size]
	if err := fill(e, r, last); err != nil {
		return nil, err
	}
	var one [1]byte
	switch m, err := io.ReadFull(r, one[:]); {
	case m > 0:
		return nil, &EntryError{Path: e.Path, Reason: fmt.Sprintf("its content is longer than the %d bytes of its entry", e.Size)}
	case err != io.EOF:
		return nil, &EntryError{Path: e.Path, Reason: "read", Err: err}
	}
	if len(last) > 0 {
		n.end = w.pack(last)
	}
	return n, w.line.error()
}

func fill(e *Entry, r io.Reader, b []byte) error {
	switch _, err := io.ReadFull(r, b); {
	case err == nil:
		return nil
	case err == io.EOF || err == io.ErrUnexpectedEOF:
		return &EntryError{Path: e.Path, Reason: fmt.Sprintf("its content ends before the %d bytes of its entry", e.Size), Err: io.ErrUnexpectedEOF}
	default:
		return &EntryError{Path: e.Path, Reason: "read", Err: err}
	}
}

// digest adds a full block to the sum of a file.
func (f *files) digest(b []byte) (zero bool) {
	if isZero(b) {
		f.hash.Write([]byte{0})
		return true
	}
	f.hash.Write([]byte{1})
	f.hash.Write(b)
	return false
}

func (f *files) sum() (s sum) {
	f.hash.Sum(s[:0])
	f.hash.Reset()
	return s
}

// isZero: the first byte is zero and each is as the one before.
func isZero(b []byte) bool {
	return len(b) > 0 && b[0] == 0 && string(b[1:]) == string(b[:len(b)-1])
}

func (w *Writer) readHeld(e *Entry, r io.Reader, full int) (*content, error) {
	f := &w.files
	if cap(f.hold) < full {
		f.hold = make([]byte, full, holdMax)
	}
	hold := f.hold[:full]
	if err := fill(e, r, hold); err != nil {
		return nil, err
	}
	zero := make([]bool, full/f.blockSize)
	for i := range zero {
		zero[i] = f.digest(hold[i*f.blockSize:][:f.blockSize])
	}
	s := f.sum()
	if c := f.whole[s]; c != nil {
		return c, nil
	}
	c := &content{}
	for i := range zero {
		if zero[i] {
			w.sendHole(c)
			continue
		}
		b := w.line.get(f.blockSize)
		b.in, b.file = append(b.in, hold[i*f.blockSize:][:f.blockSize]...), c
		w.line.send(b)
	}
	f.whole[s] = c
	return c, nil
}

func (w *Writer) readStream(e *Entry, r io.Reader, full int64) (*content, error) {
	f, c := &w.files, &content{}
	for ; full > 0; full -= int64(f.blockSize) {
		if err := w.line.error(); err != nil {
			return nil, err
		}
		b := w.line.get(f.blockSize)
		b.in, b.file = b.in[:f.blockSize], c
		if err := fill(e, r, b.in); err != nil {
			w.line.free <- b
			return nil, err
		}
		if f.digest(b.in) {
			b.do = hole
		}
		w.line.send(b)
	}
	s := f.sum()
	if old := f.whole[s]; old != nil {
		b := w.line.get(0)
		b.file, b.do = c, rewind
		w.line.send(b)
		return old, nil
	}
	f.whole[s] = c
	f.lengths[e.Size/int64(f.blockSize)*int64(f.blockSize)] = true
	return c, nil
}

func (w *Writer) sendHole(c *content) {
	b := w.line.get(w.o.BlockSize)
	b.file, b.do = c, hole
	w.line.send(b)
}

// pack finds a place for the end of a file, or the one that the same bytes have.
func (w *Writer) pack(last []byte) tail {
	f := &w.files
	s := sha256.Sum256(last)
	if t, ok := f.tails[s]; ok {
		return t
	}
	if f.open != nil && len(f.open.in)+len(last) > f.blockSize {
		w.flushFragment()
	}
	if f.open == nil {
		f.open = w.line.get(f.blockSize)
	}
	t := tail{f.fragments, uint32(len(f.open.in))}
	f.open.in = append(f.open.in, last...)
	f.tails[s] = t
	return t
}

func (w *Writer) flushFragment() {
	w.line.send(w.files.open)
	w.files.open = nil
	w.files.fragments++
}
