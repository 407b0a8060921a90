package ca

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"net/http/httputil"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Interceptor is an inspecting proxy on loopback. Clients reach it as what it
// stands in for (https://localhost:PORT), or by CONNECT as a proxy for any host.
// It terminates TLS with leaves that its authority makes for the host that was
// asked for, and asks the origin over TLS of its own, which it verifies.
type Interceptor struct {
	// Port on loopback, the same for both ways.
	Port int

	servers []*http.Server
	wg      sync.WaitGroup

	mu     sync.Mutex
	served map[string]int
}

// Intercept starts an interceptor before an origin; it ends with Close.
func Intercept(a *Authority, o *Origin) (*Interceptor, error) {
	listeners, err := loopback()
	if err != nil {
		return nil, fmt.Errorf("interceptor: %w", err)
	}
	i := &Interceptor{Port: listeners[0].Addr().(*net.TCPAddr).Port, served: map[string]int{}}
	transport := &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: o.public.pool(), ServerName: originHost, MinVersion: tls.VersionTLS12},
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "tcp", o.addr)
		},
	}
	forward := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.URL.Scheme, r.Out.URL.Host = "https", originHost
			r.Out.Host = r.In.Host // what the origin writes into answers
		},
		Transport: transport,
		ErrorLog:  log.New(io.Discard, "", 0),
	}
	inspect := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		client, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
		i.mu.Lock()
		i.served[client]++
		i.mu.Unlock()
		forward.ServeHTTP(w, r)
	})
	conf := a.server()
	for _, l := range listeners {
		s := &http.Server{Handler: inspect, ErrorLog: log.New(io.Discard, "", 0), ReadHeaderTimeout: time.Minute}
		i.servers = append(i.servers, s)
		i.wg.Go(func() { _ = s.Serve(&sniffer{Listener: l, conf: conf}) })
	}
	return i, nil
}

// loopback listens on one port of 127.0.0.1 and, where there is one, of ::1.
func loopback() ([]net.Listener, error) {
	for try := 0; ; try++ {
		four, err := net.Listen("tcp4", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		six, err := net.Listen("tcp6", fmt.Sprintf("[::1]:%d", four.Addr().(*net.TCPAddr).Port))
		if err == nil {
			return []net.Listener{four, six}, nil
		}
		// Another program has that port of ::1, or there is no ::1.
		if probe, perr := net.Listen("tcp6", "[::1]:0"); perr != nil || try == 20 {
			return []net.Listener{four}, nil
		} else {
			probe.Close()
			four.Close()
		}
	}
}

// URL is where a client's requests go.
func (i *Interceptor) URL(client string) string {
	return fmt.Sprintf("https://localhost:%d/%s", i.Port, client)
}

// Served says how many requests came for each client.
func (i *Interceptor) Served() map[string]int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return maps.Clone(i.served)
}

// Close ends the interceptor and its connections.
func (i *Interceptor) Close() error {
	var errs []error
	for _, s := range i.servers {
		errs = append(errs, s.Close())
	}
	i.wg.Wait()
	return errors.Join(errs...)
}

// sniffer takes connections that begin with TLS, and those that begin with CONNECT.
type sniffer struct {
	net.Listener
	conf *tls.Config
}

// Accept gives a connection at once; whichever it is shows when it is read.
func (s *sniffer) Accept() (net.Conn, error) {
	c, err := s.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &inspected{Conn: c, conf: s.conf}, nil
}

// inspected is a connection whose plain text is read and written.
type inspected struct {
	net.Conn
	conf *tls.Config
	once sync.Once
	done atomic.Bool // tls and err are set for good
	tls  *tls.Conn
	err  error
}

// begin answers a CONNECT if there is one, and sets up TLS.
func (c *inspected) begin() {
	c.once.Do(func() {
		defer c.done.Store(true)
		buffered := bufio.NewReader(c.Conn)
		first, err := buffered.Peek(1)
		if err != nil {
			c.err = err
			return
		}
		const handshake = 0x16 // TLS record type, RFC 8446 section 5.1
		if first[0] != handshake {
			r, err := http.ReadRequest(buffered)
			if err != nil {
				c.err = err
				return
			}
			if r.Method != http.MethodConnect {
				_, _ = io.WriteString(c.Conn, "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\nthis proxy takes CONNECT and TLS alone\n")
				c.err = io.EOF
				return
			}
			if _, c.err = io.WriteString(c.Conn, "HTTP/1.1 200 Connection established\r\n\r\n"); c.err != nil {
				return
			}
		}
		c.tls = tls.Server(&replayed{c.Conn, buffered}, c.conf)
		c.err = c.tls.Handshake()
	})
}

func (c *inspected) Read(p []byte) (int, error) {
	if c.begin(); c.err != nil {
		return 0, c.err
	}
	return c.tls.Read(p)
}

func (c *inspected) Write(p []byte) (int, error) {
	if c.begin(); c.err != nil {
		return 0, c.err
	}
	return c.tls.Write(p)
}

// Close says goodbye in TLS where that was spoken.
func (c *inspected) Close() error {
	if c.done.Load() && c.err == nil {
		return c.tls.Close()
	}
	return c.Conn.Close()
}

// replayed gives first what was read ahead.
type replayed struct {
	net.Conn
	r io.Reader
}

func (r *replayed) Read(p []byte) (int, error) { return r.r.Read(p) }
