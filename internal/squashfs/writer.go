package squashfs

import (
	"errors"
	"fmt"
	"io"
	"math"
	"runtime"
	"time"
)

// File is what an image is written to; *os.File is one. It is written in pieces,
// the superblock last, and cut to its final length by [Writer.Close].
type File interface {
	io.WriterAt
	Truncate(size int64) error
}

// Options of a [Writer]; the zero value is right for images that must mount anywhere.
type Options struct {
	// Compression: Gzip by default.
	Compression Compression
	// Level as mksquashfs counts it: gzip 1 to 9, zstd 1 to 22, lz4 1 or, for its high
	// compression, 2. 0 is the default: gzip 9, zstd 3, lz4 1. xz has none.
	Level int
	// BlockSize in bytes, a power of two from 4 KiB to 1 MiB; 128 KiB by default.
	BlockSize int
	// Workers compress at once; as many as there are processors by default. Each needs
	// four block sizes of memory and the state of its codec.
	Workers int
	// Epoch is the image's time of making; later modification times become it. By
	// default, and before 1970, the time is 0 and no modification time is changed.
	Epoch time.Time
}

// Check says what is wrong with options.
func (o Options) Check() error { return o.normalize() }

func (o *Options) normalize() error {
	if o.Compression == 0 {
		o.Compression = Gzip
	}
	l, ok := levels[o.Compression]
	if !ok {
		return fmt.Errorf("squashfs: %v cannot be written; want one of %q", o.Compression, Compressions())
	}
	if o.Level == 0 {
		o.Level = l.normal
	}
	if o.Level < l.min || o.Level > l.max {
		return fmt.Errorf("squashfs: level %d of %v: want %d to %d", o.Level, o.Compression, l.min, l.max)
	}
	if o.BlockSize == 0 {
		o.BlockSize = defaultBlock
	}
	if !validBlock(o.BlockSize) {
		return fmt.Errorf("squashfs: block size %d: want a power of two from %d to %d", o.BlockSize, minBlock, maxBlock)
	}
	if o.Workers < 0 {
		return fmt.Errorf("squashfs: %d workers", o.Workers)
	}
	if o.Workers == 0 {
		o.Workers = runtime.GOMAXPROCS(0)
	}
	return nil
}

// Writer makes one image. It is for one goroutine.
type Writer struct {
	o       Options
	out     File
	line    *line
	tree    tree
	files   files
	encoder encoder // for the tables
	err     error   // the writer is of no use any more
	stopped bool
}

// ErrClosed: the writer was closed or has failed before.
var ErrClosed = errors.New("squashfs writer is closed")

// NewWriter starts an image at offset 0 of out. Call Close for a whole image or
// Abort; both end its goroutines.
func NewWriter(out File, o Options) (*Writer, error) {
	if err := o.normalize(); err != nil {
		return nil, err
	}
	encoders := make([]encoder, o.Workers+1)
	for i := range encoders {
		e, err := newEncoder(o.Compression, o.Level, max(o.BlockSize, metaSize))
		if err != nil {
			return nil, fmt.Errorf("squashfs: %w", err)
		}
		encoders[i] = e
	}
	w := &Writer{o: o, out: out, encoder: encoders[o.Workers], tree: newTree(), files: newFiles(o.BlockSize)}
	w.line = newLine(out, uint64(superSize+len(w.codecOptions())), encoders[:o.Workers], o.BlockSize)
	return w, nil
}

// codecOptions gives the metadata block after the superblock that says how the
// image was compressed, where mksquashfs writes one: not for its defaults.
func (w *Writer) codecOptions() []byte {
	var v []byte
	switch w.o.Compression {
	case Gzip:
		if w.o.Level != levels[Gzip].normal {
			v = le.AppendUint32(v, uint32(w.o.Level))
			v = le.AppendUint16(v, 15) // bits of the window
			v = le.AppendUint16(v, 1)  // strategies: default
		}
	case Zstd:
		if w.o.Level != levels[Zstd].normal {
			v = le.AppendUint32(v, uint32(w.o.Level))
		}
	case LZ4:
		v = le.AppendUint32(v, 1) // version
		v = le.AppendUint32(v, uint32(w.o.Level-1))
	}
	if v == nil {
		return nil
	}
	return append(le.AppendUint16(nil, metaStored|uint16(len(v))), v...)
}

