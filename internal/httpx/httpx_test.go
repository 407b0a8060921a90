package httpx

import (
	"bytes"
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func client(t *testing.T, o Options) *Client {
	t.Helper()
	if o.Backoff == 0 {
		o.Backoff = time.Millisecond
	}
	c, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.CloseIdle)
	return c
}

// serve answers request number n (from 1) with h.
func serve(t *testing.T, h func(n int, w http.ResponseWriter, r *http.Request)) string {
	t.Helper()
	var n atomic.Int32
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h(int(n.Add(1)), w, r)
	}))
	t.Cleanup(s.Close)
	return s.URL
}

func kindOf(t *testing.T, err error) *Error {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) {
		t.Fatalf("error %v (%T) is no *Error", err, err)
	}
	return e
}

var content = bytes.Repeat([]byte("0123456789abcdef"), 40<<10/16)

// half sends the first half of what it promised, then breaks the connection.
func half(w http.ResponseWriter, data []byte) {
	w.Header().Set("Content-Length", fmt.Sprint(len(data)))
	w.Write(data[:len(data)/2])
	w.(http.Flusher).Flush()
	panic(http.ErrAbortHandler)
}

func TestRetriesOverload(t *testing.T) {
	for _, status := range []int{429, 500, 502, 503, 504} {
		url := serve(t, func(n int, w http.ResponseWriter, r *http.Request) {
			if n < 3 {
				w.Header().Set("Retry-After", "0")
				w.WriteHeader(status)
				return
			}
			w.Write(content)
		})
		data, _, err := client(t, Options{}).ReadAll(t.Context(), Request{URL: url})
		if err != nil || !bytes.Equal(data, content) {
			t.Errorf("%d: got %d bytes, %v", status, len(data), err)
		}
	}
}

func TestGivesUp(t *testing.T) {
	for _, tt := range []struct {
		status, attempts int
		header           string
		kind             Kind
	}{
		{503, 4, "", Status},
		{429, 1, "3600", Status}, // longer than is waited for
		{404, 1, "", NotFound},
		{403, 1, "", Status},
	} {
		asked := 0
		url := serve(t, func(n int, w http.ResponseWriter, r *http.Request) {
			asked = n
			if tt.header != "" {
				w.Header().Set("Retry-After", tt.header)
			}
			w.WriteHeader(tt.status)
		})
		_, err := client(t, Options{}).Get(t.Context(), Request{URL: url})
		e := kindOf(t, err)
		if e.Kind != tt.kind || e.Status != tt.status || e.Attempts != tt.attempts || asked != tt.attempts {
			t.Errorf("status %d: got %+v after %d requests", tt.status, e, asked)
		}
	}
}

func TestRetryAfter(t *testing.T) {
	r := &http.Response{Header: http.Header{}}
	for _, tt := range []struct {
		after, date string
		want        time.Duration
	}{
		{"", "", 0}, {"7", "", 7 * time.Second}, {"-3", "", 0}, {"soon", "", 0},
		{"Wed, 21 Oct 2015 07:28:10 GMT", "Wed, 21 Oct 2015 07:28:00 GMT", 10 * time.Second},
		{"Wed, 21 Oct 2015 07:28:10 GMT", "", 0},
		{"Wed, 21 Oct 2015 07:28:00 GMT", "Wed, 21 Oct 2015 07:28:10 GMT", 0},
	} {
		r.Header.Set("Retry-After", tt.after)
		r.Header.Set("Date", tt.date)
		if got := retryAfter(r); got != tt.want {
			t.Errorf("Retry-After %q: got %v, want %v", tt.after, got, tt.want)
		}
	}
}

func TestResumesWithRange(t *testing.T) {
	var ranges []string
	url := serve(t, func(n int, w http.ResponseWriter, r *http.Request) {
		ranges = append(ranges, r.Header.Get("Range")+" "+r.Header.Get("If-Range"))
		w.Header().Set("ETag", `"one"`)
		if n == 1 {
			half(w, content)
		}
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
	})
	moved := 0
	data, _, err := client(t, Options{}).ReadAll(t.Context(), Request{URL: url, Progress: func(n int) { moved += n }})
	if err != nil || !bytes.Equal(data, content) {
		t.Fatalf("got %d bytes, %v", len(data), err)
	}
	want := fmt.Sprintf("bytes=%d- \"one\"", len(content)/2)
	if len(ranges) != 2 || ranges[1] != want || moved != len(content) {
		t.Errorf("requests %q, moved %d; want the second to be %q", ranges, moved, want)
	}
}

