package ca

import (
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

// originHost is the name in the origin's own certificate.
const originHost = "origin.test"

// answer is what clients find in the file; a client that prints it has read it.
const answer = "inspected and delivered\n"

// Origin is a real HTTPS server on loopback with something for every kind of
// client: a file, a git repository, a wheel in a simple index, an npm package, a
// source package in a CRAN mirror, a conda channel, a Go module, and package
// repositories of apt, rpm and apk. Only interceptors reach it under its own name.
type Origin struct {
	public *Authority // that everybody trusts, were this the Internet
	addr   string
	server *http.Server
	wg     sync.WaitGroup
	// Key is the public key that the apt repository is signed with.
	Key []byte
}

// tree is content by path; base is the URL that the client called the root by.
type tree map[string]func(base string) []byte

func (t tree) put(path string, data []byte) { t[path] = func(string) []byte { return data } }

// NewOrigin starts an origin; it ends with Close.
func NewOrigin(now time.Time) (*Origin, error) {
	public, err := NewAuthority(now)
	if err != nil {
		return nil, err
	}
	content := tree{}
	content.put("file", []byte(answer))
	o := &Origin{public: public}
	if o.Key, err = fill(content, now); err != nil {
		return nil, fmt.Errorf("origin: %w", err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("origin: %w", err)
	}
	o.addr = l.Addr().String()
	o.server = &http.Server{Handler: content, TLSConfig: public.server(), ErrorLog: log.New(io.Discard, "", 0), ReadHeaderTimeout: time.Minute}
	o.wg.Go(func() { _ = o.server.ServeTLS(l, "", "") })
	return o, nil
}

// fill puts everything there and gives the key of the apt repository.
func fill(t tree, now time.Time) ([]byte, error) {
	var key []byte
	err := errors.Join(
		addGit(t, now),
		addWheel(t, now),
		addNPM(t, now),
		addCRAN(t, now),
		addConda(t),
		addGo(t, now),
		addRPM(t, now),
		addAPK(t, now),
		func() (err error) { key, err = addAPT(t, now); return err }(),
	)
	return key, err
}

// ServeHTTP answers GET and HEAD of /CLIENT/PATH, the same for every client.
func (t tree) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	client, path, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	make, ok := t[path]
	if !ok {
		// Whatever the architecture is called, its index is the same empty one.
		if _, file, deeper := strings.Cut(strings.TrimPrefix(path, "apk/"), "/"); deeper && strings.HasPrefix(path, "apk/") {
			make, ok = t["apk/*/"+file]
		}
	}
	if !ok {
		http.NotFound(w, r)
		return
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		http.Error(w, "GET and HEAD alone", http.StatusMethodNotAllowed)
		return
	}
	w.Header().Set("Content-Type", mediaType(path))
	http.ServeContent(w, r, "", time.Time{}, strings.NewReader(string(make("https://"+r.Host+"/"+client))))
}

func mediaType(path string) string {
	switch {
	case strings.HasSuffix(path, "/"):
		return "text/html; charset=utf-8"
	case strings.HasSuffix(path, ".json"), strings.HasPrefix(path, "npm/") && !strings.HasSuffix(path, ".tgz"):
		return "application/json"
	case strings.HasSuffix(path, "file"), strings.HasSuffix(path, "/PACKAGES"):
		return "text/plain; charset=utf-8"
	}
	return "application/octet-stream"
}

// Close ends the origin and its connections.
func (o *Origin) Close() error {
	err := o.server.Close()
	o.wg.Wait()
	return err
}
