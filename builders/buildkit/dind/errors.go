package dind

import (
	"errors"

	"github.com/cfbuild/cfbuild/builders"
)

// Problem says what kept a Docker daemon from being used.
type Problem string

const (
	// BadAddress: what the user wrote cannot be meant.
	BadAddress Problem = "address"
	// NoDaemon: nobody listens there.
	NoDaemon Problem = "no daemon"
	// Permission: the socket may not be opened.
	Permission Problem = "permission"
	// Certificates: the client's cannot be read, or do not fit each other.
	Certificates Problem = "certificates"
	// ServerCertificate: the daemon's is not signed by ca.pem, or is for another name.
	ServerCertificate Problem = "server certificate"
	// ServerExpired, ClientExpired: whose certificate is past its time, or before it.
	ServerExpired Problem = "server certificate expired"
	ClientExpired Problem = "client certificate expired"
	// ClientRefused: the daemon does not take the client's certificate.
	ClientRefused Problem = "client certificate refused"
	// NotTLS: the daemon speaks plain HTTP on that port. WantsTLS: the reverse.
	NotTLS   Problem = "no TLS"
	WantsTLS Problem = "wants TLS"
	// PlainRefused: a TCP address without TLS, and nobody asked for that.
	PlainRefused Problem = "plain TCP"
	// TooOld: older than [MinAPI], or not a daemon of Linux containers.
	TooOld Problem = "too old"
	// NoPrograms: neither static programs nor an image of BuildKit.
	NoPrograms Problem = "no programs"
	// NoPrivilege: the daemon does not run privileged containers.
	NoPrivilege Problem = "no privilege"
	// NoSpace: the daemon's disk, or the volume, is full.
	NoSpace Problem = "no space"
	// Busy: another client uses the volume with other settings.
	Busy Problem = "busy"
	// Gone: somebody removed the container.
	Gone Problem = "gone"
	// Failed: BuildKit did not come up. NoRoute: the daemon's own cannot be used.
	Failed  Problem = "failed"
	NoRoute Problem = "no route"
)

// Error says why the daemon cannot be used and what to do. It matches
// [builders.ErrUnavailable]: exit code 4.
type Error struct {
	Problem Problem
	// Host is the daemon's address.
	Host string
	// Reason in words; Err, which may be nil, is the cause.
	Reason string
	Fix    string
	Err    error
}

func (e *Error) Error() string {
	s := "docker"
	if e.Host != "" {
		s += " " + e.Host
	}
	s += ": " + e.Reason
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

func (e *Error) Unwrap() error { return e.Err }

// Is matches [builders.ErrUnavailable].
func (e *Error) Is(target error) bool { return target == builders.ErrUnavailable }

// Hint is what to do.
func (e *Error) Hint() string { return e.Fix }

// is: err is an Error of that problem.
func is(err error, p Problem) bool {
	var e *Error
	return errors.As(err, &e) && e.Problem == p
}
