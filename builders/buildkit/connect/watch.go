package connect

import (
	"errors"
	"io"
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
// come out of the first Read.
type watched struct {
	net.Conn
	note *notes
	read bool
}

func (w *watched) Read(p []byte) (int, error) {
	n, err := w.Conn.Read(p)
	var first []byte
	if !w.read {
		first = append([]byte{}, p[:min(n, 16)]...)
	}
	w.read = w.read || n > 0
	switch {
	case err == nil:
		w.note.put(nil, first)
	case errors.Is(err, net.ErrClosed): // our own side
	case err == io.EOF && w.read: // it did answer; gRPC knows more
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
		var b [1]byte
		if _, last := w.Conn.Read(b[:]); last != nil && !errors.Is(last, net.ErrClosed) {
			w.note.put(last, nil)
		}
	}
	return n, err
}
