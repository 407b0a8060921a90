package sitecheck

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"time"

	"github.com/cfbuild/cfbuild/internal/httpx"
)

// probe runs one probe in bounded time and writes down what came of it.
func (c *checker) probe(ctx context.Context, m *Mirror, probe func(context.Context, *Mirror) error) {
	pctx, cancel := context.WithCancel(ctx)
	defer cancel()
	m.budget = newBudget(c.in.Timeout, cancel)
	defer m.budget.pause()
	err := probe(pctx, m)
	var slow *slowError
	switch {
	case err == nil:
		if m.Status == "" {
			m.Status = OK
		}
		return
	case errors.As(err, &slow):
		m.Status, m.Problem = Warning, slow.Error()
		m.Fix = "put it behind the faster ones"
		return
	case pctx.Err() != nil && ctx.Err() == nil:
		err = &finding{cause: fmt.Sprintf("not done within %s", c.in.Timeout), fix: "put it behind the others, or take it out; --timeout waits longer"}
	}
	m.Status = Failed
	m.Problem, m.Fix = explain(err)
}

// finding is something wrong with a mirror.
type finding struct{ cause, fix string }

func (f *finding) Error() string { return f.cause }
func (f *finding) Hint() string  { return f.fix }

func findf(fix, format string, args ...any) error { return &finding{fmt.Sprintf(format, args...), fix} }

// slowError: the index did not arrive in the time there is for it.
type slowError struct {
	got, size int64
	took      time.Duration
}

func (e *slowError) Error() string {
	of := ""
	if e.size > 0 {
		of = " of " + bytesText(e.size)
	}
	return fmt.Sprintf("slow: %s%s of the index in %s; no package was tried", bytesText(e.got), of, e.took.Round(100*time.Millisecond))
}

const (
	fixInside = "the mirror, or a proxy or login page before it, answers with something else: open the URL in a browser"
	fixBroken = "the mirror is being updated or broken, or a proxy changes what it sends: try again, or put another one first"
	fixPath   = "check the URL in the site file: it is the base that the probed part is below"
)

// explain words an error for a report that names the mirror already.
func explain(err error) (problem, fix string) {
	var h interface{ Hint() string }
	if errors.As(err, &h) {
		fix = h.Hint()
	}
	var he *httpx.Error
	if !errors.As(err, &he) {
		return err.Error(), fix
	}
	var unknown x509.UnknownAuthorityError
	path := he.URL
	switch {
	case he.Kind == httpx.Untrusted && errors.As(he.Err, &unknown):
		by := ""
		if he.Issuer != "" {
			by = ": " + he.Issuer
		}
		return "its certificate is signed by an authority that is not known here" + by,
			`site file: ca = ["FILE.pem"] with the certificate of that authority, or ca = ["host"] if this machine trusts it`
	case he.Kind == httpx.Untrusted:
		return "its certificate is not good: " + he.Err.Error(), fix
	case he.Status == http.StatusNotFound || he.Status == http.StatusGone:
		return fmt.Sprintf("%s: %d %s", path, he.Status, http.StatusText(he.Status)), fixPath
	case he.Status != 0:
		return fmt.Sprintf("%s: %d %s", path, he.Status, http.StatusText(he.Status)), fix
	}
	var dns *net.DNSError
	switch {
	case errors.As(he.Err, &dns):
		return fmt.Sprintf("%s does not resolve: %s", dns.Name, dns.Err), fix
	case errors.Is(he.Err, syscall.ECONNREFUSED):
		return "connection refused", fix
	case errors.Is(he.Err, io.ErrUnexpectedEOF):
		return path + ": the answer breaks off", fixBroken
	case he.Kind == httpx.Stalled:
		return path + ": it takes the connection and then sends nothing", fix
	case he.Err != nil:
		return he.Err.Error(), fix
	}
	return he.Error(), fix
}

