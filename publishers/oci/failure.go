package oci

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"syscall"

	"github.com/docker/distribution/registry/api/errcode"
	"go.podman.io/image/v5/docker"
	"go.podman.io/image/v5/docker/reference"
)

// errStalled: a request made no progress for Options.Stall.
var errStalled = errors.New("no progress, the connection counts as lost")

// errReadBack: what was read back is not what was sent.
var errReadBack = errors.New("read back")

// status finds the HTTP status behind an error of image/v5, 0 when there is none.
func status(err error) int {
	var unexpected docker.UnexpectedHTTPStatusError
	var refused docker.ErrUnauthorizedForCredentials
	var coded errcode.ErrorCoder
	switch {
	case err == nil:
		return 0
	case errors.Is(err, docker.ErrTooManyRequests):
		return http.StatusTooManyRequests
	case errors.As(err, &unexpected):
		return unexpected.StatusCode
	case errors.As(err, &refused):
		return http.StatusUnauthorized
	case errors.As(err, &coded):
		return coded.ErrorCode().Descriptor().HTTPStatusCode
	}
	// A body that is not a registry's error keeps its status in the text only.
	if m := regexp.MustCompile(`StatusCode: (\d{3})`).FindStringSubmatch(err.Error()); m != nil {
		n, _ := strconv.Atoi(m[1])
		return n
	}
	return 0
}

// codeOf is the registry's error code ("DENIED"), empty when there is none.
func codeOf(err error) string {
	var coded errcode.ErrorCoder
	if errors.As(err, &coded) {
		return coded.ErrorCode().Descriptor().Value
	}
	return ""
}

// passing says whether repeating the request may help.
func passing(ctx context.Context, err error) bool {
	var final *finalError
	if ctx.Err() != nil || errors.As(err, &final) {
		return false
	}
	if errors.Is(err, errStalled) || errors.Is(err, errReadBack) {
		return true
	}
	switch codeOf(err) {
	case "BLOB_UPLOAD_UNKNOWN", "BLOB_UPLOAD_INVALID", "DIGEST_INVALID", "SIZE_INVALID", "MANIFEST_BLOB_UNKNOWN", "RANGE_INVALID":
		// The registry lost the upload, or a byte was hurt on the way.
		return true
	}
	if s := status(err); s != 0 {
		return s == http.StatusRequestTimeout || s == http.StatusTooEarly || s == http.StatusTooManyRequests ||
			s == http.StatusRequestedRangeNotSatisfiable || s >= 500 && s != http.StatusNotImplemented
	}
	return lost(err)
}

// lost says whether the connection failed for a reason that may pass.
func lost(err error) bool {
	if untrusted(err) || plainHTTP(err) {
		return false
	}
	var dns *net.DNSError
	if errors.As(err, &dns) {
		return !dns.IsNotFound
	}
	var op *net.OpError
	var u *url.Error
	for _, e := range []error{io.EOF, io.ErrUnexpectedEOF, syscall.ECONNRESET, syscall.EPIPE, syscall.ECONNREFUSED, syscall.ETIMEDOUT} {
		if errors.Is(err, e) {
			return true
		}
	}
	return errors.As(err, &op) || errors.As(err, &u)
}

func untrusted(err error) bool {
	var (
		unknown  x509.UnknownAuthorityError
		host     x509.HostnameError
		invalid  x509.CertificateInvalidError
		verify   *tls.CertificateVerificationError
		constErr x509.ConstraintViolationError
	)
	return errors.As(err, &unknown) || errors.As(err, &host) || errors.As(err, &invalid) || errors.As(err, &verify) || errors.As(err, &constErr)
}

// plainHTTP: the registry does not speak TLS.
func plainHTTP(err error) bool {
	var record tls.RecordHeaderError
	return errors.As(err, &record) || strings.Contains(err.Error(), "server gave HTTP response to HTTPS client")
}

// fix says what mends an error.
func (r *remote) fix(err error) string {
	host, repo := reference.Domain(r.repo), r.repo.Name()
	var unknown x509.UnknownAuthorityError
	var dns *net.DNSError
	switch s := status(err); {
	case errors.Is(err, context.Canceled):
		return ""
	case strings.Contains(err.Error(), "getting username and password"):
		return r.p.loginHint(r.repo, r.sys)
	case errors.Is(err, fs.ErrNotExist):
		return "another run may have replaced the layout meanwhile: run again"
	case s == http.StatusUnauthorized, s == http.StatusForbidden:
		return r.p.loginHint(r.repo, r.sys)
	case s == http.StatusRequestEntityTooLarge:
		return fmt.Sprintf("%s or a proxy before it limits the size of an upload (nginx: client_max_body_size): raise it, or make the layer smaller", host)
	case s == http.StatusTooManyRequests:
		return fmt.Sprintf("%s throttles: wait and run again; what was sent is kept and not sent twice", host)
	case s == http.StatusNotFound:
		return fmt.Sprintf("check that %s exists and that the registry is enabled for the project; GitLab allows two levels below a project", repo)
	case s >= 500:
		return fmt.Sprintf("%s has a problem of its own: run again later; what was sent is kept and not sent twice", host)
	case errors.As(err, &unknown):
		return fmt.Sprintf("add the authority that signed %s's certificate to the site's CAs", host)
	case untrusted(err):
		return fmt.Sprintf("the certificate of %s does not fit: check the name in the reference and the certificate's dates", host)
	case plainHTTP(err):
		return fmt.Sprintf("%s speaks plain HTTP: allow it in the site with a registry of prefix %q and insecure = true", host, host)
	case errors.As(err, &dns):
		return fmt.Sprintf("%s cannot be resolved: check the name and the site's proxy", host)
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Sprintf("nothing listens at %s: check host and port, and that the registry runs", host)
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return fmt.Sprintf("%s closed the connection: it may be restarting, or a proxy before it limits the size of an upload; run again, what was sent is kept", host)
	case errors.Is(err, errStalled):
		return fmt.Sprintf("%s does not answer: check the network and the site's proxy, and run again", host)
	}
	return ""
}
