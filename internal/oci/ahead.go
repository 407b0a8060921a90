package oci

import "io"

// ahead reads in a goroutine of its own, so that unpacking and hashing have a
// processor each.
type ahead struct {
	full  chan chunk
	empty chan []byte
	stop  chan struct{}
	done  chan struct{}
	now   []byte // what is left of buf
	buf   []byte
	err   error
}

type chunk struct {
	b   []byte
	err error
}

const (
	chunks    = 8
	chunkSize = 256 << 10
)

func readAhead(r io.Reader) *ahead {
	a := &ahead{full: make(chan chunk, chunks), empty: make(chan []byte, chunks), stop: make(chan struct{}), done: make(chan struct{})}
	for range chunks {
		a.empty <- make([]byte, chunkSize)
	}
	go a.fill(r)
	return a
}

func (a *ahead) fill(r io.Reader) {
	defer close(a.done)
	for {
		var b []byte
		select {
		case <-a.stop:
			return
		case b = <-a.empty:
		}
		n, err := 0, error(nil)
		for n < chunkSize && err == nil {
			var m int
			m, err = r.Read(b[n:chunkSize])
			n += m
		}
		a.full <- chunk{b[:n], err} // has room for all that are in use
		if err != nil {
			return
		}
	}
}

func (a *ahead) Read(p []byte) (int, error) {
	for len(a.now) == 0 {
		if a.err != nil {
			return 0, a.err
		}
		if a.buf != nil {
			a.empty <- a.buf
		}
		c := <-a.full
		a.buf, a.now, a.err = c.b, c.b, c.err
	}
	n := copy(p, a.now)
	a.now = a.now[n:]
	return n, nil
}

// Close ends the goroutine and waits for it.
func (a *ahead) Close() {
	close(a.stop)
	<-a.done
}