// answered notes that there was an answer, also in an error.
func (m *Mirror) answered(err error) {
	var he *httpx.Error
	if err == nil || errors.As(err, &he) && he.Status != 0 {
		m.Reachable = true
	}
}

// get fetches a small file.
func (c *checker) get(ctx context.Context, m *Mirror, url string, limit int64) ([]byte, *httpx.Response, error) {
	data, resp, err := c.http.ReadAll(ctx, httpx.Request{URL: url, Limit: limit})
	m.answered(err)
	return data, resp, err
}

// maxIndex bounds what is kept of an index in memory.
const maxIndex = 96 << 20

// index fetches an index and measures that, one of a few at a time.
func (c *checker) index(ctx context.Context, m *Mirror, url string) ([]byte, *httpx.Response, error) {
	release, err := c.slot(ctx, m)
	if err != nil {
		return nil, nil, err
	}
	defer release()
	ictx, cancel := context.WithTimeout(ctx, c.in.Timeout/2)
	defer cancel()
	start := time.Now()
	resp, err := c.http.Get(ictx, httpx.Request{URL: url, Limit: maxIndex})
	m.answered(err)
	var data []byte
	size := int64(-1)
	if err == nil {
		size = resp.Size
		data, err = io.ReadAll(resp.Body)
		resp.Body.Close()
	}
	m.measured(int64(len(data)), time.Since(start))
	if err != nil && ictx.Err() != nil && ctx.Err() == nil && len(data) > 0 {
		err = &slowError{int64(len(data)), size, time.Since(start)}
	}
	return data, resp, err
}

func (m *Mirror) measured(n int64, took time.Duration) {
	if n > 0 && took > 0 {
		m.IndexBytes, m.BytesPerSecond = n, int64(float64(n)/took.Seconds())
	}
}

// budget is the time a probe has. It stands still while the probe waits for its
// turn.
type budget struct {
	left  time.Duration
	since time.Time
	timer *time.Timer
}

func newBudget(d time.Duration, over func()) *budget {
	return &budget{d, time.Now(), time.AfterFunc(d, over)}
}

func (b *budget) pause() {
	b.timer.Stop()
	b.left -= time.Since(b.since)
}

func (b *budget) resume() {
	b.since = time.Now()
	b.timer.Reset(max(b.left, 0))
}

// slot waits for a turn to fetch an index.
func (c *checker) slot(ctx context.Context, m *Mirror) (release func(), err error) {
	m.budget.pause()
	defer m.budget.resume()
	select {
	case c.slots <- struct{}{}:
		return func() { <-c.slots }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// webPage: what a login page or an error page of a proxy looks like.
func webPage(data []byte) bool {
	head := strings.ToLower(strings.TrimSpace(string(data[:min(len(data), 512)])))
	return strings.HasPrefix(head, "<!doctype html") || strings.HasPrefix(head, "<html") || strings.Contains(head, "<head>")
}

// dated notes the date of an index.
func (m *Mirror) dated(t time.Time) {
	if !t.IsZero() {
		t = t.UTC()
		m.Date = &t
	}
}

// judge compares the mirrors of a group.
func (g *Group) judge() {
	var best *Mirror
	for i := range g.Mirrors {
		m := &g.Mirrors[i]
		if m.Status == Failed {
			continue
		}
		g.Usable = true
		if m.Date != nil && (best == nil || m.Date.After(*best.Date)) {
			best = m
		}
	}
	if best == nil {
		return
	}
	for i := range g.Mirrors {
		m := &g.Mirrors[i]
		if m.Date == nil || !m.Date.Before(*best.Date) {
			continue
		}
		behind := best.Date.Sub(*m.Date)
		m.BehindSeconds = int64(behind.Seconds())
		if behind > staleAfter && m.Status == OK {
			m.Status = Warning
			m.Problem = fmt.Sprintf("stale: %s behind %s", durationText(behind), best.URL)
			m.Fix = "put it behind the fresh ones, or have it synchronised: clients such as apt take a stale mirror at its word"
		}
	}
}
