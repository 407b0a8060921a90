package connect

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"path/filepath"
	"strings"
	"time"

	"github.com/moby/buildkit/client"
	"github.com/moby/buildkit/client/connhelper"
	"github.com/moby/buildkit/client/connhelper/dockercontainer"
	"github.com/moby/buildkit/client/connhelper/kubepod"
	"github.com/moby/buildkit/client/connhelper/podmancontainer"
	"github.com/moby/buildkit/client/connhelper/ssh"
)

// DefaultSocket is where a daemon of root listens.
const DefaultSocket = "/run/buildkit/buildkitd.sock"

// Options of [Address.Dial].
type Options struct {
	// Host is BUILDKIT_HOST: an address for [Default].
	Host string
	// RuntimeDir is XDG_RUNTIME_DIR, where a rootless daemon has its socket.
	RuntimeDir string
	// Socket replaces [DefaultSocket]; for tests.
	Socket string
	// Now is the clock that the client's certificate is judged by before anyone is
	// asked. Nil: only the daemon judges it.
	Now func() time.Time
	// Timeout for an answer; 0 means 20 seconds.
	Timeout time.Duration
	// Warn takes what the user should know although it works; nil drops it.
	Warn func(string)
}

// Dial connects and asks the daemon for its version, so that what is wrong is said
// here. The client dials again by itself when the connection breaks. Errors are of
// type [*Error], or [*AddressError] for what [Options.Host] says; a cancelled ctx is
// returned as it is.
func (a Address) Dial(ctx context.Context, o Options) (*client.Client, error) {
	switch a.Kind {
	case Default:
		return dialDefault(ctx, o)
	case Docker:
		return nil, &AddressError{Address: a.text, Cause: "is a Docker daemon, not BuildKit"}
	}
	if a.Exposed() && o.Warn != nil {
		o.Warn("buildkit " + a.text + ": nothing is encrypted (tls=off): whoever reaches that network reads and changes what is built")
	}
	d, err := a.dialer(o)
	if err != nil {
		return nil, err
	}
	// Every name is resolved and every connection made by our dialer; the rest of the
	// address is only what gRPC calls the authority.
	authority := "tcp://buildkit"
	if a.Kind == TCP {
		authority = "tcp://" + a.Host
	}
	c, err := client.New(ctx, authority, client.WithContextDialer(d.dial))
	if err != nil {
		return nil, d.diagnose(ctx, err)
	}
	if err := d.greet(ctx, c, o); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// dialDefault follows buildctl: BUILDKIT_HOST, else root's socket, else the user's.
func dialDefault(ctx context.Context, o Options) (*client.Client, error) {
	if o.Host != "" {
		a, err := Parse(o.Host)
		if err != nil {
			var bad *AddressError
			if errors.As(err, &bad) {
				bad.Cause += " (from BUILDKIT_HOST)"
			}
			return nil, err
		}
		return a.Dial(ctx, o)
	}
	tried := []string{DefaultSocket}
	if o.Socket != "" {
		tried[0] = o.Socket
	}
	if o.RuntimeDir != "" {
		tried = append(tried, filepath.Join(o.RuntimeDir, "buildkit", "buildkitd.sock"))
	}
	var found error // the first that says more than that nothing is there
	for _, path := range tried {
		a, err := Parse("unix://" + path)
		if err != nil {
			return nil, err
		}
		c, err := a.Dial(ctx, o)
		if err == nil || ctx.Err() != nil {
			return c, err
		}
		var e *Error
		if found == nil && (!errors.As(err, &e) || e.Problem != NoDaemon) {
			found = err
		}
	}
	if found != nil {
		return nil, found
	}
	where := "no " + tried[0]
	if len(tried) > 1 {
		where = "neither " + strings.Join(tried, " nor ")
	}
	return nil, &Error{Problem: NoDaemon, Reason: "no daemon runs on this machine: there is " + where,
		Fix: "start one (sudo buildkitd, or rootlesskit buildkitd), or name one: buildkit:ADDRESS with " + forms}
}

// dialer makes connections to one address, and remembers why the last one failed:
// gRPC keeps only a part of the text.
type dialer struct {
	addr Address
	conn func(ctx context.Context) (net.Conn, error)
	leaf *x509.Certificate // the client's
	note *notes
}

func (a Address) dialer(o Options) (*dialer, error) {
	d := &dialer{addr: a, note: new(notes)}
	var plain net.Dialer
	switch a.Kind {
	case Unix:
		d.conn = func(ctx context.Context) (net.Conn, error) { return plain.DialContext(ctx, "unix", a.Path) }
	case TCP:
		tcp := func(ctx context.Context) (net.Conn, error) { return plain.DialContext(ctx, "tcp", a.Host) }
		if a.TLS.Off {
			d.conn = tcp
			break
		}
		config, leaf, err := a.config(o.Now)
		if err != nil {
			return nil, err
		}
		d.leaf = leaf
		d.conn = func(ctx context.Context) (net.Conn, error) {
			c, err := tcp(ctx)
			if err != nil {
				return nil, err
			}
			t := tls.Client(c, config)
			if err := t.HandshakeContext(ctx); err != nil {
				c.Close()
				return nil, err
			}
			return t, nil
		}
	default:
		help, err := a.helper()
		if err != nil {
			return nil, a.bad("", "%s", err)
		}
		d.conn = func(ctx context.Context) (net.Conn, error) { return help.ContextDialer(ctx, "") }
	}
	return d, nil
}

// helper gives BuildKit's own ways through another program. Their packages register
// themselves for a lookup by scheme; the functions are called directly here.
func (a Address) helper() (*connhelper.ConnectionHelper, error) {
	switch a.Kind {
	case SSH:
		return ssh.Helper(a.url)
	case DockerContainer:
		return dockercontainer.Helper(a.url)
	case PodmanContainer:
		return podmancontainer.Helper(a.url)
	case KubePod:
		return kubepod.Helper(a.url)
	}
	return nil, errors.New("kind " + string(a.Kind) + " has no helper")
}

// dial is what gRPC calls, at first and whenever the connection broke.
func (d *dialer) dial(ctx context.Context, _ string) (net.Conn, error) {
	c, err := d.conn(ctx)
	if err != nil {
		d.note.put(err, nil)
		return nil, err
	}
	return &watched{Conn: c, note: d.note}, nil
}
