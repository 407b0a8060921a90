package httpx

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"strings"
)

// Kind says what went wrong, in the terms of what can be done about it.
type Kind string

// The kinds of [Error].
const (
	// Unreachable: no connection, no answer, or one that broke and stayed so.
	Unreachable Kind = "unreachable"
	// Stalled: connected, and then nothing came for too long.
	Stalled Kind = "stalled"
	// Status: the server answered with a status that is no success.
	Status Kind = "status"
	// Untrusted: the server's certificate is not signed by anyone trusted here,
	// is for another name, or is out of date.
	Untrusted Kind = "untrusted"
	// TooLarge: more bytes than the limit.
	TooLarge Kind = "too large"
	// Changed: the file became another one while it was read.
	Changed Kind = "changed"
	// BadURL: nothing that can be fetched.
	BadURL Kind = "bad URL"
	// NotFound: a local file is missing, or the server says 404 or 410.
	NotFound Kind = "not found"
)

// Error says what could not be fetched and why.
type Error struct {
	Kind Kind
	// URL without credentials and query values.
	URL string
	// Status is the HTTP status, 0 when there was no answer.
	Status int
	// Attempts made, 1 or more.
	Attempts int
	// Issuer of the certificate that is not trusted, when known.
	Issuer string
	Err    error
}

// Error is "URL: cause", with the number of attempts when there were several.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.URL + ": ")
	switch {
	case e.Status != 0 && e.Err == nil:
		fmt.Fprintf(&b, "the server answers %d %s", e.Status, http.StatusText(e.Status))
	case e.Kind == Stalled:
		b.WriteString("stalled: " + e.Err.Error())
	case e.Kind == Untrusted:
		b.WriteString("certificate not trusted: " + e.Err.Error())
		if e.Issuer != "" {
			fmt.Fprintf(&b, " (issued by %s)", e.Issuer)
		}
	case e.Err != nil:
		b.WriteString(e.Err.Error())
	default:
		b.WriteString(string(e.Kind))
	}
	if e.Attempts > 1 {
		fmt.Fprintf(&b, " (after %d attempts)", e.Attempts)
	}
	return b.String()
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// Hint is what to do about it, or "".
func (e *Error) Hint() string {
	var unknown x509.UnknownAuthorityError
	switch e.Kind {
	case Untrusted:
		if errors.As(e.Err, &unknown) {
			return "a proxy or mirror of this site signs with a CA that is not known here: add that CA to the site"
		}
		return "check the host name of the URL, the server's certificate and this machine's clock"
	case Unreachable, Stalled:
		return "check the network, the site's proxy settings and the URL, or name another mirror"
	case Status:
		switch e.Status {
		case http.StatusUnauthorized, http.StatusForbidden, http.StatusProxyAuthRequired:
			return "the server or proxy wants other credentials, or does not let this machine in"
		case http.StatusTooManyRequests:
			return "the server limits requests: wait, or name another mirror"
		}
	}
	return ""
}

// Redact gives the URL without user, password, query values and fragment.
func Redact(raw string) string {
	if strings.HasPrefix(raw, "/") {
		return raw
	}
	u, err := url.Parse(raw)
	if err != nil {
		if i := strings.LastIndexByte(raw, '@'); i >= 0 {
			return "…" + raw[i:]
		}
		return raw
	}
	u.User, u.Fragment = nil, ""
	if u.RawQuery != "" {
		u.RawQuery = "…"
		return strings.Replace(u.String(), "?%E2%80%A6", "?…", 1)
	}
	return u.String()
}

// classify makes an Error of what the transport gave.
func classify(rawURL string, attempts int, err error) *Error {
	// net/http puts the URL into its errors; ours names it, redacted.
	var ue *url.Error
	if errors.As(err, &ue) {
		err = ue.Err
	}
	e := &Error{Kind: Unreachable, URL: Redact(rawURL), Attempts: attempts, Err: err}
	var (
		verify   *tls.CertificateVerificationError
		unknown  x509.UnknownAuthorityError
		host     x509.HostnameError
		invalid  x509.CertificateInvalidError
		netErr   net.Error
		existing *Error
	)
	switch {
	case errors.As(err, &existing):
		return existing
	case errors.As(err, &verify):
		e.Kind, e.Err = Untrusted, verify.Err
		if n := len(verify.UnverifiedCertificates); n > 0 {
			e.Issuer = verify.UnverifiedCertificates[n-1].Issuer.String()
		}
	case errors.As(err, &unknown), errors.As(err, &host), errors.As(err, &invalid):
		e.Kind = Untrusted
	case errors.Is(err, errStalled):
		e.Kind = Stalled
	case errors.As(err, &netErr) && netErr.Timeout():
		e.Kind, e.Err = Stalled, fmt.Errorf("%w: %w", errStalled, err)
	case errors.Is(err, fs.ErrNotExist):
		e.Kind = NotFound
	}
	return e
}

// permanent faults are not tried again.
func permanent(e *Error) bool {
	var dns *net.DNSError
	switch e.Kind {
	case Unreachable:
		return errors.As(e.Err, &dns) && dns.IsNotFound
	case Stalled:
		return false
	case Status:
		switch e.Status {
		case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests,
			http.StatusInternalServerError, http.StatusBadGateway,
			http.StatusServiceUnavailable, http.StatusGatewayTimeout:
			return false
		}
	}
	return true
}
