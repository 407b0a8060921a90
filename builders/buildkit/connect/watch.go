package connect

import (
	"errors"
	"io"
	"io/fs"
	"net"
	"sync"
	"syscall"
)

// notes keep the last failure of a connection, and the first bytes that came over
// the newest one: they tell who is at the other end.
type notes struct {
	mu    sync.Mutex
	err   error
	first []byte
}

func (n *notes) put(err error, first []byte) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if err != nil {
		n.err = err
	}
	if first != nil {
		n.first = first
	}
}

func (n *notes) get() (error, []byte) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.err, n.first
}

// watched is a connection that takes notes. Servers refuse a client's certificate
// after the handshake (TLS 1.3), and helpers tell what failed when they end: both
// come out of Read, which gRPC may be in while it writes.
type watched struct {
	net.Conn
	note *notes

	mu   sync.Mutex // held while reading
	some bool       // something was read
	last error      // of a Read
}

func (w *watched) Read(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.take(p)
}

func (w *watched) take(p []byte) (int, error) {
	n, err := w.Conn.Read(p)
	var first []byte
	if !w.some {
		first = append([]byte{}, p[:min(n, 256)]...)
	}
	w.some, w.last = w.some || n > 0, err
	switch {
	case errors.Is(err, net.ErrClosed), errors.Is(err, fs.ErrClosed): // our own side
	case err == io.EOF && w.some: // it did answer; gRPC knows more
		w.note.put(nil, first)
	default:
		w.note.put(err, first)
	}
	return n, err
}

// Write asks, where the other end is gone before it was read from, for what it said
// last: that is the reason, the broken pipe only follows from it.
func (w *watched) Write(p []byte) (int, error) {
	n, err := w.Conn.Write(p)
	if errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET) {
		w.mu.Lock() // a Read that is on ends by itself now
		defer w.mu.Unlock()
		for buf := make([]byte, 4096); w.last == nil; {
			w.take(buf)
		}
	}
	return n, err
}
