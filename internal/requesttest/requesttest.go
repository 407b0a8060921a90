// Package requesttest is what servers for tests have in common: a log of the requests,
// bodies that are counted and slowed down, connections that are cut, faults to order.
package requesttest

import (
	"encoding/pem"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"time"
)

// Log lists requests that were received and answered; R is what a server notes of one.
type Log[R any] struct {
	mu   sync.Mutex
	seen []R
}

// Note adds a request.
func (l *Log[R]) Note(r R) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.seen = append(l.seen, r)
}

// Requests lists what was received so far and answered.
func (l *Log[R]) Requests() []R {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]R(nil), l.seen...)
}

// Forget empties the log.
func (l *Log[R]) Forget() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.seen = nil
}

// Faults are what a test ordered to go wrong.
type Faults[F any] struct {
	mu   sync.Mutex
	list []*ordered[F]
}

type ordered[F any] struct {
	f           F
	skip, times int
	hits        int
}

// Order adds a fault. It lets skip matching requests pass first and ends after times;
// 0 is without end.
func (l *Faults[F]) Order(f F, skip, times int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.list = append(l.list, &ordered[F]{f: f, skip: skip, times: times})
}

// Heal ends all faults.
func (l *Faults[F]) Heal() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.list = nil
}

// Pick gives the first fault that fits a request and whose turn it is, or nil.
func (l *Faults[F]) Pick(fits func(*F) bool) *F {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, o := range l.list {
		if !fits(&o.f) {
			continue
		}
		o.hits++
		if o.hits > o.skip && (o.times == 0 || o.hits <= o.skip+o.times) {
			return &o.f
		}
	}
	return nil
}

// Body counts a request's body and can slow it down.
type Body struct {
	R io.ReadCloser
	// N is how many bytes were read, Slow a wait before each read.
	N    int64
	Slow time.Duration
}

func (b *Body) Read(p []byte) (int, error) {
	if b.Slow > 0 {
		time.Sleep(b.Slow)
	}
	n, err := b.R.Read(p)
	b.N += int64(n)
	return n, err
}

// Close closes the body.
func (b *Body) Close() error { return b.R.Close() }

// Answer is a response writer that knows the status; 0 until there is one.
type Answer struct {
	http.ResponseWriter
	Status int
}

// WriteHeader notes the status.
func (a *Answer) WriteHeader(code int) {
	if a.Status == 0 {
		a.Status = code
	}
	a.ResponseWriter.WriteHeader(code)
}

func (a *Answer) Write(p []byte) (int, error) {
	if a.Status == 0 {
		a.Status = http.StatusOK
	}
	return a.ResponseWriter.Write(p)
}

// Unwrap is for http.ResponseController.
func (a *Answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// Cut closes the connection without an answer, with a reset where possible.
func Cut(w http.ResponseWriter) {
	c, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if t, ok := c.(*net.TCPConn); ok {
		t.SetLinger(0)
	}
	c.Close()
}

// CA is the certificate of an https server, PEM.
func CA(s *httptest.Server) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
}
