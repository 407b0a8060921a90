// Package mirror serves a package repository on loopback, with faults: what tests of
// every kind of repository ask.
package mirror

import (
	"crypto/tls"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
)

// Mirror serves a directory on loopback and counts what it is asked.
type Mirror struct {
	URL string
	// Dir that is served.
	Dir string

	mu    sync.Mutex
	fault func(w http.ResponseWriter, r *http.Request) bool
	asked []string
}

// Serve starts a mirror of a directory. A path that is a directory is listed, as
// distribution mirrors do.
func Serve(t testing.TB, dir string) *Mirror {
	t.Helper()
	return serve(t, dir, "127.0.0.1", nil)
}

// ServeAt starts a mirror on another address of the loopback range.
func ServeAt(t testing.TB, dir, address string) *Mirror {
	t.Helper()
	return serve(t, dir, address, nil)
}

// ServeTLS starts a mirror on https://localhost: apk takes no addresses for https.
func ServeTLS(t testing.TB, dir string, cert tls.Certificate) *Mirror {
	t.Helper()
	m := serve(t, dir, "127.0.0.1", &tls.Config{Certificates: []tls.Certificate{cert}})
	m.URL = strings.Replace(m.URL, "127.0.0.1", "localhost", 1)
	return m
}

func serve(t testing.TB, dir, address string, conf *tls.Config) *Mirror {
	t.Helper()
	m := &Mirror{Dir: dir}
	files := http.FileServer(http.Dir(dir))
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		m.mu.Lock()
		m.asked = append(m.asked, strings.TrimPrefix(r.URL.Path, "/"))
		fault := m.fault
		m.mu.Unlock()
		if fault != nil && fault(w, r) {
			return
		}
		files.ServeHTTP(w, r)
	}))
	l, err := net.Listen("tcp", address+":0")
	if err != nil {
		t.Fatal(err)
	}
	s.Listener.Close()
	s.Listener = l
	s.Config.ErrorLog = log.New(io.Discard, "", 0) // clients that do not trust it are part of tests
	if s.TLS = conf; conf != nil {
		s.StartTLS()
	} else {
		s.Start()
	}
	t.Cleanup(func() {
		s.CloseClientConnections()
		s.Close()
	})
	m.URL = s.URL
	return m
}

// Fault sets what goes wrong: f answers a request itself and says so. It must
// return when the request's context ends.
func (m *Mirror) Fault(f func(w http.ResponseWriter, r *http.Request) bool) {
	m.mu.Lock()
	m.fault = f
	m.mu.Unlock()
}

// Asked gives the paths that were asked for since the last call.
func (m *Mirror) Asked() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := m.asked
	m.asked = nil
	return out
}

// Down gives the URL of a mirror that refuses connections.
func Down(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return "http://" + l.Addr().String()
}
