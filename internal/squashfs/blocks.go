package squashfs

import (
	"sync"
	"sync/atomic"
)

// content is what the full blocks of one file, or of several that are the same, became.
type content struct {
	start  uint64   // of the first block that is not a hole
	sizes  []uint32 // of each block as stored; 0 is a hole
	sparse uint64   // bytes in holes
	placed bool     // start is set
}

// block goes from the caller of Add to a worker and on to the sink. It belongs to
// one of the three at a time.
type block struct {
	in, out []byte // as it came and, when smaller, compressed
	stored  bool   // out is of no use
	err     error
	done    chan struct{} // the worker sends, the sink receives
	file    *content      // takes the block; nil for a fragment block
	do      command
}

type command int

const (
	write  command = iota
	hole           // a block of zeros, never compressed
	rewind         // the file's blocks are there already: write over them
)

// fragment is a block with the ends of several files.
type fragment struct {
	start uint64
	size  uint32
}

// line is the assembly line: blocks are compressed in any order and written in
// the order they were sent.
type line struct {
	out     File
	work    chan *block
	queue   chan *block // to the sink, in order
	free    chan *block
	workers sync.WaitGroup
	size    int // of a full block
	ended   chan struct{}
	failed  atomic.Pointer[error]

	// The sink's until it ended.
	pos       uint64
	fragments []fragment
}

// newLine starts the workers and the sink; pos is where in out blocks begin.
func newLine(out File, pos uint64, encoders []encoder, blockSize int) *line {
	// Two blocks for each worker, one being filled, one fragment block, one written.
	n := 2*len(encoders) + 3
	l := &line{out: out, pos: pos, size: blockSize, work: make(chan *block, n), queue: make(chan *block, n), free: make(chan *block, n), ended: make(chan struct{})}
	for range n {
		l.free <- &block{done: make(chan struct{}, 1)}
	}
	for _, e := range encoders {
		l.workers.Go(func() {
			for b := range l.work {
				var ok bool
				b.out, ok, b.err = e.encode(b.out, b.in)
				b.stored = !ok
				b.done <- struct{}{}
			}
		})
	}
	go l.sink()
	return l
}

// get gives an empty block whose in has room for size bytes.
func (l *line) get(size int) *block {
	b := <-l.free
	if cap(b.in) < size {
		b.in = make([]byte, 0, size)
	}
	b.in, b.file, b.do = b.in[:0], nil, write
	return b
}

func (l *line) send(b *block) {
	if b.do == write {
		l.work <- b
	}
	l.queue <- b
}

// error is why nothing is written any more, or nil.
func (l *line) error() error {
	if e := l.failed.Load(); e != nil {
		return *e
	}
	return nil
}

func (l *line) sink() {
	defer close(l.ended)
	for b := range l.queue {
		if b.do == write {
			<-b.done
		}
		if l.error() == nil {
			if err := l.place(b); err != nil {
				l.failed.Store(&err)
			}
		}
		l.free <- b
	}
}

func (l *line) place(b *block) error {
	switch b.do {
	case hole:
		b.file.sizes = append(b.file.sizes, 0)
		b.file.sparse += uint64(l.size)
		return nil
	case rewind:
		if b.file.placed {
			l.pos = b.file.start
		}
		return nil
	}
	if b.err != nil {
		return b.err
	}
	data, size := b.out, uint32(len(b.out))
	if b.stored {
		data, size = b.in, uint32(len(b.in))|blockStored
	}
	if _, err := l.out.WriteAt(data, int64(l.pos)); err != nil {
		return err
	}
	if f := b.file; f == nil {
		l.fragments = append(l.fragments, fragment{l.pos, size})
	} else {
		if !f.placed {
			f.start, f.placed = l.pos, true
		}
		f.sizes = append(f.sizes, size)
	}
	l.pos += uint64(len(data))
	return nil
}

// stop lets everything sent be written and ends the goroutines.
func (l *line) stop() error {
	close(l.work)
	close(l.queue)
	<-l.ended
	l.workers.Wait()
	return l.error()
}