// Add puts an entry in the image and reads a regular file's content, exactly
// e.Size bytes, which are compressed as they come. Entries come in any order, a
// path once. An *EntryError or *XattrError from an entry that has not been read from
// leaves the writer as it was; any other error is final.
func (w *Writer) Add(e Entry, content io.Reader) error {
	if w.err != nil {
		return w.err
	}
	names, err := cleanPath(e.Path)
	if err != nil {
		return err
	}
	n, err := w.tree.node(&e, w.o.Epoch)
	if err != nil {
		return err
	}
	if err := w.tree.check(e.Path, names, n); err != nil {
		return err
	}
	if n.kind == kindFile && e.Content == nil && e.Size > 0 {
		if content == nil {
			return &EntryError{Path: e.Path, Reason: "a file with a size and without content"}
		}
		if e.Content, err = w.Content(e.Path, e.Size, content); err != nil {
			return err
		}
	}
	if c := e.Content; c != nil {
		n.size, n.content, n.fragment, n.offset = uint64(c.size), c.blocks, c.end.fragment, c.end.offset
	}
	w.tree.put(names, n)
	return nil
}

// Content takes in the content of a regular file, exactly size bytes, for an entry
// that is added later, when more is known of it. It is in the image even if no entry
// has it. The name is for errors, which are final.
func (w *Writer) Content(name string, size int64, r io.Reader) (*Content, error) {
	if w.err != nil {
		return nil, w.err
	}
	c, err := w.read(&Entry{Path: name, Size: size}, r)
	if err != nil {
		return nil, w.fail(err)
	}
	return c, nil
}

func (w *Writer) fail(err error) error {
	w.err = fmt.Errorf("%w: %w", ErrClosed, err)
	return err
}

// Abort ends the writer's goroutines; what was written is of no use. It does nothing
// after Close.
func (w *Writer) Abort() {
	if w.err == nil {
		w.err = ErrClosed
	}
	w.stop()
}

func (w *Writer) stop() error {
	if w.stopped {
		return nil
	}
	w.stopped = true
	return w.line.stop()
}

// Close writes the tables and the superblock and cuts the file to its length, a
// multiple of 4 KiB. It does not sync. The error says why the image is not whole.
func (w *Writer) Close() error {
	if w.err != nil {
		w.stop()
		return w.err
	}
	w.err = ErrClosed
	if w.files.open != nil {
		w.flushFragment()
	}
	if err := w.stop(); err != nil {
		return err
	}
	return w.finish()
}

// finish writes all that follows the data.
func (w *Writer) finish() error {
	root, err := w.tree.settle(w.o.Epoch)
	if err != nil {
		return err
	}
	s := super{
		inodes: w.tree.count, time: seconds(w.o.Epoch), blockSize: uint32(w.o.BlockSize), compression: w.o.Compression,
		flags: flagDuplicates | flagExport, fragments: uint32(len(w.line.fragments)), ids: uint16(len(w.tree.ids)),
		xattrTable: none,
	}
	if s.fragments == 0 {
		s.flags |= flagNoFragments
	}
	options := w.codecOptions()
	if options != nil {
		s.flags |= flagOptions
		if _, err := w.out.WriteAt(options, superSize); err != nil {
			return err
		}
	}
	t := tables{inodes: newMeta(w.encoder), dirs: newMeta(w.encoder), refs: make([]uint64, w.tree.count)}
	if err := t.write(root); err != nil {
		return err
	}
	s.root = root.ref

	at := &appender{out: w.out, pos: w.line.pos}
	s.inodeTable = at.pos
	at.write(t.inodes.out)
	s.dirTable = at.pos
	at.write(t.dirs.out)
	s.fragTable = at.table(w.encoder, len(w.line.fragments), func(b []byte, i int) []byte {
		f := w.line.fragments[i]
		return le.AppendUint32(le.AppendUint32(le.AppendUint64(b, f.start), f.size), 0)
	})
	s.exportTable = at.table(w.encoder, len(t.refs), func(b []byte, i int) []byte { return le.AppendUint64(b, t.refs[i]) })
	s.idTable = at.table(w.encoder, len(w.tree.ids), func(b []byte, i int) []byte { return le.AppendUint32(b, w.tree.ids[i]) })
	if len(w.tree.xattrs) == 0 {
		s.flags |= flagNoXattrs
	} else if s.xattrTable, err = at.xattrs(w.encoder, w.tree.xattrs); err != nil {
		return err
	}
	s.used = at.pos
	if at.err != nil {
		return at.err
	}
	if len(t.inodes.out) > math.MaxUint32 || len(t.dirs.out) > math.MaxUint32 {
		return errors.New("squashfs: the inode or the directory table is larger than 4 GiB")
	}
	if _, err := w.out.WriteAt(s.encode(), 0); err != nil {
		return err
	}
	// Loop devices have whole pages. What a rewind left beyond the end goes first.
	if err := w.out.Truncate(int64(s.used)); err != nil {
		return err
	}
	return w.out.Truncate(int64((s.used + devicePadding - 1) / devicePadding * devicePadding))
}
