package gitlab

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"time"

	api "gitlab.com/gitlab-org/api/client-go"
)

var (
	// errStalled: a request made no progress for Options.Stall.
	errStalled = errors.New("no progress, the connection counts as lost")
	// errReadBack: GitLab has something else than what was sent.
	errReadBack = errors.New("read back")
)

// StatusError is an answer of GitLab that is no success.
type StatusError struct {
	Host   string
	Status int
	// Message is GitLab's own, without the status; may be empty.
	Message string
	// wait is what the server asks for before a repetition.
	wait time.Duration
}

// Error is "HOST answers 403 Forbidden: Package protected".
func (e *StatusError) Error() string {
	s := fmt.Sprintf("%s answers %d %s", e.Host, e.Status, http.StatusText(e.Status))
	if e.Message != "" {
		s += ": " + e.Message
	}
	return s
}

// redirectError: the API sends elsewhere, where a body or a token must not go.
type redirectError struct{ from, to string }

func (e *redirectError) Error() string { return fmt.Sprintf("%s redirects to %s", e.from, e.to) }

// finalError keeps an error from being repeated: a file here that cannot be read or
// has changed, or what was repeated already.
type finalError struct{ error }

func (e *finalError) Unwrap() error { return e.error }

// understand turns an error of the client into one of ours.
func (c *Client) understand(err error, resp *api.Response) error {
	var answer *api.ErrorResponse
	var redirect *redirectError
	switch {
	case err == nil:
		return nil
	case errors.Is(err, errStalled):
		return err
	case errors.As(err, &redirect):
		return redirect
	case errors.Is(err, api.ErrNotFound):
		return &StatusError{Host: c.host, Status: http.StatusNotFound}
	case errors.As(err, &answer):
		return c.statusError(answer.Response, answer.Body)
	}
	if resp != nil && resp.Response != nil && resp.StatusCode < 300 {
		return fmt.Errorf("%s: the answer cannot be read: %w", c.host, err)
	}
	// net/http puts the URL into its errors; the reference names it.
	var ue *url.Error
	if errors.As(err, &ue) {
		err = ue.Err
	}
	if broke(err) {
		err = &brokenError{err}
	}
	return fmt.Errorf("%s: %w", c.host, err)
}

// brokenError is a connection that ended early. Its cause names addresses and which
// end noticed first, which tells nobody anything.
type brokenError struct{ cause error }

func (e *brokenError) Error() string { return "the connection broke off" }
func (e *brokenError) Unwrap() error { return e.cause }

