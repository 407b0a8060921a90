package registries

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"syscall"

	"github.com/docker/distribution/registry/api/errcode"
	"go.podman.io/image/v5/docker"
)

// Status finds the HTTP status behind an error of image/v5, 0 when there is none.
func Status(err error) int {
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

// Code is the registry's error code ("DENIED"), empty when there is none.
func Code(err error) string {
	var coded errcode.ErrorCoder
	if errors.As(err, &coded) {
		return coded.ErrorCode().Descriptor().Value
	}
	return ""
}

// Passing says whether repeating a request that failed may help.
func Passing(err error) bool {
	switch Code(err) {
	case "BLOB_UPLOAD_UNKNOWN", "BLOB_UPLOAD_INVALID", "DIGEST_INVALID", "SIZE_INVALID", "MANIFEST_BLOB_UNKNOWN", "RANGE_INVALID":
		// The registry lost the upload, or a byte was hurt on the way.
		return true
	}
	if s := Status(err); s != 0 {
		return s == http.StatusRequestTimeout || s == http.StatusTooEarly || s == http.StatusTooManyRequests ||
			s == http.StatusRequestedRangeNotSatisfiable || s >= 500 && s != http.StatusNotImplemented
	}
	return lost(err)
}

// lost says whether the connection failed for a reason that may pass.
func lost(err error) bool {
	if Untrusted(err) || PlainHTTP(err) {
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

// Untrusted: the certificate does not fit.
func Untrusted(err error) bool {
	var (
		unknown  x509.UnknownAuthorityError
		host     x509.HostnameError
		invalid  x509.CertificateInvalidError
		verify   *tls.CertificateVerificationError
		constErr x509.ConstraintViolationError
	)
	return errors.As(err, &unknown) || errors.As(err, &host) || errors.As(err, &invalid) || errors.As(err, &verify) || errors.As(err, &constErr)
}

// PlainHTTP: the registry does not speak TLS.
func PlainHTTP(err error) bool {
	var record tls.RecordHeaderError
	return errors.As(err, &record) || strings.Contains(err.Error(), "server gave HTTP response to HTTPS client")
}
