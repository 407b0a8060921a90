package httpx

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
)

// body reads a file over as many connections as it takes.
type body struct {
	c   *Client
	ctx context.Context
	r   Request

	resp  *http.Response
	watch *watch
	// pos is the place in the file that Read gives next; skip is how much of the
	// present answer lies before it.
	pos, skip int64
	size      int64
	validator string
	// started: bytes were handed out, so the file must not become another.
	started bool
	// faults in a row, and in all; clean counts bytes since the last one.
	faults, total int
	clean         int64
	err           error
}

// take makes resp the present answer.
func (b *body) take(w *watch, resp *http.Response) {
	b.drop()
	b.watch, b.resp = w, resp
}

func (b *body) drop() {
	if b.resp != nil {
		b.resp.Body.Close()
		b.resp = nil
	}
	if b.watch != nil {
		b.watch.stop()
		b.watch = nil
	}
}

// place checks that an answer continues the file and sets where it begins.
func (b *body) place(resp *http.Response) *Error {
	changed := func(format string, a ...any) *Error {
		return &Error{Kind: Changed, Status: resp.StatusCode, Err: fmt.Errorf("the file changed while it was read: "+format, a...)}
	}
	at, size := int64(0), resp.ContentLength
	if resp.StatusCode == http.StatusPartialContent {
		var err error
		if at, size, err = contentRange(resp.Header.Get("Content-Range")); err != nil {
			return &Error{Kind: Status, Status: resp.StatusCode, Err: err}
		}
		if at != b.pos {
			return &Error{Kind: Status, Status: resp.StatusCode, Err: fmt.Errorf("the server sent bytes from %d on, not from %d", at, b.pos)}
		}
	}
	v := validator(resp.Header.Get("ETag"), resp.Header.Get("Last-Modified"))
	if b.started {
		if v != "" && b.validator != "" && v != b.validator {
			return changed("its validator is another")
		}
		if size >= 0 && b.size >= 0 && size != b.size {
			return changed("its size is %d, it was %d", size, b.size)
		}
		b.skip = b.pos - at
	} else {
		// Nothing was handed out yet: begin where the server begins.
		b.pos, b.skip = at, 0
	}
	if b.validator == "" || !b.started {
		b.validator = v
	}
	if size >= 0 {
		// What the caller knows of the size is checked by the caller.
		b.size = size
	}
	if b.r.Limit > 0 && b.size > b.r.Limit {
		return &Error{Kind: TooLarge, Status: resp.StatusCode, Err: fmt.Errorf("%d bytes, more than the limit of %d", b.size, b.r.Limit)}
	}
	return nil
}

// contentRange reads "bytes 5-9/10"; an unknown size is -1.
func contentRange(s string) (at, size int64, err error) {
	rest, ok := strings.CutPrefix(s, "bytes ")
	span, total, ok2 := strings.Cut(rest, "/")
	first, _, ok3 := strings.Cut(span, "-")
	at, err = strconv.ParseInt(first, 10, 64)
	if !ok || !ok2 || !ok3 || err != nil {
		return 0, 0, fmt.Errorf("the server's Content-Range %q cannot be read", s)
	}
	if total == "*" {
		return at, -1, nil
	}
	size, err = strconv.ParseInt(total, 10, 64)
	if err != nil {
		return 0, 0, fmt.Errorf("the server's Content-Range %q cannot be read", s)
	}
	return at, size, nil
}

// Read resumes where a connection breaks.
func (b *body) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	for {
		n, err := b.read(p)
		if n > 0 {
			return n, nil
		}
		if err == nil {
			continue
		}
		if err = b.fault(err); err != nil {
			b.err = err
			b.drop()
			return 0, err
		}
	}
}

// read reads from the present answer; io.EOF is the file's end.
func (b *body) read(p []byte) (int, error) {
	if b.skip > 0 && int64(len(p)) > b.skip {
		p = p[:b.skip]
	}
	b.watch.wait()
	n, err := b.resp.Body.Read(p)
	b.watch.got(n)
	if n > 0 && b.clean >= 0 {
		if b.clean += int64(n); b.clean > resetAfter {
			b.faults, b.clean = 0, 0
		}
	}
	if b.skip > 0 {
		b.skip -= int64(n)
		n = 0
	}
	if n > 0 {
		b.started = true
		b.pos += int64(n)
		if b.r.Progress != nil {
			b.r.Progress(n)
		}
		if b.r.Limit > 0 && b.pos > b.r.Limit {
			return 0, &Error{Kind: TooLarge, URL: Redact(b.r.URL), Attempts: 1, Err: fmt.Errorf("more than the limit of %d bytes", b.r.Limit)}
		}
	}
	if err == io.EOF && (b.skip > 0 || (b.size >= 0 && b.pos < b.size)) {
		err = io.ErrUnexpectedEOF
	}
	if n > 0 && err != io.EOF {
		// Bytes first; a fault shows again at the next read.
		return n, nil
	}
	return n, err
}

// fault decides about an error of read: nil means that reading goes on.
func (b *body) fault(err error) error {
	if err == io.EOF {
		return io.EOF
	}
	if stopped(b.ctx) {
		return context.Cause(b.ctx)
	}
	if b.watch != nil && errors.Is(err, context.Canceled) {
		err = errStalled
	}
	e := classify(b.r.URL, 1, err)
	if errors.Is(err, io.ErrUnexpectedEOF) {
		e.Err = fmt.Errorf("the answer ended after %d of %d bytes", b.pos, b.size)
	}
	b.drop()
	b.clean = 0
	if err := b.pause(e, 0); err != nil {
		return err
	}
	b.started = true
	_, err = b.connect()
	return err
}

// Close ends the transfer. Closing early drops the connection.
func (b *body) Close() error {
	b.drop()
	if b.err == nil {
		b.err = errors.New("read of a closed body")
	}
	return nil
}
