package gitlabtest

import (
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/cfbuild/cfbuild/internal/requesttest"
)

// Fault is something that goes wrong with the requests it matches.
type Fault struct {
	// Method and Path match when they are empty or (Path) part of the request's.
	Method, Path string
	// Expect matches requests that have the header Expect.
	Expect bool
	// Skip lets so many matching requests pass first, Times ends the fault after
	// so many; 0 is without end.
	Skip, Times int

	// Status answers with it and an error body; RetryAfter is its header.
	Status     int
	RetryAfter string
	// Location makes the answer a redirect.
	Location string
	// Body replaces the error body, such as the HTML of a proxy.
	Body string
	// Cut closes the connection after CutAfter bytes of the request's body.
	Cut      bool
	CutAfter int64
	// Mute handles the request and closes the connection in place of answering.
	Mute bool
	// Corrupt flips a bit of an upload on its way.
	Corrupt bool
	// Hang waits until the client goes away.
	Hang bool
	// Slow waits before each read of the request's body.
	Slow time.Duration
	// Do runs before the request is handled.
	Do func()
}

// Fail orders a fault. Of several that match, the first applies.
func (s *Server) Fail(f Fault) { s.faults.Order(f, f.Skip, f.Times) }

// Heal ends all faults.
func (s *Server) Heal() { s.faults.Heal() }

func (f *Fault) fits(req *http.Request) bool {
	return (f.Method == "" || f.Method == req.Method) && strings.Contains(req.URL.Path, f.Path) && (!f.Expect || req.Header.Get("Expect") != "")
}

// apply says whether the request is answered.
func (f *Fault) apply(s *Server, w http.ResponseWriter, req *http.Request, body *requesttest.Body) bool {
	if f.Do != nil {
		f.Do()
	}
	if f.Hang {
		io.Copy(io.Discard, body)
		select {
		case <-req.Context().Done():
		case <-s.closed:
		}
		return true
	}
	body.Slow = f.Slow
	switch {
	case f.Cut:
		io.CopyN(io.Discard, body, f.CutAfter)
		requesttest.Cut(w)
		return true
	case f.Status != 0:
		if f.RetryAfter != "" {
			w.Header().Set("Retry-After", f.RetryAfter)
		}
		if f.Location != "" {
			w.Header().Set("Location", f.Location)
		}
		if f.Body != "" {
			w.WriteHeader(f.Status)
			io.WriteString(w, f.Body)
			return true
		}
		fail(w, f.Status, "ordered by the test")
		return true
	}
	return false
}
