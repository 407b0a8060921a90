package connect

import "github.com/cfbuild/cfbuild/builders"

// AddressError: an address that cannot be meant.
type AddressError struct {
	// Address as written, without a password.
	Address, Cause, Fix string
}

func (e *AddressError) Error() string { return "buildkit address " + e.Address + ": " + e.Cause }

// Hint is what to write instead.
func (e *AddressError) Hint() string { return e.Fix }

// Problem says what kept a daemon from being used.
type Problem string

const (
	// NoDaemon: there is no socket where one is expected.
	NoDaemon Problem = "no daemon"
	// Refused: the socket or port is there and nobody listens.
	Refused Problem = "refused"
	// Permission: the socket may not be opened.
	Permission Problem = "permission"
	// Unknown host, or no way to it.
	NoHost Problem = "no host"
	// Timeout: no answer within [Options.Timeout].
	Timeout Problem = "timeout"
	// Files: a certificate or key cannot be read.
	Files Problem = "files"
	// KeyMismatch: the client's key does not belong to its certificate.
	KeyMismatch Problem = "key mismatch"
	// ServerExpired, ClientExpired: whose certificate is past its time, or before it.
	ServerExpired Problem = "server certificate expired"
	ClientExpired Problem = "client certificate expired"
	// WrongCA: another authority signed the daemon's certificate.
	WrongCA Problem = "wrong CA"
	// WrongName: the daemon's certificate is for other names.
	WrongName Problem = "wrong name"
	// ServerUsage: the daemon's certificate may not be a server's.
	ServerUsage Problem = "server certificate usage"
	// ClientRefused: the daemon does not take the client's certificate.
	ClientRefused Problem = "client certificate refused"
	// ClientMissing: the daemon wants a client certificate.
	ClientMissing Problem = "client certificate missing"
	// WantsTLS: the daemon speaks TLS, and was spoken to without. NoTLS: the reverse.
	WantsTLS Problem = "wants TLS"
	NoTLS    Problem = "no TLS"
	// TooOld: older than [MinVersion].
	TooOld Problem = "too old"
	// NotBuildKit: something else listens there.
	NotBuildKit Problem = "not buildkit"
	// NoHelper: ssh, docker, podman or kubectl is not installed. HelperFailed: it
	// could not reach the daemon.
	NoHelper     Problem = "helper missing"
	HelperFailed Problem = "helper failed"
	// Other: anything else.
	Other Problem = "other"
)

// Error: a daemon cannot be used. It matches [builders.ErrUnavailable]: exit code 4.
type Error struct {
	// Address as written, without a password.
	Address string
	Problem Problem
	// Reason in words.
	Reason string
	// Fix is what to do about it.
	Fix string
	// Err is the cause, where there is one.
	Err error
}

func (e *Error) Error() string {
	s := "buildkit"
	if e.Address != "" {
		s += " " + e.Address
	}
	return s + ": " + e.Reason
}

func (e *Error) Unwrap() error { return e.Err }

// Is matches [builders.ErrUnavailable].
func (e *Error) Is(target error) bool { return target == builders.ErrUnavailable }

// Hint is what to do about it.
func (e *Error) Hint() string { return e.Fix }
