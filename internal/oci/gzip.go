package oci

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"io"
	"runtime"
	"sync"

	"github.com/klauspost/compress/flate"
)

// blockSize is how much is compressed at a time. It is part of the output's
// identity: changing it changes every layer's digest.
const blockSize = 1 << 20

// window is what one block sees of the block before it (RFC 1951: 32 KiB).
const window = 32 << 10

// gzipLevel balances size against time: close to zlib's 6 in size.
const gzipLevel = 6

// GzipWriter is a parallel gzip compressor (RFC 1952, one member). Its output
// depends on the input alone, not on the number of processors or on how the
// input is cut into writes.
type GzipWriter struct {
	w      io.Writer
	buf    []byte
	prev   []byte // last window of the block before
	crc    uint32
	size   uint32
	order  chan chan *bytes.Buffer
	slots  chan struct{}
	pool   sync.Pool
	states sync.Pool
	done   chan struct{}
	mu     sync.Mutex
	err    error
	closed bool
}

// NewGzipWriter compresses to w with all processors.
func NewGzipWriter(w io.Writer) *GzipWriter {
	n := runtime.GOMAXPROCS(0)
	z := &GzipWriter{w: w, buf: make([]byte, 0, blockSize), order: make(chan chan *bytes.Buffer, n+1),
		slots: make(chan struct{}, n), done: make(chan struct{})}
	// Header: no name, no time, unknown operating system.
	if _, err := w.Write([]byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255}); err != nil {
		z.err = err
	}
	go z.collect()
	return z
}

// collect writes finished blocks in order.
func (z *GzipWriter) collect() {
	defer close(z.done)
	for c := range z.order {
		b := <-c
		z.mu.Lock()
		if z.err == nil {
			_, z.err = z.w.Write(b.Bytes())
		}
		z.mu.Unlock()
		b.Reset()
		z.pool.Put(b)
	}
}

func (z *GzipWriter) failure() error {
	z.mu.Lock()
	defer z.mu.Unlock()
	return z.err
}

// Write compresses p. The error is the underlying writer's.
func (z *GzipWriter) Write(p []byte) (int, error) {
	total := len(p)
	for len(p) > 0 {
		n := min(len(p), blockSize-len(z.buf))
		z.buf = append(z.buf, p[:n]...)
		p = p[n:]
		if len(z.buf) == blockSize {
			if err := z.failure(); err != nil {
				return total - len(p), err
			}
			z.flush(false)
		}
	}
	return total, nil
}

// flush hands the buffer to a compressor.
func (z *GzipWriter) flush(last bool) {
	block, dict := z.buf, z.prev
	z.crc = crc32.Update(z.crc, crc32.IEEETable, block)
	z.size += uint32(len(block))
	z.prev = block[max(0, len(block)-window):]
	z.buf = make([]byte, 0, blockSize)
	out := make(chan *bytes.Buffer, 1)
	z.slots <- struct{}{}
	z.order <- out
	go func() {
		defer func() { <-z.slots }()
		b, _ := z.pool.Get().(*bytes.Buffer)
		if b == nil {
			b = new(bytes.Buffer)
		}
		var f *flate.Writer
		if s, _ := z.states.Get().(*flate.Writer); s != nil {
			f = s
			f.ResetDict(b, dict)
		} else {
			f, _ = flate.NewWriterDict(b, gzipLevel, dict) // the level is a valid constant
		}
		f.Write(block) // a bytes.Buffer does not fail
		if last {
			f.Close()
		} else {
			f.Flush()
		}
		z.states.Put(f)
		out <- b
	}()
}

// Close ends the member; it does not close the underlying writer.
func (z *GzipWriter) Close() error {
	if z.closed {
		return z.failure()
	}
	z.closed = true
	z.flush(true)
	close(z.order)
	<-z.done
	if z.err != nil {
		return z.err
	}
	var tail [8]byte
	binary.LittleEndian.PutUint32(tail[:4], z.crc)
	binary.LittleEndian.PutUint32(tail[4:], z.size)
	_, z.err = z.w.Write(tail[:])
	return z.err
}
