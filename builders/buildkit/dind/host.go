package dind

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/moby/moby/client"
)

// host is a daemon's address, checked.
type host struct {
	url     string
	network string // unix or tcp
	addr    string // path or HOST:PORT
	tls     *tls.Config
	leaf    *x509.Certificate // of the client
}

// answer is how long a daemon has to answer a ping.
const answer = 30 * time.Second

func (o *Options) host() (*host, error) {
	text := o.Host
	if text == "" {
		text = DefaultHost
	}
	h := &host{url: text}
	u, err := url.Parse(text)
	if err != nil {
		return nil, &Error{Problem: BadAddress, Reason: "DOCKER_HOST cannot be read as a URL", Fix: "unix:///var/run/docker.sock or tcp://docker:2376"}
	}
	h.network = u.Scheme
	switch u.Scheme {
	case "unix":
		if u.Host != "" || u.Path == "" {
			return nil, &Error{Problem: BadAddress, Host: text, Reason: "is not an absolute path", Fix: "write three slashes: unix:///var/run/docker.sock"}
		}
		h.addr = u.Path
		return h, nil
	case "tcp", "http", "https":
		h.network = "tcp"
	case "ssh":
		return nil, &Error{Problem: BadAddress, Host: text, Reason: "a Docker daemon behind ssh is not supported",
			Fix: "forward its socket (ssh -L ./docker.sock:/var/run/docker.sock HOST) and use unix://, or run buildkitd there: --builder buildkit:ssh://HOST"}
	default:
		return nil, &Error{Problem: BadAddress, Host: text, Reason: "unknown kind of address " + u.Scheme, Fix: "unix:///var/run/docker.sock or tcp://docker:2376"}
	}
	if u.Hostname() == "" || u.User != nil || strings.Trim(u.Path, "/") != "" {
		return nil, &Error{Problem: BadAddress, Host: u.Redacted(), Reason: "is not a host and a port", Fix: "tcp://docker:2376"}
	}
	port := u.Port()
	switch {
	case port != "":
	case o.CertDir != "":
		port = "2376"
	default:
		port = "2375"
	}
	h.addr = net.JoinHostPort(u.Hostname(), port)
	h.url = "tcp://" + h.addr
	if o.CertDir == "" {
		if !o.InsecurePlain {
			return nil, &Error{Problem: PlainRefused, Host: h.url, Reason: "no certificates are named, and without TLS whoever reaches that port is root there",
				Fix: "set DOCKER_TLS_CERTDIR: \"/certs\" for job and service, DOCKER_HOST: tcp://docker:2376, DOCKER_CERT_PATH: \"/certs/client\", DOCKER_TLS_VERIFY: 1; " +
					"or, where only you reach it, --builder 'buildkit:docker?tls=off'"}
		}
		o.warn("docker " + h.url + ": plain TCP (tls=off): whoever reaches that port is root on its machine and can change what is built")
		return h, nil
	}
	if err := h.certificates(o.CertDir, u.Hostname()); err != nil {
		return nil, err
	}
	if h.leaf != nil && o.Now != nil {
		if now := o.Now(); now.After(h.leaf.NotAfter) || now.Before(h.leaf.NotBefore) {
			return nil, h.clientExpired(nil)
		}
	}
	return h, nil
}

// certificates reads the directory that Docker's own client reads.
func (h *host) certificates(dir, name string) error {
	fail := func(reason string, err error) error {
		return &Error{Problem: Certificates, Host: h.url, Reason: reason, Err: err,
			Fix: "DOCKER_CERT_PATH must be a directory with ca.pem, cert.pem and key.pem; with docker:dind it is $DOCKER_TLS_CERTDIR/client, in a volume that job and service share"}
	}
	file := func(n string) string { return filepath.Join(dir, n) }
	ca, err := os.ReadFile(file("ca.pem"))
	if err != nil {
		return fail("certificates", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(ca) {
		return fail(file("ca.pem")+" holds no certificate", nil)
	}
	if !fileExists(file("cert.pem")) && !fileExists(file("key.pem")) {
		// A daemon that authenticates its clients otherwise, or not at all.
		h.tls = &tls.Config{RootCAs: pool, ServerName: name, MinVersion: tls.VersionTLS12}
		return nil
	}
	pair, err := tls.LoadX509KeyPair(file("cert.pem"), file("key.pem"))
	if err != nil {
		return fail("client certificate", err)
	}
	h.leaf = pair.Leaf
	h.tls = &tls.Config{RootCAs: pool, ServerName: name, Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}
	return nil
}

// client asks the daemon whether it is there, and gives a client of its API. Docker's own
// client hides the reasons why a connection fails.
func (h *host) client(ctx context.Context) (*client.Client, error) {
	ctx, cancel := context.WithTimeout(ctx, answer)
	defer cancel()
	if err := h.ping(ctx); err != nil {
		return nil, err
	}
	var opts []client.Opt
	if h.tls != nil { // a transport that has been given means TLS to it, even with no configuration
		opts = append(opts, client.WithHTTPClient(&http.Client{Transport: &http.Transport{TLSClientConfig: h.tls}, CheckRedirect: client.CheckRedirect}))
	}
	c, err := client.New(append(opts, client.WithHost(h.url))...)
	if err != nil {
		return nil, &Error{Problem: BadAddress, Host: h.url, Reason: "client", Err: err}
	}
	return c, nil
}

func (h *host) ping(ctx context.Context) error {
	conn, err := (&net.Dialer{}).DialContext(ctx, h.network, h.addr)
	if err != nil {
		return h.diagnose(ctx, err)
	}
	defer conn.Close()
	if deadline, ok := ctx.Deadline(); ok {
		_ = conn.SetDeadline(deadline)
	}
	if h.tls != nil {
		secure := tls.Client(conn, h.tls)
		if err := secure.HandshakeContext(ctx); err != nil {
			return h.diagnose(ctx, err)
		}
		conn = secure
	}
	if _, err := conn.Write([]byte("HEAD /_ping HTTP/1.1\r\nHost: docker\r\nConnection: close\r\n\r\n")); err != nil {
		return h.diagnose(ctx, err)
	}
	res, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: http.MethodHead})
	if err != nil { // with TLS 1.3 it is only now that a daemon refuses a client
		return h.diagnose(ctx, err)
	}
	res.Body.Close()
	version := res.Header.Get("Api-Version")
	switch {
	case h.tls == nil && res.StatusCode == http.StatusBadRequest && version == "":
		return &Error{Problem: WantsTLS, Host: h.url, Reason: "the daemon speaks TLS on that port, and was spoken to without", Fix: "name its certificates: DOCKER_CERT_PATH and DOCKER_TLS_VERIFY=1"}
	case res.StatusCode != http.StatusOK || version == "":
		return &Error{Problem: NoDaemon, Host: h.url, Reason: "what answers there is not a Docker daemon (" + res.Status + ")", Fix: "check DOCKER_HOST"}
	case older(version, MinAPI):
		return &Error{Problem: TooOld, Host: h.url, Reason: "API version " + version + " is too old", Fix: "Docker 19.03 (API " + MinAPI + ") or newer is needed"}
	case res.Header.Get("Ostype") != "" && res.Header.Get("Ostype") != "linux":
		return &Error{Problem: TooOld, Host: h.url, Reason: "the daemon runs " + res.Header.Get("Ostype") + " containers", Fix: "a daemon of Linux containers is needed"}
	}
	return nil
}

