package httpx

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
)

// localPath tells files from URLs. A URL that is neither is an error.
func localPath(raw string) (path string, local bool, err error) {
	if strings.HasPrefix(raw, "/") {
		return raw, true, nil
	}
	u, err := url.Parse(raw)
	if err != nil {
		return "", false, errors.New("it cannot be read as a URL")
	}
	switch u.Scheme {
	case "file":
		if u.Host != "" && u.Host != "localhost" {
			return "", false, fmt.Errorf("a file URL names the host %s", u.Host)
		}
		return u.Path, true, nil
	case "http", "https":
		if u.Host == "" {
			return "", false, errors.New("it names no host")
		}
		return "", false, nil
	}
	return "", false, fmt.Errorf("it is neither http, https, file nor an absolute path")
}

func openLocal(ctx context.Context, path string, r Request) (*Response, error) {
	fail := func(kind Kind, err error) (*Response, error) {
		var pe *os.PathError
		if errors.As(err, &pe) {
			err = pe.Err
		}
		e := classify(r.URL, 1, err)
		if kind != "" {
			e.Kind = kind
		}
		return nil, e
	}
	f, err := os.Open(path)
	if err != nil {
		return fail("", err)
	}
	st, err := f.Stat()
	if err == nil && !st.Mode().IsRegular() {
		err = errors.New("not a regular file")
	}
	if err == nil && r.Limit > 0 && st.Size() > r.Limit {
		f.Close()
		return fail(TooLarge, fmt.Errorf("%d bytes, more than the limit of %d", st.Size(), r.Limit))
	}
	if err != nil {
		f.Close()
		return fail("", err)
	}
	out := &Response{ETag: fmt.Sprintf(`"%x-%x"`, st.ModTime().UnixNano(), st.Size()), Size: st.Size()}
	if r.IfNoneMatch != "" && r.IfNoneMatch == out.ETag {
		f.Close()
		out.NotModified, out.Body, out.Size = true, http.NoBody, 0
		return out, nil
	}
	if r.Offset > 0 && r.Offset <= st.Size() && (r.Validator == "" || r.Validator == out.ETag) {
		if out.Offset, err = f.Seek(r.Offset, io.SeekStart); err != nil {
			f.Close()
			return fail("", err)
		}
	}
	out.Body = &localBody{ctx: ctx, f: f, r: r}
	return out, nil
}

// localBody is a file that heeds the context and reports progress.
type localBody struct {
	ctx context.Context
	f   *os.File
	r   Request
}

func (b *localBody) Read(p []byte) (int, error) {
	if b.ctx.Err() != nil {
		return 0, context.Cause(b.ctx)
	}
	n, err := b.f.Read(p)
	if n > 0 && b.r.Progress != nil {
		b.r.Progress(n)
	}
	if err != nil && err != io.EOF {
		err = classify(b.r.URL, 1, err)
	}
	return n, err
}

func (b *localBody) Close() error { return b.f.Close() }
