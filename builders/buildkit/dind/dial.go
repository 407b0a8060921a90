package dind

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"

	"github.com/moby/moby/client"
)

// dial connects to the buildkitd in our container: buildctl's dial-stdio, run by exec, is
// the other end of its socket. No port is open, and Docker's own authentication is all
// there is.
func (d *Daemon) dial(ctx context.Context) (net.Conn, error) {
	e, err := d.api.ExecCreate(ctx, d.Container, client.ExecCreateOptions{AttachStdin: true, AttachStdout: true, AttachStderr: true,
		Cmd: []string{binDir + "/buildctl", "--addr", socket, "dial-stdio"}})
	if err != nil {
		return nil, err
	}
	a, err := d.api.ExecAttach(ctx, e.ID, client.ExecAttachOptions{})
	if err != nil {
		return nil, err
	}
	c := &execConn{Conn: a.Conn, r: a.Reader, id: e.ID, of: &d.execs}
	d.execs.add(c)
	return c, nil
}

// execs are the open connections by exec.
type execs struct {
	mu    sync.Mutex
	conns map[*execConn]bool
}

func (e *execs) add(c *execConn) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.conns == nil {
		e.conns = map[*execConn]bool{}
	}
	e.conns[c] = true
}

func (e *execs) closeAll() {
	e.mu.Lock()
	conns := e.conns
	e.conns = nil
	e.mu.Unlock()
	for c := range conns {
		c.Close()
	}
}

// execConn is a connection made of a process's standard streams. Deadlines are those of
// the connection to Docker.
type execConn struct {
	net.Conn
	r    *bufio.Reader
	id   string
	of   *execs
	left int // of the frame being read
	why  strings.Builder
}

// Read gives the process's standard output. Docker frames both streams: one byte says
// which, then, after three of zero, four tell the length (Engine API, "attach").
func (c *execConn) Read(p []byte) (int, error) {
	for c.left == 0 {
		var head [8]byte
		if _, err := io.ReadFull(c.r, head[:]); err != nil {
			if err == io.ErrUnexpectedEOF || err == io.EOF {
				if s := strings.TrimSpace(c.why.String()); s != "" {
					return 0, fmt.Errorf("buildctl dial-stdio: %s", s)
				}
				return 0, io.EOF
			}
			return 0, err
		}
		n := int(binary.BigEndian.Uint32(head[4:]))
		if head[0] == 1 {
			c.left = n
			continue
		}
		// Complaints are short; what is more is dropped.
		if _, err := io.CopyN(&limited{w: &c.why, left: 4096}, c.r, int64(n)); err != nil {
			return 0, err
		}
	}
	n, err := c.r.Read(p[:min(len(p), c.left)])
	c.left -= n
	return n, err
}

// Close ends the process, for it reads the end of its standard input.
func (c *execConn) Close() error {
	c.of.mu.Lock()
	delete(c.of.conns, c)
	c.of.mu.Unlock()
	return c.Conn.Close()
}

// limited drops what does not fit.
type limited struct {
	w    io.Writer
	left int
}

func (l *limited) Write(p []byte) (int, error) {
	n := min(len(p), l.left)
	l.left -= n
	if _, err := l.w.Write(p[:n]); err != nil {
		return 0, err
	}
	return len(p), nil
}
