package httpx

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Request is one file.
type Request struct {
	// URL is http, https or file, or an absolute path.
	URL string
	// Offset asks for the rest of the file from there on. Whether the server
	// went along is in [Response.Offset]. Only sensible where the content is
	// known, by a digest or by Validator.
	Offset int64
	// Validator is the [Response.Validator] of the transfer that Offset goes on
	// from: the server sends everything when the file is no longer that one.
	Validator string
	// IfNoneMatch and IfModifiedSince make the request conditional, with ETag and
	// LastModified of an earlier Response; see [Response.NotModified].
	IfNoneMatch, IfModifiedSince string
	// NoCache asks caches on the way to revalidate.
	NoCache bool
	// Size of the whole file in bytes, when it is known: a body that ends early
	// is resumed. 0 is unknown.
	Size int64
	// Limit of the whole file in bytes; 0 is none.
	Limit int64
	// Attempts overrides [Options.Attempts]; 1 never tries again.
	Attempts int
	// Progress is told of each number of bytes that arrives.
	Progress func(n int)
}

// Response is an answer whose body is still to be read.
type Response struct {
	// NotModified: the condition of the request holds and there is no body.
	NotModified bool
	// ETag and LastModified as the server gave them, for the next conditional
	// request.
	ETag, LastModified string
	// Offset is where Body begins in the file: Request.Offset or 0.
	Offset int64
	// Size of the whole file in bytes, -1 when unknown.
	Size int64
	// Body resumes by itself. Its errors are *[Error], or the context's.
	Body io.ReadCloser
}

// Validator is what [Request.Validator] wants, or "".
func (r *Response) Validator() string { return validator(r.ETag, r.LastModified) }

func validator(etag, modified string) string {
	if etag != "" && !strings.HasPrefix(etag, "W/") {
		return etag
	}
	return modified
}

// Get asks for a file. The error is an *[Error], or the context's.
func (c *Client) Get(ctx context.Context, r Request) (*Response, error) {
	path, local, err := localPath(r.URL)
	if err != nil {
		return nil, &Error{Kind: BadURL, URL: Redact(r.URL), Attempts: 1, Err: err}
	}
	if local {
		return openLocal(ctx, path, r)
	}
	if r.Attempts <= 0 {
		r.Attempts = c.opts.Attempts
	}
	b := &body{c: c, ctx: ctx, r: r, pos: r.Offset, validator: r.Validator, size: -1}
	if r.Size > 0 {
		b.size = r.Size
	}
	resp, err := b.connect()
	if err != nil {
		return nil, err
	}
	out := &Response{ETag: resp.Header.Get("ETag"), LastModified: resp.Header.Get("Last-Modified"), Offset: b.pos, Size: b.size, Body: b}
	if resp.StatusCode == http.StatusNotModified {
		b.Close()
		out.NotModified, out.Body, out.Size = true, http.NoBody, 0
	}
	return out, nil
}

// ReadAll gets a whole small file. A Limit of 0 is 64 MiB. The data is nil when
// the response is NotModified.
func (c *Client) ReadAll(ctx context.Context, r Request) ([]byte, *Response, error) {
	if r.Limit == 0 {
		r.Limit = 64 << 20
	}
	r.Offset = 0
	resp, err := c.Get(ctx, r)
	if err != nil || resp.NotModified {
		return nil, resp, err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, nil, err
	}
	return data, resp, nil
}

// connect sends the request, again where that may help, and takes up the answer
// into b. The answer is 200, 206 or 304.
func (b *body) connect() (*http.Response, error) {
	for {
		resp, wait, err := b.once()
		if err == nil {
			return resp, nil
		}
		if stopped(b.ctx) {
			return nil, context.Cause(b.ctx)
		}
		if err := b.pause(err, wait); err != nil {
			return nil, err
		}
	}
}

// pause waits before another attempt, or gives the error when there is none.
func (b *body) pause(e *Error, wait time.Duration) error {
	b.faults++
	b.total++
	e.Attempts = b.total
	if permanent(e) || b.faults >= b.r.Attempts || b.total >= maxFaults || wait > maxBackoff {
		return e
	}
	if wait == 0 {
		wait = min(b.c.opts.Backoff<<(b.faults-1), maxBackoff)
		// Half to whole of it: clients that failed together come back apart.
		wait = wait/2 + rand.N(wait/2+1)
	}
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-b.ctx.Done():
		return context.Cause(b.ctx)
	case <-t.C:
		return nil
	}
}

// once sends the request one time. wait is what the server asks for.
func (b *body) once() (resp *http.Response, wait time.Duration, fail *Error) {
	ctx, w := newWatch(b.ctx, b.c.opts.Stall)
	defer func() {
		if fail != nil {
			w.stop()
		}
	}()
	req, err := b.request(ctx)
	if err != nil {
		return nil, 0, &Error{Kind: BadURL, URL: Redact(b.r.URL), Err: err}
	}
	resp, err = b.c.http.Do(req)
	w.got(0)
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		return nil, 0, classify(b.r.URL, 1, err)
	}
	bad := func(e *Error) (*http.Response, time.Duration, *Error) {
		resp.Body.Close()
		e.URL = Redact(b.r.URL)
		return nil, wait, e
	}
	switch resp.StatusCode {
	case http.StatusOK, http.StatusPartialContent:
	case http.StatusNotModified:
		if b.r.IfNoneMatch != "" || b.r.IfModifiedSince != "" {
			b.take(w, resp)
			return resp, 0, nil
		}
		return bad(&Error{Kind: Status, Status: resp.StatusCode})
	case http.StatusNotFound, http.StatusGone:
		return bad(&Error{Kind: NotFound, Status: resp.StatusCode})
	default:
		wait = retryAfter(resp)
		return bad(&Error{Kind: Status, Status: resp.StatusCode})
	}
	if err := b.place(resp); err != nil {
		return bad(err)
	}
	b.take(w, resp)
	return resp, 0, nil
}

func (b *body) request(ctx context.Context) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, b.r.URL, nil)
	if err != nil {
		if ue, ok := err.(*url.Error); ok {
			err = ue.Err
		}
		return nil, err
	}
	h := req.Header
	h.Set("User-Agent", b.c.opts.UserAgent)
	h.Set("Accept", "*/*")
	if b.pos > 0 {
		h.Set("Range", fmt.Sprintf("bytes=%d-", b.pos))
		if b.validator != "" {
			h.Set("If-Range", b.validator)
		}
	} else {
		if b.r.IfNoneMatch != "" {
			h.Set("If-None-Match", b.r.IfNoneMatch)
		}
		if b.r.IfModifiedSince != "" {
			h.Set("If-Modified-Since", b.r.IfModifiedSince)
		}
	}
	if b.r.NoCache {
		h.Set("Cache-Control", "max-age=0")
	}
	return req, nil
}

// retryAfter reads seconds or a date (RFC 9110, 10.2.3); a date is counted from
// the answer's own Date, so that no clock has to agree.
func retryAfter(resp *http.Response) time.Duration {
	v := resp.Header.Get("Retry-After")
	if v == "" {
		return 0
	}
	if n, err := strconv.Atoi(v); err == nil {
		return max(0, time.Duration(min(n, 1<<20))*time.Second)
	}
	until, err := http.ParseTime(v)
	if err != nil {
		return 0
	}
	from, err := http.ParseTime(resp.Header.Get("Date"))
	if err != nil {
		return 0
	}
	return max(0, until.Sub(from))
}
