// Package registrytest runs a real registry (distribution v3) inside the test
// process, with a log of its requests and faults to order.
package registrytest

import (
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/cfbuild/cfbuild/internal/requesttest"
	"github.com/distribution/distribution/v3/configuration"
	"github.com/distribution/distribution/v3/registry/handlers"
	"github.com/distribution/distribution/v3/registry/storage/driver/inmemory"
	"github.com/sirupsen/logrus"
)

// Registry is one running registry. It ends with the test.
type Registry struct {
	requesttest.Log[Request]
	srv    *httptest.Server
	app    http.Handler
	auth   *auth
	tls    bool
	faults requesttest.Faults[Fault]
	mu     sync.Mutex
	dead   bool
	closed chan struct{}
	once   sync.Once
}

// Request is one request the registry received.
type Request struct {
	Method, Path, Query string
	Status              int
	// Body is how many bytes of the request's body were read.
	Body int64
	// Auth is the kind of authorisation, "Basic" or "Bearer", never its value.
	Auth string
}

// Option changes how a registry starts.
type Option func(*Registry)

// TLS serves https with a certificate of its own; see [Registry.CA].
func TLS() Option {
	return func(r *Registry) { r.tls = true }
}

// Start runs a registry on a free loopback port, in memory.
func Start(t testing.TB, opts ...Option) *Registry {
	t.Helper()
	logrus.SetLevel(logrus.FatalLevel) // distribution's handlers take no logger
	cfg := &configuration.Configuration{Storage: configuration.Storage{inmemory.New().Name(): nil}}
	cfg.Log.AccessLog.Disabled = true
	cfg.HTTP.Secret = "a test's secret"
	cfg.Validation.Manifests.Indexes.Platforms = "all"
	cfg.Catalog.MaxEntries = 1000
	r := &Registry{app: handlers.NewApp(t.Context(), cfg), closed: make(chan struct{})}
	r.srv = httptest.NewUnstartedServer(http.HandlerFunc(r.serve))
	r.srv.Config.ErrorLog = log.New(io.Discard, "", 0) // handshakes that tests refuse
	for _, o := range opts {
		o(r)
	}
	if r.tls {
		r.srv.StartTLS()
	} else {
		r.srv.Start()
	}
	t.Cleanup(r.Close)
	return r
}

// Host is "127.0.0.1:PORT", the first part of references.
func (r *Registry) Host() string { return r.srv.Listener.Addr().String() }

// URL is the registry's base URL.
func (r *Registry) URL() string { return r.srv.URL }

// CA is the certificate of a [TLS] registry, PEM.
func (r *Registry) CA() []byte {
	return requesttest.CA(r.srv)
}

// Count counts the requests with one of the methods (separated by blanks) whose
// path holds part and whose query holds query.
func (r *Registry) Count(methods, part, query string) int {
	n := 0
	for _, q := range r.Requests() {
		if strings.Contains(" "+methods+" ", " "+q.Method+" ") && strings.Contains(q.Path, part) && strings.Contains(q.Query, query) {
			n++
		}
	}
	return n
}

// Close stops listening: further connections are refused.
func (r *Registry) Close() {
	r.once.Do(func() { close(r.closed) })
	r.srv.CloseClientConnections()
	r.srv.Close()
}

// Die makes the registry cut every connection from now on, as a crashed one does.
func (r *Registry) Die() {
	r.mu.Lock()
	r.dead = true
	r.mu.Unlock()
	r.srv.CloseClientConnections()
}

// Revive ends [Registry.Die].
func (r *Registry) Revive() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.dead = false
}

func (r *Registry) serve(w http.ResponseWriter, req *http.Request) {
	body := &requesttest.Body{R: req.Body}
	rec := &requesttest.Answer{ResponseWriter: w}
	q := Request{Method: req.Method, Path: req.URL.Path, Query: req.URL.RawQuery}
	q.Auth, _, _ = strings.Cut(req.Header.Get("Authorization"), " ")
	defer func() {
		q.Status, q.Body = rec.Status, body.N
		r.Note(q)
	}()
	r.mu.Lock()
	dead := r.dead
	r.mu.Unlock()
	if dead {
		requesttest.Cut(w)
		return
	}
	req.Body = body
	if f := r.faults.Pick(func(f *Fault) bool { return f.fits(req) }); f != nil && f.apply(r, rec, req, body) {
		return
	}
	if r.auth != nil && !r.auth.admit(rec, req) {
		return
	}
	r.app.ServeHTTP(rec, req)
}
