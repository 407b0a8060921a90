package connect

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os/exec"
	"strings"
	"syscall"
)

// diagnose turns a failed first request into what is wrong: the dialer's own last
// error says more than what gRPC makes of it.
func (d *dialer) diagnose(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	cause, first := d.note.get()
	if cause == nil {
		cause = err
	}
	for _, look := range []func(error, []byte) *Error{d.ofTLS, d.ofPeer, d.ofHelper, d.ofNetwork} {
		if e := look(cause, first); e != nil {
			e.Address, e.Err = d.addr.text, cause
			return e
		}
	}
	return &Error{Address: d.addr.text, Problem: Other, Reason: cause.Error(), Err: err}
}

// ofTLS knows the errors of handshakes.
func (d *dialer) ofTLS(err error, _ []byte) *Error {
	var unknown x509.UnknownAuthorityError
	var invalid x509.CertificateInvalidError
	var host x509.HostnameError
	var record tls.RecordHeaderError
	const remake = "make a new one for the daemon (cfbuild workers certs) and restart it"
	switch {
	case errors.As(err, &unknown):
		e := &Error{Problem: WrongCA, Fix: "name the authority that signed it: ?ca=FILE, or ca.pem in ?certs=DIR"}
		e.Reason = fmt.Sprintf("the daemon's certificate (%s) is signed by %s, which %s does not hold", subject(unknown.Cert), issuer(unknown.Cert), d.authorities())
		return e
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		why := "is outside its time: " + invalid.Detail
		if strings.Contains(invalid.Detail, "before") {
			why = "is not good before " + date(invalid.Cert.NotBefore)
		} else if strings.Contains(invalid.Detail, "after") {
			why = "expired on " + date(invalid.Cert.NotAfter)
		}
		return &Error{Problem: ServerExpired, Fix: remake, Reason: fmt.Sprintf("the daemon's certificate (%s) %s", subject(invalid.Cert), why)}
	case errors.As(err, &invalid):
		return &Error{Problem: ServerUsage, Fix: remake, Reason: fmt.Sprintf("the daemon's certificate (%s) is not a server's: %v", subject(invalid.Cert), invalid)}
	case errors.As(err, &host):
		e := &Error{Problem: WrongName, Fix: "use one of these names, or add ?servername=NAME"}
		e.Reason = fmt.Sprintf("the daemon's certificate is for %s, not for %s", strings.Join(names(host.Certificate), ", "), host.Host)
		if len(names(host.Certificate)) == 0 {
			e.Reason, e.Fix = fmt.Sprintf("the daemon's certificate (%s) names no host", subject(host.Certificate)), remake
		}
		return e
	case errors.As(err, &record):
		return &Error{Problem: NoTLS, Reason: "the daemon does not speak TLS",
			Fix: "start it with --tlscert, --tlskey and --tlscacert; on a network that only you can reach, ?tls=off"}
	}
	return d.ofAlert(err)
}

// ofAlert knows what a server says about the client's certificate. crypto/tls has no
// type for it; the texts are of RFC 8446, section 6.
func (d *dialer) ofAlert(err error) *Error {
	var op *net.OpError
	if !errors.As(err, &op) || op.Op != "remote error" {
		return nil
	}
	alert := strings.TrimPrefix(op.Err.Error(), "tls: ")
	const fix = "the daemon trusts what its --tlscacert names: use a client certificate of that authority"
	switch {
	case alert == "expired certificate" && d.leaf != nil:
		var e *Error
		errors.As(d.addr.clientExpired(d.leaf, fmt.Sprintf("is outside its time, says the daemon: it is good from %s to %s", date(d.leaf.NotBefore), date(d.leaf.NotAfter)), err), &e)
		return e
	case d.leaf == nil && (strings.Contains(alert, "certificate required") || alert == "bad certificate"):
		return &Error{Problem: ClientMissing, Reason: "the daemon wants a client certificate", Fix: "name one: ?certs=DIR, or ?ca=FILE&cert=FILE&key=FILE"}
	case strings.Contains(alert, "certificate"):
		return &Error{Problem: ClientRefused, Fix: fix,
			Reason: fmt.Sprintf("the daemon refuses the client's certificate %s (%s, signed by %s): %s", d.addr.TLS.Cert, subject(d.leaf), issuer(d.leaf), alert)}
	case alert == "unrecognized name":
		return &Error{Problem: WrongName, Reason: "the daemon does not know the name it was asked for", Fix: "add ?servername=NAME"}
	}
	return nil
}