func broke(err error) bool {
	for _, e := range []error{io.EOF, io.ErrUnexpectedEOF, syscall.ECONNRESET, syscall.EPIPE, net.ErrClosed} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

func (c *Client) statusError(resp *http.Response, body []byte) *StatusError {
	e := &StatusError{Host: c.host, Status: resp.StatusCode, Message: message(resp, body)}
	if n, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && n > 0 {
		e.wait = min(time.Duration(n)*time.Second, maxBackoff)
	}
	return e
}

// message takes GitLab's words out of {"message": …} or {"error": …} and leaves out
// the status that most of them begin with. What is no JSON is a proxy's page.
func message(resp *http.Response, body []byte) string {
	text := strings.TrimSpace(string(body))
	if !strings.HasPrefix(text, "{") {
		if text != "" {
			return "with a page that is not GitLab's"
		}
		return ""
	}
	var v struct {
		Message any `json:"message"`
		Error   any `json:"error"`
	}
	if err := unmarshal(body, &v); err != nil {
		return ""
	}
	for _, m := range []any{v.Message, v.Error} {
		if m == nil {
			continue
		}
		s := fmt.Sprint(m)
		s = strings.TrimPrefix(s, strconv.Itoa(resp.StatusCode)+" ")
		if rest := strings.TrimPrefix(strings.ToLower(s), strings.ToLower(http.StatusText(resp.StatusCode))); len(rest) < len(s) {
			s = strings.TrimPrefix(s[len(s)-len(rest):], " - ")
		}
		if len(s) > 300 {
			s = s[:300] + "…"
		}
		return strings.TrimSuffix(s, ".")
	}
	return ""
}

// statusOf is the HTTP status behind an error, 0 when there is none.
func statusOf(err error) int {
	var s *StatusError
	if errors.As(err, &s) {
		return s.Status
	}
	return 0
}

func says(err error, part string) bool {
	var s *StatusError
	return errors.As(err, &s) && strings.Contains(strings.ToLower(s.Message), part)
}

func duplicate(err error) bool { return statusOf(err) == 400 && says(err, "duplicate") }

// passing says whether repeating the request may help.
func passing(ctx context.Context, err error) bool {
	var final *finalError
	var redirect *redirectError
	if ctx.Err() != nil || errors.As(err, &final) || errors.As(err, &redirect) {
		return false
	}
	if errors.Is(err, errStalled) || errors.Is(err, errReadBack) {
		return true
	}
	if s := statusOf(err); s != 0 {
		return s == http.StatusRequestTimeout || s == http.StatusTooEarly || s == http.StatusExpectationFailed || s == http.StatusTooManyRequests ||
			s >= 500 && s != http.StatusNotImplemented && s != http.StatusInsufficientStorage
	}
	if untrusted(err) || plainHTTP(err) {
		return false
	}
	var dns *net.DNSError
	if errors.As(err, &dns) {
		return !dns.IsNotFound
	}
	var netErr net.Error
	return broke(err) || errors.Is(err, syscall.ECONNREFUSED) || errors.As(err, &netErr)
}

func untrusted(err error) bool {
	var (
		unknown x509.UnknownAuthorityError
		host    x509.HostnameError
		invalid x509.CertificateInvalidError
		verify  *tls.CertificateVerificationError
	)
	return errors.As(err, &unknown) || errors.As(err, &host) || errors.As(err, &invalid) || errors.As(err, &verify)
}

// plainHTTP: the server does not speak TLS.
func plainHTTP(err error) bool {
	var record tls.RecordHeaderError
	return errors.As(err, &record) || strings.Contains(err.Error(), "server gave HTTP response to HTTPS client")
}

// fix says what mends an error.
func (c *Client) fix(err error) string {
	from := c.o.Token.From
	if from == "" {
		from = "the token"
	}
	var unknown x509.UnknownAuthorityError
	var dns *net.DNSError
	var redirect *redirectError
	switch s := statusOf(err); {
	case errors.Is(err, context.Canceled):
		return ""
	case errors.As(err, &redirect):
		return "name the API by the URL it redirects to"
	case s == http.StatusUnauthorized:
		return fmt.Sprintf("%s is not valid as %s, or has expired; a job token ends with its job", from, c.o.Token.Header)
	case s == http.StatusForbidden && says(err, "deletion protected"):
		return fmt.Sprintf("a protection rule of project %s keeps packages of that name from being deleted by this role (Settings, Packages and registries)", c.o.Project)
	case s == http.StatusForbidden && says(err, "protected"):
		return fmt.Sprintf("a protection rule of project %s reserves package %s for a higher role (Settings, Packages and registries)", c.o.Project, c.o.Package)
	case s == http.StatusForbidden:
		return fmt.Sprintf("%s may not do this in project %s: publishing asks for a Developer and deleting for a Maintainer, a personal or project token for the scope api, "+
			"a deploy token for write_package_registry; or the project's package registry is turned off", from, c.o.Project)
	case s == http.StatusNotFound:
		return fmt.Sprintf("check that project %s exists and that %s may see it; a job token of another project has to be in its allowlist (Settings, CI/CD, Job token permissions)", c.o.Project, from)
	case s == http.StatusRequestEntityTooLarge, s == 400 && says(err, "too large"):
		return fmt.Sprintf("the limit is set at %s (generic_packages_max_file_size), or at a proxy before it (nginx: client_max_body_size): raise it, or publish with oras:// to a registry", c.host)
	case duplicate(err):
		return "the group turned off \"Allow duplicates\" (Settings, Packages and registries): use another version, or the policy replace with a token that may delete"
	case s == http.StatusTooManyRequests:
		return fmt.Sprintf("%s throttles: wait and run again; what was sent is kept and not sent twice", c.host)
	case s == http.StatusInsufficientStorage:
		return fmt.Sprintf("%s has no room: free some (%s), or raise the quota", c.host, "cfbuild packages prune")
	case s >= 500:
		return fmt.Sprintf("%s has a problem of its own (500 with files over 5 GB: its object store's aws_signature_version is 2): run again later; what was sent is kept and not sent twice", c.host)
	case errors.As(err, &unknown):
		return fmt.Sprintf("add the authority that signed %s's certificate to the site's CAs", c.host)
	case untrusted(err):
		return fmt.Sprintf("the certificate of %s does not fit: check the URL and the certificate's dates", c.host)
	case plainHTTP(err):
		return fmt.Sprintf("%s speaks plain HTTP: name it with http://", c.host)
	case errors.As(err, &dns):
		return fmt.Sprintf("%s cannot be resolved: check the URL and the site's proxy", c.host)
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Sprintf("nothing listens at %s: check the URL", c.host)
	case broke(err):
		return fmt.Sprintf("%s closes the connection: it may be restarting, or a proxy before it limits the size or time of an upload; run again, files that are there whole are not sent twice", c.host)
	case errors.Is(err, errStalled):
		return fmt.Sprintf("%s does not go on: check the network and the site's proxy, and run again", c.host)
	case errors.Is(err, errReadBack):
		return "something on the way changes the file: check proxies, then the disks of this machine and of GitLab"
	}
	return ""
}
