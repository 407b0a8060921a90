package gitlab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/cfbuild/cfbuild/internal/httpx"
	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/cfbuild/cfbuild/publishers"
	api "gitlab.com/gitlab-org/api/client-go"
)

const (
	// maxBackoff bounds the wait between repetitions.
	maxBackoff = 30 * time.Second
	// continueWait is how long an upload waits for GitLab to say whether it wants
	// the body: a refusal then costs no byte.
	continueWait = 3 * time.Second
	// perPage is GitLab's largest page.
	perPage = 100
)

// Client talks to the package registry of one project.
type Client struct {
	o    Options
	gl   *api.Client
	http *http.Client
	host string
	// unasked: a proxy does not know "Expect: 100-continue".
	unasked *atomic.Bool
}

// New makes a client. The error is a [publishers.PublishError]; nothing is asked yet.
func New(o Options) (*Client, error) {
	if o.Policy == "" {
		o.Policy = Refuse
	}
	if o.MaxSize == 0 {
		o.MaxSize = DefaultMaxSize
	}
	if o.Retries == 0 {
		o.Retries = 5
	}
	if o.Backoff == 0 {
		o.Backoff = 500 * time.Millisecond
	}
	if o.Stall == 0 {
		o.Stall = 5 * time.Minute
	}
	if err := o.check(); err != nil {
		return nil, err
	}
	c := &Client{o: o, unasked: &atomic.Bool{}}
	u, err := url.Parse(o.API)
	if err == nil {
		c.host = u.Host
		err = c.connect()
	}
	if err != nil {
		return nil, &publishers.PublishError{Ref: o.ref(), Stage: "options", Err: err}
	}
	return c, nil
}

func (c *Client) connect() error {
	o := httpx.Options{Proxy: httpx.Proxy(c.o.Site.Proxy)}
	for _, ca := range c.o.Site.BuildCAs() {
		o.CAs = append(o.CAs, ca.PEM)
	}
	t, err := httpx.Transport(o)
	if err != nil {
		return err
	}
	// The watch over progress ends what stalls; an answer may take its time, as
	// GitLab moves a file to its object store before it gives one.
	t.ResponseHeaderTimeout = 0
	t.ExpectContinueTimeout = continueWait
	c.http = &http.Client{Transport: once{t, c.unasked}, CheckRedirect: redirected}
	c.gl, err = api.NewAuthSourceClient(header{c.o.Token}, api.WithBaseURL(c.o.API), api.WithHTTPClient(c.http),
		api.WithoutRetries(), api.WithUserAgent("cfbuild"), api.WithURLWarningLogger(slog.New(slog.DiscardHandler)))
	return err
}

// header is a token as client-go asks for it, which knows no deploy tokens.
type header struct{ t Token }

func (h header) Init(context.Context, *api.Client) error { return nil }

func (h header) Header(context.Context) (key, value string, err error) {
	return h.t.Header, h.t.Value, nil
}

// once sends a body one time: a connection that broke is for [Client.try], which
// asks first what GitLab has.
type once struct {
	next    http.RoundTripper
	unasked *atomic.Bool
}

func (o once) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Method == http.MethodPut {
		r = r.Clone(r.Context())
		r.GetBody = nil
		if !o.unasked.Load() {
			r.Header.Set("Expect", "100-continue")
		}
		r.Close = true // or net/http sends a refused body to keep the connection
		r.Header.Set("Content-Type", "application/octet-stream")
	}
	return o.next.RoundTrip(r)
}

// redirected lets downloads go to the object store, without the token. Nothing else
// follows: net/http would make a GET of an upload.
func redirected(r *http.Request, via []*http.Request) error {
	first := via[0]
	switch {
	case first.Method == http.MethodHead:
		return http.ErrUseLastResponse
	case first.Method != http.MethodGet || !strings.Contains(first.URL.Path, "/packages/generic/"):
		return &redirectError{first.URL.Scheme + "://" + first.URL.Host, r.URL.Scheme + "://" + r.URL.Host}
	case len(via) > 5:
		return errors.New("redirects without end")
	}
	if r.URL.Host != first.URL.Host {
		for _, h := range []string{JobToken, PrivateToken, DeployToken} {
			r.Header.Del(h)
		}
	}
	return nil
}

// try repeats a request, which is ended when it stalls. alive tells the watch that
// bytes move.
func (c *Client) try(ctx context.Context, what string, op func(ctx context.Context, alive func()) error) error {
	return c.repeat(ctx, what, func(ctx context.Context) error { return c.watched(ctx, op) })
}

// repeat runs op until it succeeds, fails for good or the repetitions are used up.
func (c *Client) repeat(ctx context.Context, what string, op func(context.Context) error) error {
	wait := c.o.Backoff
	for n := 0; ; n++ {
		err := op(ctx)
		if err == nil {
			return nil
		}
		if cause := context.Cause(ctx); cause != nil {
			return cause
		}
		if n >= c.o.Retries || !passing(ctx, err) {
			if n > 0 {
				return fmt.Errorf("%w (after %d attempts)", err, n+1)
			}
			return err
		}
		// Up to half of the wait is by chance, so that many clients do not come
		// back at the same moment.
		d := wait/2 + rand.N(wait/2+1)
		var s *StatusError
		if errors.As(err, &s) {
			d = max(d, s.wait)
		}
		c.o.Events.Send(pipelines.Event{Kind: pipelines.EventWarning, Step: "push", Text: fmt.Sprintf("%s: %v; trying again in %s (%d of %d)",
			what, err, d.Round(time.Millisecond), n+1, c.o.Retries)})
		timer := time.NewTimer(d)
		select {
		case <-ctx.Done():
			timer.Stop()
			return context.Cause(ctx)
		case <-timer.C:
		}
		wait = min(2*wait, maxBackoff)
	}
}

// watched runs op once and ends it when it stalls.
func (c *Client) watched(ctx context.Context, op func(context.Context, func()) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stall := time.AfterFunc(c.o.Stall, func() { cancel(errStalled) })
	defer stall.Stop()
	err := op(ctx, func() { stall.Reset(c.o.Stall) })
	if err != nil && errors.Is(context.Cause(ctx), errStalled) {
		return fmt.Errorf("%s: %w for %s", c.host, errStalled, c.o.Stall)
	}
	return err
}

// warnPlain warns of a token that anyone on the way can read.
func (c *Client) warnPlain() {
	u, err := url.Parse(c.o.API)
	if err != nil || u.Scheme != "http" {
		return
	}
	if ip := net.ParseIP(u.Hostname()); u.Hostname() != "localhost" && (ip == nil || !ip.IsLoopback()) {
		c.warn("%s: the token is sent over plain HTTP, where others can read it", c.host)
	}
}

func (c *Client) warn(format string, a ...any) {
	c.o.Events.Send(pipelines.Event{Kind: pipelines.EventWarning, Step: "push", Text: fmt.Sprintf(format, a...)})
}

func unmarshal(b []byte, v any) error { return json.Unmarshal(b, v) }
