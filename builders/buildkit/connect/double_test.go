package connect

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/cfbuild/cfbuild/builders"
	"github.com/cfbuild/cfbuild/internal/mtls"
	controlapi "github.com/moby/buildkit/api/services/control"
	apitypes "github.com/moby/buildkit/api/types"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"
)

// double answers as a daemon of some version would, over a real socket.
type double struct {
	controlapi.UnimplementedControlServer
	version string // "": before the request existed
}

func (d double) Info(context.Context, *controlapi.InfoRequest) (*controlapi.InfoResponse, error) {
	if d.version == "" {
		return nil, status.Error(codes.Unimplemented, "unknown method Info for service moby.buildkit.v1.Control")
	}
	return &controlapi.InfoResponse{BuildkitVersion: &apitypes.BuildkitVersion{Version: d.version}}, nil
}

// serve runs the double and gives HOST:PORT, or the socket's path.
func serve(t *testing.T, d double, network string, config *tls.Config, register bool) string {
	t.Helper()
	at := "127.0.0.1:0"
	if network == "unix" {
		at = filepath.Join(t.TempDir(), "s")
	}
	l, err := net.Listen(network, at)
	if err != nil {
		t.Fatal(err)
	}
	var opts []grpc.ServerOption
	if config != nil {
		opts = append(opts, grpc.Creds(credentials.NewTLS(config)))
	}
	s := grpc.NewServer(opts...)
	if register {
		controlapi.RegisterControlServer(s, d)
	}
	go s.Serve(l)
	t.Cleanup(s.Stop)
	return l.Addr().String()
}

// pki is what a test's machines hold.
type pki struct {
	t   *testing.T
	ca  mtls.Authority
	now time.Time
}

func newPKI(t *testing.T) pki {
	t.Helper()
	now := time.Now()
	ca, err := mtls.New("test authority", now.Add(-1000*time.Hour), 2000*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	return pki{t, ca, now}
}

// server is the configuration buildkitd makes of --tlscacert, --tlscert, --tlskey.
func (p pki) server(made time.Time, good time.Duration, hosts ...string) *tls.Config {
	p.t.Helper()
	pair, err := p.ca.Server(hosts, made, good)
	if err != nil {
		p.t.Fatal(err)
	}
	cert, err := tls.X509KeyPair(pair.Cert, pair.Key)
	if err != nil {
		p.t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(p.ca.Cert)
	return &tls.Config{Certificates: []tls.Certificate{cert}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool}
}

// client makes a directory for ?certs=DIR.
func (p pki) client(made time.Time, good time.Duration) string {
	p.t.Helper()
	pair, err := p.ca.Client("test client", made, good)
	if err != nil {
		p.t.Fatal(err)
	}
	return p.dir(pair)
}

func (p pki) dir(pair mtls.Pair) string {
	p.t.Helper()
	ca, err := p.ca.PEM()
	if err != nil {
		p.t.Fatal(err)
	}
	dir := p.t.TempDir()
	for name, data := range map[string][]byte{CAFile: ca.Cert, CertFile: pair.Cert, KeyFile: pair.Key} {
		write(p.t, filepath.Join(dir, name), data)
	}
	return dir
}

func write(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// dial parses and dials; where that works the connection is closed at the end.
func dial(t *testing.T, addr string, o Options) error {
	t.Helper()
	a, err := Parse(addr)
	if err != nil {
		return err
	}
	c, err := a.Dial(t.Context(), o)
	if err == nil {
		t.Cleanup(func() { c.Close() })
	}
	return err
}

// want is an Error with this problem, a hint, and exit code 4.
func want(t *testing.T, err error, p Problem) *Error {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) {
		t.Fatalf("%v (%T), want problem %q", err, err, p)
	}
	if e.Problem != p || e.Hint() == "" || !errors.Is(err, builders.ErrUnavailable) {
		t.Fatalf("problem %q, want %q: %v (hint %q, cause %v)", e.Problem, p, err, e.Hint(), e.Err)
	}
	t.Logf("%v\n  hint: %s", e, e.Hint())
	return e
}
