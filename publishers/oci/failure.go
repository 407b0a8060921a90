package oci

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"strings"
	"syscall"

	"github.com/cfbuild/cfbuild/internal/registries"
	"go.podman.io/image/v5/docker/reference"
)

// errStalled: a request made no progress for Options.Stall.
var errStalled = errors.New("no progress, the connection counts as lost")

// errReadBack: what was read back is not what was sent.
var errReadBack = errors.New("read back")

// passing says whether repeating the request may help.
func passing(ctx context.Context, err error) bool {
	var final *finalError
	if ctx.Err() != nil || errors.As(err, &final) {
		return false
	}
	if errors.Is(err, errStalled) || errors.Is(err, errReadBack) {
		return true
	}
	return registries.Passing(err)
}

// fix says what mends an error.
func (r *remote) fix(err error) string {
	host, repo := reference.Domain(r.repo), r.repo.Name()
	var unknown x509.UnknownAuthorityError
	var dns *net.DNSError
	switch s := registries.Status(err); {
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
	case registries.Untrusted(err):
		return fmt.Sprintf("the certificate of %s does not fit: check the name in the reference and the certificate's dates", host)
	case registries.PlainHTTP(err):
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