// older compares versions of two numbers; what cannot be read is old.
func older(a, b string) bool {
	num := func(s string) (major, minor int) {
		if _, err := fmt.Sscanf(s, "%d.%d", &major, &minor); err != nil {
			return 0, 0
		}
		return major, minor
	}
	a1, a2 := num(a)
	b1, b2 := num(b)
	return a1 < b1 || a1 == b1 && a2 < b2
}

const again = "with docker:dind the service makes its certificates anew at each start: job and service must share the volume of DOCKER_TLS_CERTDIR"

func (h *host) clientExpired(err error) error {
	return &Error{Problem: ClientExpired, Host: h.url, Err: err, Fix: "renew it, and check the clocks; " + again,
		Reason: fmt.Sprintf("the client's certificate is valid from %s to %s", day(h.leaf.NotBefore), day(h.leaf.NotAfter))}
}

// diagnose says what a failed connection means.
func (h *host) diagnose(ctx context.Context, err error) error {
	fail := func(p Problem, reason, fix string) error {
		return &Error{Problem: p, Host: h.url, Reason: reason, Fix: fix, Err: err}
	}
	var (
		unknown x509.UnknownAuthorityError
		name    x509.HostnameError
		invalid x509.CertificateInvalidError
		plain   tls.RecordHeaderError
		alert   tls.AlertError
		remote  *net.OpError
		dns     *net.DNSError
	)
	switch {
	case errors.Is(context.Cause(ctx), context.Canceled):
		return context.Cause(ctx)
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		c := invalid.Cert
		return fail(ServerExpired, fmt.Sprintf("the daemon's certificate is valid from %s to %s", day(c.NotBefore), day(c.NotAfter)), "renew it, and check the clocks; "+again)
	case errors.As(err, &unknown):
		return fail(ServerCertificate, "the daemon's certificate is not signed by ca.pem", again)
	case errors.As(err, &name):
		return fail(ServerCertificate, "the daemon's certificate is for another name", "use a name it is for in DOCKER_HOST; docker:dind's is for docker, localhost and what DOCKER_TLS_SAN adds")
	case errors.As(err, &invalid):
		return fail(ServerCertificate, "the daemon's certificate cannot be used", "")
	case errors.As(err, &plain):
		return fail(NotTLS, "the daemon does not speak TLS on that port", "with docker:dind set DOCKER_TLS_CERTDIR: \"/certs\" and use port 2376; --builder 'buildkit:docker?tls=off' does without")
	case errors.As(err, &alert), errors.As(err, &remote) && remote.Op == "remote error":
		if strings.Contains(err.Error(), "expired") && h.leaf != nil { // old daemons do not say so
			return h.clientExpired(err)
		}
		return fail(ClientRefused, "the daemon does not take the client's certificate", "cert.pem must be signed by the daemon's --tlscacert; "+again)
	case errors.Is(err, fs.ErrPermission):
		return fail(Permission, "the socket may not be opened", "ask for the group docker (it is as good as root), or build without a daemon: --builder buildah")
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		fix := "start it (systemctl start docker), or name another: DOCKER_HOST"
		if h.network == "tcp" {
			fix = "in a GitLab job, check that the service docker:dind is declared and came up (its log is in the job's with CI_DEBUG_SERVICES: \"true\"); 2376 is its port with TLS, 2375 without"
		}
		return fail(NoDaemon, "no daemon answers", fix)
	case errors.As(err, &dns):
		return fail(NoDaemon, "its name cannot be resolved", "\"docker\" is the name of GitLab's service docker:dind: declare it under services:, or set DOCKER_HOST")
	}
	return fail(NoDaemon, "no answer", "check DOCKER_HOST, and that nothing in between drops the connection")
}

func day(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 MST") }
