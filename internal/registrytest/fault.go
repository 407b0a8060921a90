package registrytest

import (
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/cfbuild/cfbuild/internal/requesttest"
)

// Fault is something that goes wrong with the requests it matches.
type Fault struct {
	// Method, Path and Query match when they are empty or (Path, Query) part of
	// the request's.
	Method, Path, Query string
	// Skip lets so many matching requests pass first, Times ends the fault after
	// so many; 0 is without end.
	Skip, Times int

	// Status answers with it and an error body; RetryAfter is its header.
	Status     int
	RetryAfter string
	// Body replaces the error body, such as the HTML of a proxy.
	Body string
	// Cut closes the connection after CutAfter bytes of the request's body.
	Cut      bool
	CutAfter int64
	// Die ends the registry as [Registry.Die] does, after CutAfter bytes.
	Die bool
	// Delay waits before the request is handled, at most until the registry closes.
	Delay time.Duration
	// Slow waits before each read of the request's body.
	Slow time.Duration
	// Drop answers 201 to a PUT without storing anything.
	Drop bool
	// Do runs before the request is handled.
	Do func()
}

// Fail orders a fault. Of several that match, the first applies.
func (r *Registry) Fail(f Fault) { r.faults.Order(f, f.Skip, f.Times) }

// Heal ends all faults.
func (r *Registry) Heal() {
	r.faults.Heal()
	r.Revive()
}

func (f *Fault) fits(req *http.Request) bool {
	return (f.Method == "" || f.Method == req.Method) && strings.Contains(req.URL.Path, f.Path) && strings.Contains(req.URL.RawQuery, f.Query)
}

// apply says whether the request is answered.
func (f *Fault) apply(r *Registry, w http.ResponseWriter, req *http.Request, body *requesttest.Body) bool {
	if f.Do != nil {
		f.Do()
	}
	if f.Delay > 0 {
		select {
		case <-time.After(f.Delay):
		case <-req.Context().Done():
			return true
		case <-r.closed:
			return true
		}
	}
	body.Slow = f.Slow
	switch {
	case f.Cut, f.Die:
		io.CopyN(io.Discard, body, f.CutAfter)
		if f.Die {
			r.mu.Lock()
			r.dead = true
			r.mu.Unlock()
		}
		requesttest.Cut(w)
		return true
	case f.Drop:
		io.Copy(io.Discard, body)
		w.WriteHeader(http.StatusCreated)
		return true
	case f.Status != 0:
		if f.RetryAfter != "" {
			w.Header().Set("Retry-After", f.RetryAfter)
		}
		text := f.Body
		if text == "" {
			w.Header().Set("Content-Type", "application/json")
			text = `{"errors":[{"code":` + strconv.Quote(code(f.Status)) + `,"message":"ordered by the test"}]}`
		}
		w.WriteHeader(f.Status)
		io.WriteString(w, text)
		return true
	}
	return false
}

// code is the distribution specification's error code for a status.
func code(status int) string {
	switch status {
	case http.StatusUnauthorized:
		return "UNAUTHORIZED"
	case http.StatusForbidden:
		return "DENIED"
	case http.StatusNotFound:
		return "NAME_UNKNOWN"
	case http.StatusTooManyRequests:
		return "TOOMANYREQUESTS"
	case http.StatusServiceUnavailable:
		return "UNAVAILABLE"
	}
	return "UNKNOWN"
}
