package gitlabtest

import (
	"io"
	"net/http"
	"strings"
	"time"
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

	hits int
}

// Fail orders a fault. Of several that match, the first applies.
func (s *Server) Fail(f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = append(s.faults, &f)
}

// Heal ends all faults.
func (s *Server) Heal() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = nil
}

func (s *Server) pick(req *http.Request) *Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.faults {
		if f.Method != "" && f.Method != req.Method || !strings.Contains(req.URL.Path, f.Path) ||
			f.Expect && req.Header.Get("Expect") == "" {
			continue
		}
		f.hits++
		if f.hits <= f.Skip || f.Times > 0 && f.hits > f.Skip+f.Times {
			continue
		}
		return f
	}
	return nil
}

// apply says whether the request is answered.
func (f *Fault) apply(s *Server, w http.ResponseWriter, req *http.Request, body *countReader) bool {
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
	body.slow = f.Slow
	switch {
	case f.Cut:
		io.CopyN(io.Discard, body, f.CutAfter)
		cut(w)
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
