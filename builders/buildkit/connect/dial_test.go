package connect

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const current = "v0.33.1"

func TestUnix(t *testing.T) {
	path := serve(t, double{version: current}, "unix", nil, true)
	if err := dial(t, "unix://"+path, Options{}); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	want(t, dial(t, "unix://"+dir+"/none", Options{}), NoDaemon)
	want(t, dial(t, "unix://"+dir, Options{}), Refused) // connect(2) says so of what is no socket

	stale := filepath.Join(dir, "stale")
	l, err := net.Listen("unix", stale)
	if err != nil {
		t.Fatal(err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	l.Close()
	want(t, dial(t, "unix://"+stale, Options{}), Refused)
}

func TestVersions(t *testing.T) {
	for version, p := range map[string]Problem{
		"v0.11.0": "", "v0.33.1": "", "v1.0.0": "", "v0.0.0+unknown": "", "v0.12.4+435cb77e369c": "", "0.11.6-docker": "", "of-a-friend": "",
		"v0.10.6": TooOld, "": TooOld, "v0.8.2+dirty": TooOld,
	} {
		err := dial(t, "unix://"+serve(t, double{version: version}, "unix", nil, true), Options{})
		if p == "" && err != nil {
			t.Errorf("%s: %v", version, err)
		}
		if p != "" {
			if e := want(t, err, p); !strings.Contains(e.Error(), "BuildKit v0.11.0 or newer") || !strings.Contains(e.Error(), version) {
				t.Errorf("%v", e)
			}
		}
	}
}

func TestSomethingElseListens(t *testing.T) {
	want(t, dial(t, "unix://"+serve(t, double{}, "unix", nil, false), Options{}), NotBuildKit)
	web := httptest.NewServer(http.NotFoundHandler())
	defer web.Close()
	e := want(t, dial(t, "tcp://"+web.Listener.Addr().String(), Options{}), NotBuildKit)
	if !strings.Contains(e.Reason, "HTTP/1.1") {
		t.Error(e)
	}
	closes, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer closes.Close()
	go func() {
		for {
			c, err := closes.Accept()
			if err != nil {
				return
			}
			io.CopyN(io.Discard, c, 24)
			c.Close()
		}
	}()
	want(t, dial(t, "tcp://"+closes.Addr().String(), Options{}), WantsTLS)
}

func TestSilence(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	addr := "tcp://" + l.Addr().String()
	want(t, dial(t, addr, Options{Timeout: 100 * time.Millisecond}), Timeout)

	a, _ := Parse(addr)
	ctx, cancel := context.WithCancelCause(t.Context())
	mine := errors.New("stopped")
	time.AfterFunc(50*time.Millisecond, func() { cancel(mine) })
	if _, err := a.Dial(ctx, Options{}); !errors.Is(err, mine) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestNobodyListens(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	e := want(t, dial(t, "tcp://"+addr, Options{}), Refused)
	if e.Address != "tcp://"+addr {
		t.Error(e.Address)
	}
	want(t, dial(t, "tcp://no-such-host.invalid?tls=off", Options{}), NoHost)
}

func TestExposedIsSaid(t *testing.T) {
	var said []string
	o := Options{Warn: func(s string) { said = append(said, s) }}
	dial(t, "tcp://no-such-host.invalid?tls=off", o)
	dial(t, "unix:///no/such/socket", o)
	if len(said) != 1 || !strings.Contains(said[0], "nothing is encrypted") {
		t.Errorf("%q", said)
	}
}

func TestTLS(t *testing.T) {
	p, other := newPKI(t), newPKI(t)
	day := 24 * time.Hour
	good := p.client(p.now, day)
	at := serve(t, double{version: current}, "tcp", p.server(p.now, day, "127.0.0.1", "build1.example.org"), true)
	ok := "tcp://" + at + "?certs=" + good
	if err := dial(t, ok, Options{Now: time.Now}); err != nil {
		t.Fatal(err)
	}
	if err := dial(t, ok+"&servername=build1.example.org", Options{}); err != nil {
		t.Fatal(err)
	}
	e := want(t, dial(t, ok+"&servername=build2.example.org", Options{}), WrongName)
	if !strings.Contains(e.Reason, "build1.example.org, 127.0.0.1") || !strings.Contains(e.Reason, "build2") {
		t.Error(e)
	}
	want(t, dial(t, "tcp://"+at, Options{}), WantsTLS)
	want(t, dial(t, "tcp://"+at+"?tls=on", Options{}), WrongCA)
	want(t, dial(t, "tcp://"+at+"?ca="+filepath.Join(good, CAFile), Options{}), ClientMissing)

	// The daemon knows another authority than the client's certificate has.
	stranger, _ := other.ca.Client("stranger", p.now, day)
	want(t, dial(t, "tcp://"+at+"?certs="+p.dir(stranger), Options{}), ClientRefused)
	e = want(t, dial(t, "tcp://"+at+"?certs="+other.client(p.now, day), Options{}), WrongCA)
	if !strings.Contains(e.Reason, "build1") && !strings.Contains(e.Reason, "127.0.0.1") || !strings.Contains(e.Reason, "test authority") {
		t.Error(e)
	}

	// Whose certificate is past its time, and since when.
	old := p.client(p.now.Add(-3*day), day)
	for _, o := range []Options{{Now: time.Now}, {}} { // found here, and by the daemon
		e = want(t, dial(t, "tcp://"+at+"?certs="+old, o), ClientExpired)
		if !strings.Contains(e.Reason, p.now.Add(-2*day).UTC().Format("2006-01-02 15:04")) || !strings.Contains(e.Reason, "client") {
			t.Error(e)
		}
	}
	want(t, dial(t, "tcp://"+at+"?certs="+p.client(p.now.Add(2*day), day), Options{Now: time.Now}), ClientExpired)
	at = serve(t, double{version: current}, "tcp", p.server(p.now.Add(-3*day), day, "127.0.0.1"), true)
	e = want(t, dial(t, "tcp://"+at+"?certs="+good, Options{}), ServerExpired)
	if !strings.Contains(e.Reason, "daemon's certificate (CN=127.0.0.1) expired on "+p.now.Add(-2*day).UTC().Format("2006-01-02 15:04")) {
		t.Error(e)
	}
	at = serve(t, double{version: current}, "tcp", p.server(p.now.Add(2*day), day, "127.0.0.1"), true)
	if e = want(t, dial(t, "tcp://"+at+"?certs="+good, Options{}), ServerExpired); !strings.Contains(e.Reason, "not good before") {
		t.Error(e)
	}

	plain := serve(t, double{version: current}, "tcp", nil, true)
	want(t, dial(t, "tcp://"+plain+"?certs="+good, Options{}), NoTLS)
	// A client's certificate as the server's.
	pair, _ := p.ca.Client("127.0.0.1", p.now, day)
	cert, _ := tls.X509KeyPair(pair.Cert, pair.Key)
	at = serve(t, double{version: current}, "tcp", &tls.Config{Certificates: []tls.Certificate{cert}}, true)
	if err := dial(t, "tcp://"+at+"?certs="+good, Options{}); err == nil {
		t.Error("a client's certificate passes for a server's")
	}
}

func TestCertificateFiles(t *testing.T) {
	p := newPKI(t)
	good := p.client(p.now, time.Hour)
	pair, _ := p.ca.Client("other", p.now, time.Hour)
	mixed := p.client(p.now, time.Hour)
	write(t, filepath.Join(mixed, KeyFile), pair.Key)
	e := want(t, dial(t, "tcp://127.0.0.1:1?certs="+mixed, Options{}), KeyMismatch)
	if !strings.Contains(e.Reason, filepath.Join(mixed, KeyFile)) {
		t.Error(e)
	}
	for name, change := range map[string]struct{ file, data, says string }{
		"no key":        {KeyFile, "", "cannot be used"},
		"garbage":       {CertFile, "x", "cannot be used"},
		"no authority":  {CAFile, "x", "holds no certificate"},
		"encrypted key": {KeyFile, "-----BEGIN ENCRYPTED " + "PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED " + "PRIVATE KEY-----\n", "is encrypted"},
	} {
		dir := p.client(p.now, time.Hour)
		write(t, filepath.Join(dir, change.file), []byte(change.data))
		if e := want(t, dial(t, "tcp://127.0.0.1:1?certs="+dir, Options{}), Files); !strings.Contains(e.Reason, change.says) || !strings.Contains(e.Reason, change.file) {
			t.Errorf("%s: %v", name, e)
		}
	}
	os.Remove(filepath.Join(good, CertFile))
	if e := want(t, dial(t, "tcp://127.0.0.1:1?certs="+good, Options{}), Files); !strings.Contains(e.Reason, "no such file") {
		t.Error(e)
	}
}

func TestDefault(t *testing.T) {
	run := t.TempDir()
	o := Options{Socket: filepath.Join(run, "root.sock"), RuntimeDir: run}
	e := want(t, dial(t, "", o), NoDaemon)
	if !strings.Contains(e.Error(), "neither "+o.Socket+" nor "+run+"/buildkit/buildkitd.sock") {
		t.Error(e)
	}
	if e := want(t, dial(t, "", Options{Socket: o.Socket}), NoDaemon); !strings.HasSuffix(e.Error(), "there is no "+o.Socket) {
		t.Error(e)
	}
	up := serve(t, double{version: current}, "unix", nil, true)
	link := func(path string) {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(up, path); err != nil {
			t.Fatal(err)
		}
	}
	link(filepath.Join(run, "buildkit/buildkitd.sock"))
	if err := dial(t, "", o); err != nil {
		t.Errorf("rootless: %v", err)
	}
	link(o.Socket)
	if err := dial(t, "", Options{Socket: o.Socket}); err != nil {
		t.Errorf("root: %v", err)
	}
	o.Host = "unix:///no/such"
	if e := want(t, dial(t, "", o), NoDaemon); e.Address != o.Host {
		t.Errorf("BUILDKIT_HOST is passed over: %v", e)
	}
	o.Host = "tpc://x"
	var bad *AddressError
	if err := dial(t, "", o); !errors.As(err, &bad) || !strings.Contains(err.Error(), "BUILDKIT_HOST") {
		t.Errorf("%v", err)
	}
}