func TestResumesWithoutRange(t *testing.T) {
	url := serve(t, func(n int, w http.ResponseWriter, r *http.Request) {
		if n < 3 {
			half(w, content)
		}
		w.Write(content)
	})
	data, _, err := client(t, Options{}).ReadAll(t.Context(), Request{URL: url})
	if err != nil || !bytes.Equal(data, content) {
		t.Fatalf("got %d bytes, %v", len(data), err)
	}
}

func TestResumeSeesChange(t *testing.T) {
	for name, second := range map[string]func(w http.ResponseWriter){
		"validator": func(w http.ResponseWriter) { w.Header().Set("ETag", `"two"`); w.Write(content) },
		"size": func(w http.ResponseWriter) {
			w.Header().Set("ETag", `"one"`)
			w.Header().Set("Content-Length", fmt.Sprint(len(content)-1))
			w.Write(content[1:])
		},
	} {
		url := serve(t, func(n int, w http.ResponseWriter, r *http.Request) {
			if n == 1 {
				w.Header().Set("ETag", `"one"`)
				half(w, content)
			}
			second(w)
		})
		_, _, err := client(t, Options{}).ReadAll(t.Context(), Request{URL: url})
		if e := kindOf(t, err); e.Kind != Changed {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestGoesOnFromOffset(t *testing.T) {
	url := serve(t, func(n int, w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", `"one"`)
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
	})
	c := client(t, Options{})
	for _, tt := range []struct {
		validator string
		offset    int64
	}{{`"one"`, 1000}, {"", 1000}, {`"other"`, 0}} {
		r, err := c.Get(t.Context(), Request{URL: url, Offset: 1000, Validator: tt.validator})
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(r.Body)
		r.Body.Close()
		if err != nil || r.Offset != tt.offset || r.Size != int64(len(content)) || !bytes.Equal(data, content[tt.offset:]) {
			t.Errorf("validator %q: offset %d, size %d, %d bytes, %v", tt.validator, r.Offset, r.Size, len(data), err)
		}
	}
}

func TestConditional(t *testing.T) {
	url := serve(t, func(n int, w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", `"one"`)
		http.ServeContent(w, r, "", time.Unix(1e9, 0), bytes.NewReader(content))
	})
	c := client(t, Options{})
	_, r, err := c.ReadAll(t.Context(), Request{URL: url})
	if err != nil || r.NotModified {
		t.Fatal(r, err)
	}
	data, again, err := c.ReadAll(t.Context(), Request{URL: url, IfNoneMatch: r.ETag, IfModifiedSince: r.LastModified})
	if err != nil || !again.NotModified || data != nil {
		t.Errorf("got %+v, %d bytes, %v", again, len(data), err)
	}
	if r.LastModified == "" || r.Validator() != `"one"` {
		t.Errorf("validators %q, %q", r.LastModified, r.Validator())
	}
}

func TestStall(t *testing.T) {
	hang := make(chan struct{})
	defer close(hang)
	for name, h := range map[string]func(w http.ResponseWriter){
		"before the answer": func(w http.ResponseWriter) { <-hang },
		"in the body": func(w http.ResponseWriter) {
			w.Header().Set("Content-Length", "100")
			w.Write([]byte("x"))
			w.(http.Flusher).Flush()
			<-hang
		},
		"dripping": func(w http.ResponseWriter) {
			for {
				select {
				case <-hang:
					return
				case <-time.After(10 * time.Millisecond):
					w.Write([]byte("x"))
					w.(http.Flusher).Flush()
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			// A hung handler keeps its server from closing, so it goes with
			// the client's connections, not with the test's clean-up.
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { h(w) }))
			defer func() { go s.Close() }()
			_, _, err := client(t, Options{Stall: 60 * time.Millisecond}).ReadAll(t.Context(), Request{URL: s.URL, Attempts: 2})
			if e := kindOf(t, err); e.Kind != Stalled || e.Attempts != 2 || e.Hint() == "" {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestSlowReaderIsNoStall(t *testing.T) {
	big := bytes.Repeat(content, 200)
	url := serve(t, func(n int, w http.ResponseWriter, r *http.Request) { w.Write(big) })
	r, err := client(t, Options{Stall: 40 * time.Millisecond}).Get(t.Context(), Request{URL: url, Attempts: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	time.Sleep(300 * time.Millisecond)
	if data, err := io.ReadAll(r.Body); err != nil || len(data) != len(big) {
		t.Errorf("got %d bytes, %v", len(data), err)
	}
}

func TestCancel(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	url := serve(t, func(n int, w http.ResponseWriter, r *http.Request) {
		cancel()
		w.WriteHeader(503)
	})
	_, err := client(t, Options{Backoff: time.Hour}).Get(ctx, Request{URL: url})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestUnreachable(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	url := "http://user:hunter2@" + l.Addr().String() + "/x?token=hunter2"
	l.Close()
	_, err = client(t, Options{}).Get(t.Context(), Request{URL: url})
	if e := kindOf(t, err); e.Kind != Unreachable || e.Attempts != DefaultAttempts {
		t.Errorf("got %+v", e)
	}
	if strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "user") {
		t.Errorf("error tells the password: %v", err)
	}
}

func TestTrust(t *testing.T) {
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.Write(content) }))
	s.Config.ErrorLog = nil
	s.StartTLS()
	defer s.Close()
	_, err := client(t, Options{}).Get(t.Context(), Request{URL: s.URL})
	e := kindOf(t, err)
	if e.Kind != Untrusted || e.Attempts != 1 || !strings.Contains(e.Hint(), "CA") || !strings.Contains(err.Error(), "Acme") {
		t.Errorf("got %v, hint %q", err, e.Hint())
	}
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
	data, _, err := client(t, Options{CAs: [][]byte{ca}}).ReadAll(t.Context(), Request{URL: s.URL})
	if err != nil || !bytes.Equal(data, content) {
		t.Errorf("with its CA: %v", err)
	}
	if _, err := New(Options{CAs: [][]byte{[]byte("no PEM")}}); err == nil {
		t.Error("a CA that is none was accepted")
	}
}

func TestLimit(t *testing.T) {
	for _, chunked := range []bool{false, true} {
		url := serve(t, func(n int, w http.ResponseWriter, r *http.Request) {
			if chunked {
				w.(http.Flusher).Flush()
			}
			w.Write(content)
		})
		_, _, err := client(t, Options{}).ReadAll(t.Context(), Request{URL: url, Limit: 1000})
		if e := kindOf(t, err); e.Kind != TooLarge {
			t.Errorf("chunked %v: got %v", chunked, err)
		}
	}
}

func TestProxy(t *testing.T) {
	var asked atomic.Value
	proxy := serve(t, func(n int, w http.ResponseWriter, r *http.Request) {
		asked.Store(r.URL.String())
		w.Write(content)
	})
	c := client(t, Options{Proxy: Proxy{HTTP: proxy, No: "direct.test"}})
	if _, _, err := c.ReadAll(t.Context(), Request{URL: "http://mirror.test/x"}); err != nil || asked.Load() != "http://mirror.test/x" {
		t.Errorf("proxy was asked for %v, %v", asked.Load(), err)
	}
	if _, err := c.Get(t.Context(), Request{URL: "http://direct.test/x", Attempts: 1}); err == nil {
		t.Error("a host listed in No went through the proxy")
	}
}

func TestLocal(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a file")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	c := client(t, Options{})
	for _, url := range []string{path, "file://" + strings.ReplaceAll(path, " ", "%20")} {
		data, r, err := c.ReadAll(t.Context(), Request{URL: url})
		if err != nil || !bytes.Equal(data, content) {
			t.Errorf("%s: %v", url, err)
			continue
		}
		_, again, err := c.ReadAll(t.Context(), Request{URL: url, IfNoneMatch: r.ETag})
		if err != nil || !again.NotModified {
			t.Errorf("%s: unchanged and not told so: %v", url, err)
		}
		part, err := c.Get(t.Context(), Request{URL: url, Offset: 10})
		if err != nil || part.Offset != 10 {
			t.Fatalf("%s: %+v, %v", url, part, err)
		}
		rest, _ := io.ReadAll(part.Body)
		part.Body.Close()
		if !bytes.Equal(rest, content[10:]) {
			t.Errorf("%s: wrong rest", url)
		}
	}
	for url, kind := range map[string]Kind{path + "x": NotFound, "ftp://h/x": BadURL, "x/y": BadURL, "http:///x": BadURL, "file://host/x": BadURL} {
		_, err := c.Get(t.Context(), Request{URL: url})
		if e := kindOf(t, err); e.Kind != kind {
			t.Errorf("%s: got %v", url, err)
		}
	}
}

func TestRedact(t *testing.T) {
	for in, want := range map[string]string{
		"https://u:p@h/a?sig=x#f": "https://h/a?…",
		"http://h/a":              "http://h/a",
		"/a b@c":                  "/a b@c",
		"http://u:p%zz@h/":        "…@h/",
	} {
		if got := Redact(in); got != want {
			t.Errorf("Redact(%q) = %q, want %q", in, got, want)
		}
	}
}