// ofPeer looks at what came over the connection.
func (d *dialer) ofPeer(err error, first []byte) *Error {
	plain := d.addr.Kind == Unix || d.addr.Kind == TCP && d.addr.TLS.Off
	silent := len(first) == 0 && (err == io.EOF || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, io.ErrUnexpectedEOF))
	switch {
	case plain && bytes.HasPrefix(first, []byte{0x15, 0x03}), // a TLS alert
		silent && d.addr.Kind == TCP && d.addr.TLS.Off:
		return &Error{Problem: WantsTLS, Reason: "the connection was closed without an answer: the daemon may want TLS",
			Fix: "name certificates: ?certs=DIR, or ?ca=FILE&cert=FILE&key=FILE"}
	case silent && d.addr.Kind == Unix, silent && d.addr.Kind == TCP:
		return &Error{Problem: NotBuildKit, Reason: "the connection was closed without an answer", Fix: "is it buildkitd that listens there?"}
	case len(first) > 0 && !bytes.HasPrefix(first, []byte{0, 0}) && (d.addr.Kind == Unix || d.addr.Kind == TCP): // an HTTP/2 frame is shorter than 64 KiB
		return &Error{Problem: NotBuildKit, Reason: fmt.Sprintf("something else than BuildKit answers there: %q", first[:min(len(first), 16)]), Fix: "name the socket or port of buildkitd"}
	}
	return nil
}

// ofNetwork knows the errors of sockets.
func (d *dialer) ofNetwork(err error, _ []byte) *Error {
	var dns *net.DNSError
	start := "start it (sudo buildkitd, or rootlesskit buildkitd), or name another address"
	if d.addr.Kind == TCP {
		start = "is buildkitd started with --addr tcp://0.0.0.0:PORT, and the port right?"
	}
	var no syscall.Errno
	errors.As(err, &no)
	switch {
	case errors.As(err, &dns):
		return &Error{Problem: NoHost, Reason: fmt.Sprintf("host %s: %s", dns.Name, dns.Err), Fix: "is the name right?"}
	case errors.Is(err, fs.ErrNotExist):
		return &Error{Problem: NoDaemon, Reason: "no daemon runs there: the socket does not exist", Fix: start}
	case no == syscall.ECONNREFUSED:
		return &Error{Problem: Refused, Reason: "connection refused: no daemon listens there", Fix: start}
	case errors.Is(err, fs.ErrPermission):
		return &Error{Problem: Permission, Reason: "the socket may not be opened: permission denied", Fix: forSocket(d.addr.Path)}
	case no == syscall.EHOSTUNREACH, no == syscall.ENETUNREACH:
		return &Error{Problem: NoHost, Reason: no.Error(), Fix: "is there a network between this machine and that host?"}
	case no == syscall.ETIMEDOUT, errors.Is(err, context.DeadlineExceeded):
		return &Error{Problem: Timeout, Reason: "no answer", Fix: "is the host right, is a firewall in between?"}
	case no == syscall.ENOTSOCK:
		return &Error{Problem: NotBuildKit, Reason: "is not a socket", Fix: start}
	}
	return nil
}

// ofHelper knows what ssh, docker, podman and kubectl say.
func (d *dialer) ofHelper(err error, first []byte) *Error {
	p, ok := programs[d.addr.Kind]
	if !ok {
		return nil
	}
	if len(first) > 0 && first[0] >= ' ' { // no frame: docker exec fails on stdout
		said, _, _ := strings.Cut(string(first), "\n")
		return &Error{Problem: HelperFailed, Reason: p.name + ": " + strings.TrimSpace(said), Fix: p.advice(said)}
	}
	if errors.Is(err, exec.ErrNotFound) {
		return &Error{Problem: NoHelper, Reason: p.name + " is not installed", Fix: p.install}
	}
	said := err.Error()
	_, stderr, ok := strings.Cut(said, "stderr=")
	if !ok {
		if err != io.EOF {
			return nil
		}
		return &Error{Problem: HelperFailed, Reason: p.name + " ended without a connection", Fix: "does " + p.name + " reach it by hand? " + p.try}
	}
	// exec.ExitError's text is in the middle of the sentence.
	if _, after, found := strings.Cut(said, "has exited with "); found {
		said, _, _ = strings.Cut(after, ",")
	}
	if lines := strings.Split(strings.TrimSpace(stderr), "\n"); lines[0] != "" {
		said = strings.TrimSpace(lines[len(lines)-1])
	}
	fix := p.advice(stderr)
	if strings.Contains(err.Error(), "exit status 127") { // sh(1): no such command
		fix = p.advice("not found")
	}
	return &Error{Problem: HelperFailed, Reason: p.name + ": " + strings.TrimPrefix(said, p.name+": "), Fix: fix}
}

func (d *dialer) authorities() string {
	if d.addr.TLS.CA == "" {
		return "this machine's store"
	}
	return d.addr.TLS.CA
}

func issuer(c *x509.Certificate) string {
	if c == nil {
		return "?"
	}
	return c.Issuer.String()
}
