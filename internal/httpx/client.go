package httpx

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"time"

	"golang.org/x/net/http/httpproxy"
)

// Defaults of [Options].
const (
	DefaultStall    = 15 * time.Second
	DefaultAttempts = 4
	DefaultBackoff  = 300 * time.Millisecond
	// maxBackoff bounds one wait, also one that a server asks for.
	maxBackoff = 30 * time.Second
	// resetAfter bytes without a fault, earlier faults are forgiven.
	resetAfter = 256 << 10
	// maxFaults bounds the faults of one file, forgiven or not.
	maxFaults = 40
)

// Options of a [Client]. The zero value is useful.
type Options struct {
	// CAs are PEM certificates trusted besides the machine's own store.
	CAs [][]byte
	// Proxy is how requests leave the site; zero: directly.
	Proxy Proxy
	// Stall ends a request that has moved nothing for so long, while
	// connecting, waiting for the answer or reading it. Default [DefaultStall].
	Stall time.Duration
	// Attempts is how often one request is tried in all, default
	// [DefaultAttempts]; [Request.Attempts] overrides it.
	Attempts int
	// Backoff is the first wait between attempts; it doubles, with jitter.
	// Default [DefaultBackoff].
	Backoff time.Duration
	// UserAgent defaults to "cfbuild".
	UserAgent string
}

// Proxy holds what the *_proxy variables hold: URLs, and for No a list of hosts,
// domains, addresses and CIDRs that are reached directly.
type Proxy struct {
	HTTP, HTTPS, No string
}

// Client fetches over connections that are kept and reused. It may be used by
// several goroutines at once.
type Client struct {
	opts Options
	http *http.Client
}

// New makes a client. It fails on a CA that is no certificate.
func New(o Options) (*Client, error) {
	if o.Stall <= 0 {
		o.Stall = DefaultStall
	}
	if o.Attempts <= 0 {
		o.Attempts = DefaultAttempts
	}
	if o.Backoff <= 0 {
		o.Backoff = DefaultBackoff
	}
	if o.UserAgent == "" {
		o.UserAgent = "cfbuild"
	}
	t, err := Transport(o)
	if err != nil {
		return nil, err
	}
	return &Client{opts: o, http: &http.Client{Transport: t}}, nil
}

// Transport is what a client's requests go over: the CAs, the proxies and, as the
// bound of connecting and of the wait for an answer, the stall time of the options.
// It is for what is more than fetching. It fails on a CA that is no certificate.
func Transport(o Options) (*http.Transport, error) {
	if o.Stall <= 0 {
		o.Stall = DefaultStall
	}
	pool, err := roots(o.CAs)
	if err != nil {
		return nil, err
	}
	cfg := &httpproxy.Config{HTTPProxy: o.Proxy.HTTP, HTTPSProxy: o.Proxy.HTTPS, NoProxy: o.Proxy.No}
	proxy := cfg.ProxyFunc()
	dialer := &net.Dialer{Timeout: o.Stall, KeepAlive: 30 * time.Second}
	return &http.Transport{
		Proxy:                 func(r *http.Request) (*url.URL, error) { return proxy(r.URL) },
		DialContext:           dialer.DialContext,
		TLSClientConfig:       &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:   o.Stall,
		ResponseHeaderTimeout: o.Stall,
		ForceAttemptHTTP2:     true,
		// The bytes on the mirror are what is hashed, so they are taken as they are.
		DisableCompression:  true,
		MaxIdleConns:        64,
		MaxIdleConnsPerHost: 16,
		IdleConnTimeout:     60 * time.Second,
		ReadBufferSize:      64 << 10,
	}, nil
}

// roots gives the machine's certificates and the site's; nil is the machine's.
func roots(cas [][]byte) (*x509.CertPool, error) {
	if len(cas) == 0 {
		return nil, nil
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	for i, pem := range cas {
		if !pool.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("certificate authority %d of the site: no PEM certificate in it", i+1)
		}
	}
	return pool, nil
}

// CloseIdle closes the connections that are kept for reuse.
func (c *Client) CloseIdle() { c.http.CloseIdleConnections() }

var errStalled = errors.New("moved nothing for too long")

// stopped says whether the caller, not the watch, ended the context.
func stopped(ctx context.Context) bool { return ctx.Err() != nil }
